//! The acknowledgement of a node: raw bytes, a message with a MAC that fits, and one that is written anew. What decodes encodes
//! to the same.

use std::sync::LazyLock;

use kekring::crypto::kdf::{self, Context};
use kekring::crypto::secret::Key32;
use kekring::format::FormatError;
use kekring::format::node::{self, Acknowledgement};
use kekring::proto::ring as wire;
use prost::Message;

use super::{Case, choice, quiet};

const VECTORS: &str = include_str!("../../../tests/vectors/acknowledgement.json");

struct World {
    ring_key: Key32,
    known: Vec<Vec<u8>>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let case = Case::named(VECTORS, "an acknowledgement");
    let known = Case::all(VECTORS).into_iter().filter(Case::opens);
    World {
        ring_key: case.key("ring_key"),
        known: known.map(|it| it.bytes("bytes")).collect(),
    }
});

pub fn check(data: &[u8]) {
    let Some((mode, rest)) = choice(data, 2) else {
        return;
    };
    let world = &*WORLD;
    if mode == 0 {
        let decoded = node::decode(rest, &world.ring_key);
        assert!(
            decoded.is_err() || world.known.iter().any(|it| it == rest),
            "it counts, and was never written"
        );
        same(world, rest, decoded);
        return;
    }
    let Ok(mut message) = wire::Acknowledgement::decode(rest) else {
        return;
    };
    message.mac = Vec::new();
    let context = Context::new("kekring/v1/acknowledgement");
    let key = kdf::derive_key(&world.ring_key, &message.ring_id, &context);
    message.mac = kdf::mac(&key, &message.encode_to_vec()).to_vec();
    let bytes = message.encode_to_vec();
    same(world, &bytes, node::decode(&bytes, &world.ring_key));
}

fn same(world: &World, bytes: &[u8], decoded: Result<Acknowledgement, FormatError>) {
    match decoded {
        Ok(said) => {
            assert_eq!(
                said.encode(&world.ring_key),
                bytes,
                "it is written back differently"
            );
            assert!(said.generation > 0 && said.format > 0 && !said.name.as_str().is_empty());
        }
        Err(why) => quiet(&why.to_string(), &[world.ring_key.expose()]),
    }
}
