//! How large a ring is, and how long it takes: both grow with the number of keys and of destroyed keys, and no faster.

use std::time::Duration;

use kekring::crypto::kdf::sha256;
use kekring::crypto::secret::Key32;
use kekring::format::covered::Durable;
use kekring::format::generation::{self, Header, MAX_LEN, Slot};
use kekring::keyring::join::{covers, join};
use kekring::keyring::lifecycle;
use kekring::keyring::members::{MAX_NAME, MAX_RECORDS, Member, Membership};
use kekring::keyring::ring::{Key, KeyState, MAX_REMOVALS, Ring, Tombstone, UnixTime};
use kekring::keyring::{KeyId, Keyring, RingKeyId};
use rustix::time::{ClockId, clock_gettime};

use crate::steps::Source;

/// In seconds.
const YEAR: u64 = 365 * 86_400;

fn ring_key() -> Key32 {
    Key32::take(&mut [9; 32])
}

/// A ring of that many deactivated and destroyed keys, in turns, the first of them of number `first`; each was active for a
/// year.
fn ring_of(name: &'static str, first: u64, deactivated: u64, destroyed: u64) -> Ring {
    let mut source = Source::new(name);
    let mut ring = Source::new("size").ring();
    let (active, next) = (ring.keys.remove(0), ring.keys.remove(0));
    ring.generation = 2 * (first + deactivated + destroyed);
    for number in 0..deactivated.max(destroyed) {
        let sequence = first + 2 * number;
        let created = UnixTime(1_790_000_000 + number);
        if number < deactivated {
            let key = Key {
                state: KeyState::Deactivated,
                changed: 2 * sequence,
                created,
                activated: Some(UnixTime(created.0 + YEAR)),
                deactivated: Some(UnixTime(created.0 + 2 * YEAR)),
                ..named(&active, ring.id, sequence, source.key())
            };
            ring.keys.push(key);
        }
        if number < destroyed {
            ring.tombstones.push(Tombstone {
                id: KeyId::derive(ring.id, sequence + 1, &source.key()),
                destroyed: UnixTime(created.0 + 3 * YEAR),
                evidence: sha256(&number.to_be_bytes())[..16].try_into().unwrap(),
            });
        }
    }
    let highest = ring.highest_sequence();
    ring.keys.push(named(&active, ring.id, highest + 1, source.key()));
    ring.keys.push(named(&next, ring.id, highest + 2, source.key()));
    ring
}

fn named(like: &Key, ring: kekring::keyring::RingId, sequence: u64, material: Key32) -> Key {
    Key {
        id: KeyId::derive(ring, sequence, &material),
        material: material.into(),
        ..like.clone()
    }
}

fn encode(ring: &Ring) -> Vec<u8> {
    let header = Header {
        ring_id: ring.id,
        generation: ring.generation,
        parents: vec![[1; 32]],
        writer: [1; 16],
        proposal_id: [2; 16],
        written: UnixTime(1_790_000_000),
        slots: vec![Slot {
            id: [1; 16],
            kind: 1,
            name: "a root".into(),
            sealed: vec![0; 130],
            created: UnixTime(1_790_000_000),
            replaces: None,
        }],
    };
    generation::encode(&header, ring, &ring_key()).unwrap()
}

fn read(bytes: &[u8]) -> Ring {
    generation::parse(bytes).unwrap().open(&ring_key()).unwrap().ring
}

#[test]
fn a_thousand_keys_and_ten_thousand_destroyed_ones_fit_with_every_list_at_its_longest() {
    let mut ring = ring_of("size: full", 1, 1_000, 10_000);
    let alone = encode(&ring).len();
    let number = |at: usize| u128::try_from(at).unwrap().to_be_bytes();
    ring.replaced = (0..MAX_REMOVALS).map(|at| RingKeyId(number(at))).collect();
    ring.removed = (0..MAX_REMOVALS).map(number).collect();
    let name = |at| format!("n{at:03}{}", "n".repeat(MAX_NAME - 4)).parse().unwrap();
    let member = |at| Member {
        name: name(at),
        instance: [1; 16],
        since: ring.generation,
        membership: Membership::Removed,
    };
    ring.members = (0..MAX_RECORDS).map(member).collect();

    let bytes = encode(&ring);

    println!(
        "1,000 keys and 10,000 destroyed ones: {alone} bytes; every list at its longest: {}",
        bytes.len()
    );
    assert!(alone < 550_000, "{alone} bytes");
    assert!(bytes.len() < MAX_LEN * 3 / 4, "{} bytes", bytes.len());
    let read = read(&bytes);
    assert_eq!((read.keys.len(), read.tombstones.len()), (1_002, 10_000));
    assert_eq!(read.destroyed(), ring.destroyed());
}

#[test]
fn a_deactivated_key_takes_64_bytes_and_a_destroyed_one_48_at_most() {
    // Nobody's ring ever comes to a number of more than three bytes.
    let (few, many) = (1_000, 2_000);
    let size = |keys, tombs| encode(&ring_of("size: each", 2_000_000, keys, tombs)).len();

    let key = (size(many, 10) - size(few, 10)).div_ceil(1_000);
    let tomb = (size(10, many) - size(10, few)).div_ceil(1_000);

    println!("a deactivated key: {key} bytes; a destroyed one: {tomb}");
    assert!(key <= 64, "{key} bytes");
    assert!(tomb <= 48, "{tomb} bytes");
}

/// For how long this thread has had a processor: what else the machine does is not in it.
fn on_a_processor() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

/// The shortest of a few times: caches that others have emptied only add.
fn time<T>(work: impl Fn() -> T) -> Duration {
    let once = || {
        let started = on_a_processor();
        let kept = work();
        let taken = on_a_processor() - started;
        drop(kept);
        taken
    };
    (0..5).map(|_| once()).min().unwrap()
}

/// What is done with rings of `count` deactivated and as many destroyed keys, and how long each takes.
fn times(count: u64) -> [(&'static str, Duration); 7] {
    let one = ring_of("size: one", 1, count, count);
    let other = ring_of("size: other", 1, count, count);
    // 10,000 of both do not fit in one generation.
    let stored = ring_of("size: stored", 1, count * 4 / 5, count * 4 / 5);
    let bytes = encode(&stored);
    let fresh = || Key32::take(&mut [7; 32]);
    let joined = || join(&one, &other, &[], fresh(), UnixTime(1)).unwrap();
    let all = joined();
    [
        ("encode", time(|| encode(&stored))),
        ("open", time(|| read(&bytes))),
        (
            "prove that it may be deleted",
            time(|| Durable::read(&bytes, &ring_key()).is_ok()),
        ),
        ("serve", time(|| Keyring::new(&one))),
        ("join", time(joined)),
        (
            "compare",
            time(|| covers(&all, &one) && covers(&all, &other) && !covers(&one, &all)),
        ),
        (
            "take in",
            time(|| lifecycle::take_in(&one, [&other].into_iter(), UnixTime(1))),
        ),
    ]
}

#[test]
fn time_grows_with_the_keys_and_destroyed_keys_and_not_with_their_square() {
    const FACTOR: u32 = 4;
    let few = times(10_000 / u64::from(FACTOR));
    let many = times(10_000);

    for ((what, few), (_, many)) in few.into_iter().zip(many) {
        println!("{what}: {few:?}, and of {FACTOR} times as many {many:?}");
        // A square would be 16 times; what no longer fits in a processor's cache takes up to twice as long.
        assert!(many < few * FACTOR * 3, "{what}: {few:?}, {many:?}");
    }
}
