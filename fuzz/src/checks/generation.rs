//! A stored generation: raw bytes; a message with the checksum made to fit; a header, and a body, that were sealed
//! under the ring's own key. What opens keeps every rule, and what may be written back is written back as it was.

use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use kekring::crypto::aead::{self, Sealed};
use kekring::crypto::kdf::{Context, sha256};
use kekring::crypto::secret::Key32;
use kekring::format::generation::{self, MAX_LEN, OpenGeneration, Stored, VERSION};
use kekring::format::{self, FormatError};
use kekring::keyring::ring::Ring;
use kekring::proto::ring as wire;
use prost::Message;

use super::{Case, choice, quiet};

const VECTORS: &str = include_str!("../../../tests/vectors/generation.json");
const MAGIC: &[u8] = b"kekring\n";
const BODY: &str = "kekring/v1/body";

pub struct World {
    pub ring_key: Key32,
    /// Generations that were sealed under the key.
    known: Vec<Vec<u8>>,
    header: Vec<u8>,
    body: Vec<u8>,
}

pub static WORLD: LazyLock<World> = LazyLock::new(|| {
    let case = Case::named(VECTORS, "generation 2");
    let ring_key = case.key("ring_key");
    let message = wire::StoredGeneration::decode(inside(&case.bytes("bytes"))).unwrap();
    World {
        known: Case::all(VECTORS)
            .iter()
            .filter(|it| it.opens() && it.0["ring_key"] == case.0["ring_key"])
            .map(|it| it.bytes("bytes"))
            .collect(),
        body: plain(&message, &ring_key).unwrap(),
        header: message.header,
        ring_key,
    }
});

/// The message of a stored generation.
pub fn inside(bytes: &[u8]) -> &[u8] {
    &bytes[MAGIC.len()..bytes.len() - 32]
}

/// What is sealed in a generation.
pub fn plain(message: &wire::StoredGeneration, ring_key: &Key32) -> Option<Vec<u8>> {
    let sealed: Sealed = format::sealed("body", message.body.as_ref()).ok()?;
    let bound = bound(message.version, message.min_reader, &message.header);
    let opened = aead::open_bound(ring_key, &Context::new(BODY), &bound, &sealed).ok()?;
    Some(opened.expose().to_vec())
}

fn bound(version: u32, min_reader: u32, header: &[u8]) -> Context {
    Context::new(BODY)
        .with(&version.to_be_bytes())
        .with(&min_reader.to_be_bytes())
        .with(header)
}

/// A message as a store keeps it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = [MAGIC, message].concat();
    let checksum = sha256(&bytes);
    bytes.extend_from_slice(&checksum);
    bytes
}

/// A generation whose body and header belong together, whatever they are.
pub fn sealed(version: u32, header: &[u8], body: &[u8], ring_key: &Key32) -> Vec<u8> {
    let bound = bound(version, VERSION, header);
    let sealed = aead::seal_bound(ring_key, &Context::new(BODY), &bound, body).unwrap();
    let message = wire::StoredGeneration {
        version,
        min_reader: VERSION,
        header: header.to_vec(),
        body: Some(sealed.into()),
    };
    framed(&message.encode_to_vec())
}

pub fn check(data: &[u8]) {
    let Some((mode, rest)) = choice(data, 5) else {
        return;
    };
    let world = &*WORLD;
    match mode {
        0 => never_sealed(world, rest),
        1 => never_sealed(world, &framed(rest)),
        2 => opens(world, &sealed(VERSION, &world.header, rest, &world.ring_key)),
        3 => opens(world, &sealed(VERSION, rest, &world.body, &world.ring_key)),
        _ => opens(world, &sealed(VERSION + 1, &world.header, rest, &world.ring_key)),
    }
}

fn open(bytes: &[u8], ring_key: &Key32) -> Result<(Stored, OpenGeneration), FormatError> {
    let stored = generation::parse(bytes)?;
    let open = stored.open(ring_key)?;
    Ok((stored, open))
}

/// Nobody else has the ring key: what opens says what one of ours says, and is that one where it may be written back.
fn never_sealed(world: &World, bytes: &[u8]) {
    let known = world.known.iter().any(|it| it == bytes);
    match open(bytes, &world.ring_key) {
        Ok((stored, open)) => {
            assert!(
                known || !open.writable,
                "a generation that was never written may be written back"
            );
            let same = |ours: &Vec<u8>| generation::parse(ours).is_ok_and(|it| it.header == stored.header);
            assert!(world.known.iter().any(same), "a header that was never written");
        }
        Err(why) => {
            assert!(!known, "what was sealed does not open: {why}");
            quiet(&why.to_string(), &[world.ring_key.expose()]);
        }
    }
}

fn opens(world: &World, bytes: &[u8]) {
    let secrets = materials(bytes, &world.ring_key);
    match open(bytes, &world.ring_key) {
        Ok((stored, open)) => sound(world, bytes, &stored, &open),
        Err(why) => {
            let secrets: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
            quiet(&why.to_string(), &secrets);
            assert!(
                !matches!(why, FormatError::WrongKey | FormatError::Tampered(_)) || bytes.len() > MAX_LEN
            );
        }
    }
}

/// The ring key, and key bytes of a body that may be anything.
fn materials(bytes: &[u8], ring_key: &Key32) -> Vec<Vec<u8>> {
    let message = wire::StoredGeneration::decode(inside(bytes)).ok();
    let told = message.and_then(|it| plain(&it, ring_key)).unwrap_or_default();
    let body = wire::Body::decode(told.as_slice()).ok();
    let told = String::from_utf8_lossy(&told).to_lowercase();
    let keys = body.map(|it| it.keys).unwrap_or_default();
    // What is readable may be a name, or our own words: no chance makes such a key.
    let readable = |it: &[u8]| it.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    // Nor does a node have a key for its name; somebody who holds the ring key and tries us can give it one.
    let named = |it: &[u8]| told.contains(&HEXLOWER.encode(it));
    let all = keys.into_iter().map(|it| it.material);
    let all = all.chain([ring_key.expose().to_vec()]);
    all.filter(|it| it.len() == 32 && !readable(it) && !named(it))
        .collect()
}

fn sound(world: &World, bytes: &[u8], stored: &Stored, open: &OpenGeneration) {
    assert_eq!(open.ring.check(), Ok(()));
    assert_eq!(open.ring.id, stored.header.ring_id);
    assert_eq!(open.ring.generation, stored.header.generation);
    let again = generation::encode(&stored.header, &open.ring, &world.ring_key).unwrap();
    let written = wire::StoredGeneration::decode(inside(&again)).unwrap();
    let (stored_again, open_again) = self::open(&again, &world.ring_key).unwrap();
    assert_eq!(stored_again.header, stored.header);
    assert_eq!(shown(&open_again.ring), shown(&open.ring));
    assert!(open_again.writable);
    if open.writable {
        let read = wire::StoredGeneration::decode(inside(bytes)).unwrap();
        assert_eq!(
            written.header, read.header,
            "a header that is written back differs"
        );
        assert_eq!(
            plain(&written, &world.ring_key),
            plain(&read, &world.ring_key),
            "a body that is written back differs"
        );
    }
}

fn shown(ring: &Ring) -> String {
    let bytes: Vec<_> = ring.keys.iter().map(|key| *key.material.expose()).collect();
    format!("{ring:?} {bytes:?}")
}
