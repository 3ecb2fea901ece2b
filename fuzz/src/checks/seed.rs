//! A wrapped seed, opened under a known key: only what was sealed under it opens, and as what was sealed.

use std::sync::LazyLock;

use kekring::crypto::secret::Key32;
use kekring::format::wrapped_seed;
use kekring::keyring::ring::{Ring, UnixTime};
use kekring::keyring::{KeyId, Keyring, RingId, lifecycle};

use super::{Case, choice, quiet};

const VECTORS: &str = include_str!("../../../tests/vectors/wrapped-seed.json");

struct World {
    ring: RingId,
    id: KeyId,
    key: Key32,
    /// What was sealed under the key, and the seeds in it.
    known: Vec<(Vec<u8>, Vec<u8>)>,
    keyring: Keyring,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let case = Case::named(VECTORS, "32 bytes");
    let same = |it: &Case| {
        it.opens()
            && ["key", "key_id", "ring_id"]
                .iter()
                .all(|name| it.0[name] == case.0[name])
    };
    World {
        ring: case.ring_id(),
        id: case.key_id(),
        key: case.key("key"),
        known: Case::all(VECTORS)
            .iter()
            .filter(|it| same(it))
            .map(|it| (it.bytes("bytes"), it.bytes("plaintext")))
            .collect(),
        keyring: Keyring::new(&ring(case.ring_id())),
    }
});

fn ring(id: RingId) -> Ring {
    let key = |byte| Key32::take(&mut [byte; 32]);
    lifecycle::create(id, key(1), key(2), UnixTime(1))
}

/// What opens there is the world's own, or the check fails.
pub fn check(data: &[u8]) {
    let Some((mode, rest)) = choice(data, 3) else {
        return;
    };
    let world = &*WORLD;
    match mode {
        0 => opened(world, rest),
        1 => named(world, rest),
        _ => round(world, rest),
    }
}

fn opened(world: &World, bytes: &[u8]) {
    let outcome = wrapped_seed::unwrap(world.ring, &world.id, &world.key, bytes);
    let known = world.known.iter().find(|(sealed, _)| sealed == bytes);
    match (outcome, known) {
        (Ok(seed), Some((_, plain))) => assert_eq!(seed.expose(), plain),
        (Ok(_), None) => panic!("it opens, and was never sealed under this key"),
        (Err(why), Some(_)) => panic!("what was sealed does not open: {why}"),
        (Err(why), None) => quiet(&why.to_string(), &[world.key.expose()]),
    }
}

/// The first byte is the length of a key id, which comes before the ciphertext.
fn named(world: &World, data: &[u8]) {
    let Some((length, rest)) = data.split_first() else {
        return;
    };
    let (id, ciphertext) = rest.split_at(rest.len().min(usize::from(*length)));
    let id = String::from_utf8_lossy(id);
    match world.keyring.decrypt(&id, ciphertext) {
        Ok(_) => panic!("nothing was ever sealed by this ring"),
        Err(why) => quiet(&why.to_string(), &[&[1; 32], &[2; 32]]),
    }
    if let Ok(parsed) = id.parse::<KeyId>() {
        assert_eq!(parsed.as_str(), id, "a key id has one spelling");
    }
}

/// What is sealed opens as it was, under this key and no other.
fn round(world: &World, plain: &[u8]) {
    match world.keyring.encrypt(None, plain) {
        Ok((sealed, id)) => {
            assert!(sealed.len() <= wrapped_seed::MAX_LEN);
            assert_eq!(
                world.keyring.decrypt(id.as_str(), &sealed).unwrap().expose(),
                plain
            );
            assert!(wrapped_seed::unwrap(world.ring, &world.id, &world.key, &sealed).is_err());
        }
        Err(why) => {
            assert!(
                plain.is_empty() || plain.len() > kekring::keyring::MAX_PLAINTEXT,
                "{why}"
            );
            quiet(&why.to_string(), &[plain]);
        }
    }
}
