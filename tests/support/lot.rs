//! Samples: whether one is wanted or everything, and how it is drawn.
//!
//! Included by `#[path = "../support/lot.rs"] mod lot;`.
#![allow(dead_code, clippy::unwrap_used)]

/// Whether the long forms of the tests are wanted.
pub(crate) fn in_full() -> bool {
    std::env::var("KEKRING_TESTS").is_ok_and(|value| value == "full")
}

/// Numbers that are drawn from a seed: the same seed, the same numbers.
pub(crate) struct Lot(u64);

impl Lot {
    /// A seed of `KEKRING_SEED`, or a new one; it is printed by whoever draws.
    pub(crate) fn seed() -> u64 {
        let given = std::env::var("KEKRING_SEED").ok();
        given.map_or_else(
            || u64::from_ne_bytes(kekring::crypto::random().unwrap()),
            |text| text.parse().unwrap(),
        )
    }

    pub(crate) fn new(seed: u64, part: &str) -> Self {
        let mix = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(part.bytes().fold(seed, mix))
    }

    /// The next number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    /// At most so many of these, in their order.
    pub(crate) fn some_of<T>(&mut self, all: Vec<T>, most: usize) -> Vec<T> {
        let (mut wanted, mut left) = (most.min(all.len()), all.len());
        let mut chosen = Vec::new();
        for one in all {
            if wanted > 0 && self.below(left.try_into().unwrap()) < wanted.try_into().unwrap() {
                chosen.push(one);
                wanted -= 1;
            }
            left -= 1;
        }
        chosen
    }
}
