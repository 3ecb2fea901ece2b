//! The mark, the record of a backup and that of a replaced ring key: raw bytes, and messages with a MAC that fits. What
//! decodes encodes to the same.

use std::sync::LazyLock;

use kekring::crypto::kdf::{self, Context};
use kekring::crypto::secret::Key32;
use kekring::format::{FormatError, backup, mark, superseded};
use kekring::keyring::RingId;
use kekring::proto::ring as wire;
use prost::Message;

use super::{Case, choice, quiet};

const MARKS: &str = include_str!("../../../tests/vectors/mark.json");
const BACKUPS: &str = include_str!("../../../tests/vectors/backup.json");
const SUPERSEDED: &str = include_str!("../../../tests/vectors/superseded.json");

struct World {
    ring_key: Key32,
    known: Vec<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let case = Case::named(MARKS, "a mark");
    let ours = |it: &Case| it.opens() && it.0["ring_key"] == case.0["ring_key"];
    let known = [MARKS, BACKUPS, SUPERSEDED].into_iter().flat_map(Case::all);
    World {
        ring_key: case.key("ring_key"),
        known: known.filter(ours).map(|it| it.bytes("bytes")).collect(),
    }
});

pub fn check(data: &[u8]) {
    let Some((mode, rest)) = choice(data, 6) else {
        return;
    };
    let world = &*WORLD;
    match mode {
        0 => {
            let _ = mark::of_another_ring(rest, RingId([1; 16]), &world.ring_key);
            genuine(world, rest, decoded_mark(world, rest));
        }
        1 => genuine(world, rest, decoded_backup(world, rest)),
        2 => {
            named(rest);
            genuine(world, rest, decoded_superseded(world, rest));
        }
        3 => {
            let Ok(mut message) = wire::Mark::decode(rest) else {
                return;
            };
            message.mac = Vec::new();
            message.mac = mac("kekring/v1/mark", &world.ring_key, &message.ring_id, &message);
            let bytes = message.encode_to_vec();
            same(world, &bytes, decoded_mark(world, &bytes));
        }
        4 => {
            let Ok(mut message) = wire::BackupRecord::decode(rest) else {
                return;
            };
            message.mac = Vec::new();
            message.mac = mac("kekring/v1/backup", &world.ring_key, &message.ring_id, &message);
            let bytes = message.encode_to_vec();
            same(world, &bytes, decoded_backup(world, &bytes));
        }
        _ => {
            let Ok(mut message) = wire::Superseded::decode(rest) else {
                return;
            };
            message.mac = Vec::new();
            message.mac = mac(
                "kekring/v1/superseded",
                &world.ring_key,
                &message.ring_id,
                &message,
            );
            let bytes = message.encode_to_vec();
            let decoded = decoded_superseded(world, &bytes);
            // A body that holds it is read again.
            assert!(
                decoded.is_err()
                    || bytes.len() <= superseded::MAX_LEN && superseded::claimed(&bytes).is_some()
            );
            same(world, &bytes, decoded);
        }
    }
}

fn decoded_mark(world: &World, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    mark::decode(bytes, &world.ring_key).map(|it| it.encode(&world.ring_key))
}

fn decoded_backup(world: &World, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    backup::decode(bytes, &world.ring_key).map(|it| it.encode(&world.ring_key))
}

fn decoded_superseded(world: &World, bytes: &[u8]) -> Result<Vec<u8>, FormatError> {
    superseded::decode(bytes, &world.ring_key).map(|it| it.encode(&world.ring_key))
}

/// A record's place in the store is made of its bytes, whoever wrote them.
fn named(bytes: &[u8]) {
    let name = superseded::name(bytes);
    let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'/' || it == b'-';
    assert!(name.len() < 64 && name.bytes().all(plain), "{name}");
}

fn mac(label: &str, ring_key: &Key32, ring: &[u8], message: &impl Message) -> Vec<u8> {
    let key = kdf::derive_key(ring_key, ring, &Context::new(label));
    kdf::mac(&key, &message.encode_to_vec()).to_vec()
}

/// Without the ring key nobody makes one that counts.
fn genuine(world: &World, bytes: &[u8], decoded: Result<Vec<u8>, FormatError>) {
    assert!(
        decoded.is_err() || world.known.iter().any(|it| it == bytes),
        "it counts, and was never written"
    );
    same(world, bytes, decoded);
}

fn same(world: &World, bytes: &[u8], decoded: Result<Vec<u8>, FormatError>) {
    match decoded {
        Ok(again) => assert_eq!(again, bytes, "it is written back differently"),
        Err(why) => quiet(&why.to_string(), &[world.ring_key.expose()]),
    }
}
