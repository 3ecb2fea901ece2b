//! Ways to spoil bytes.

use proptest::prelude::*;
use proptest::sample::Index;

/// One way to spoil bytes.
#[derive(Clone, Debug)]
pub enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Overwrite(Index, Vec<u8>),
}

impl Mutation {
    /// One to four of them.
    pub fn some() -> impl Strategy<Value = Vec<Self>> {
        let bytes = || prop::collection::vec(any::<u8>(), 1..40);
        let one = prop_oneof![
            (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            any::<Index>().prop_map(Self::Cut),
            (any::<Index>(), bytes()).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            any::<Index>().prop_map(Self::Remove),
            (any::<Index>(), bytes()).prop_map(|(at, bytes)| Self::Overwrite(at, bytes)),
        ];
        prop::collection::vec(one, 1..=4)
    }
}

/// `good` after every mutation; it may by chance be `good` again.
pub fn spoil(good: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for mutation in mutations {
        let room = bytes.len() + 1;
        match mutation {
            Mutation::Flip(at, bit) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Mutation::Remove(at) if !bytes.is_empty() => {
                bytes.remove(at.index(bytes.len()));
            }
            Mutation::Cut(at) => bytes.truncate(at.index(room)),
            Mutation::Insert(at, more) => {
                let at = at.index(room);
                bytes.splice(at..at, more.iter().copied());
            }
            Mutation::Overwrite(at, more) => {
                let at = at.index(room);
                let end = bytes.len().min(at + more.len());
                bytes.splice(at..end, more.iter().copied());
            }
            Mutation::Flip(..) | Mutation::Remove(_) => {}
        }
    }
    bytes
}

/// Every change of one bit.
pub fn flips(good: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..good.len() * 8).map(|bit| {
        let mut bytes = good.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        (bit, bytes)
    })
}
