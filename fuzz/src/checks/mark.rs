//! The mark and the record of a backup: raw bytes, and messages with a MAC that fits. What decodes encodes to the same.

use std::sync::LazyLock;

use kekring::crypto::kdf::{self, Context};
use kekring::crypto::secret::Key32;
use kekring::format::{FormatError, backup, mark};
use kekring::keyring::RingId;
use kekring::proto::ring as wire;
use prost::Message;

use super::{Case, choice, quiet};

const MARKS: &str = include_str!("../../../tests/vectors/mark.json");
const BACKUPS: &str = include_str!("../../../tests/vectors/backup.json");

struct World {
    ring_key: Key32,
    known: Vec<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let case = Case::named(MARKS, "a mark");
    let ours = |it: &Case| it.opens() && it.0["ring_key"] == case.0["ring_key"];
    let known = [MARKS, BACKUPS].into_iter().flat_map(Case::all);
    World {
        ring_key: case.key("ring_key"),
        known: known.filter(ours).map(|it| it.bytes("bytes")).collect(),
    }
});

pub fn check(data: &[u8]) {
    let Some((mode, rest)) = choice(data, 4) else {
        return;
    };
    let world = &*WORLD;
    match mode {
        0 => {
            let _ = mark::of_another_ring(rest, RingId([1; 16]), &world.ring_key);
            let decoded = mark::decode(rest, &world.ring_key).map(|it| it.encode(&world.ring_key));
            genuine(world, rest, decoded);
        }
        1 => {
            let decoded = backup::decode(rest, &world.ring_key).map(|it| it.encode(&world.ring_key));
            genuine(world, rest, decoded);
        }
        2 => {
            let Ok(mut message) = wire::Mark::decode(rest) else {
                return;
            };
            message.mac = Vec::new();
            message.mac = mac("kekring/v1/mark", &world.ring_key, &message.ring_id, &message);
            let bytes = message.encode_to_vec();
            let decoded = mark::decode(&bytes, &world.ring_key).map(|it| it.encode(&world.ring_key));
            same(world, &bytes, decoded);
        }
        _ => {
            let Ok(mut message) = wire::BackupRecord::decode(rest) else {
                return;
            };
            message.mac = Vec::new();
            message.mac = mac("kekring/v1/backup", &world.ring_key, &message.ring_id, &message);
            let bytes = message.encode_to_vec();
            let decoded = backup::decode(&bytes, &world.ring_key).map(|it| it.encode(&world.ring_key));
            same(world, &bytes, decoded);
        }
    }
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
