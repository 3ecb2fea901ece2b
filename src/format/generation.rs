//! A stored generation: the bytes of `gen-<N>-<hash8>.ring`, the same in every store and backup.
//!
//! ```text
//! magic "kekring\n" ‖ StoredGeneration { version, min_reader, header, body } ‖ SHA-256 of all before
//! ```
//!
//! The trailing hash is unkeyed on purpose: it tells *corrupt* from *tampered*. The header is in the clear; its raw
//! bytes, with version and minimum reader, are AAD of the body, which is sealed under the ring key. They do not enter
//! the derivation: the commitment tells *wrong root* from *tampered* also where the header was changed. Each slot holds
//! the ring key, sealed by one root for the context *label, ring id, slot id, kind*.

use prost::Message;

use super::{FormatError, body, decode, exactly, optional, sealed};
use crate::crypto::aead::{self, OpenError, SealError, Sealed};
use crate::crypto::kdf::{Context, sha256};
use crate::crypto::secret::{Key32, SecretBytes};
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{RingId, SlotId};
use crate::proto::ring as wire;
pub use crate::proto::ring::SlotKind;

const MAGIC: &[u8; 8] = b"kekring\n";
/// How generations began before the first release. No release reads them.
const UNRELEASED: &[u8; 8] = b"KEKRING\n";
const BODY_LABEL: &str = "kekring/v1/body";
const SLOT_LABEL: &str = "kekring/v1/slot";

/// The first format version. Every one from it on is read for ever.
pub const FIRST: u32 = 1;

/// The format version that this code writes where nothing else is asked for.
pub const VERSION: u32 = 1;

/// Longest generation: 1,000 keys take 60 kB, and etcd refuses requests over 1.5 MiB (its `--max-request-bytes`).
pub const MAX_LEN: usize = 1024 * 1024;

/// Most root slots: a passphrase slot takes a good part of a second, and who can write the file must not be able to hold
/// up a start by thousands of them.
pub const MAX_SLOTS: usize = 16;

/// Longest name of a root slot, in bytes.
pub const MAX_SLOT_NAME: usize = 256;

/// SHA-256 of a generation's stored bytes: its identity, and how children name their parents.
pub type Hash = [u8; 32];

/// The clear part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The ring's name.
    pub ring_id: RingId,
    /// From 1.
    pub generation: u64,
    /// Hashes of the parents, ascending; none for generation 1 only.
    pub parents: Vec<Hash>,
    /// The process that wrote it.
    pub writer: [u8; 16],
    /// The change that it is.
    pub proposal_id: [u8; 16],
    /// When it was written; advice.
    pub written: UnixTime,
    /// 1 to [`MAX_SLOTS`], no id twice.
    pub slots: Vec<Slot>,
}

/// The ring key as one root keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Names the slot.
    pub id: SlotId,
    /// Number of the kind; one that this version does not know is kept as it is.
    pub kind: i32,
    /// For people: at most [`MAX_SLOT_NAME`] bytes, no control characters.
    pub name: String,
    /// What the root returned.
    pub sealed: Vec<u8>,
    /// When it was made, or last sealed anew; advice.
    pub created: UnixTime,
    /// The slot that it took the place of.
    pub replaces: Option<SlotId>,
}

/// The context in which a root seals the ring key. Without the generation: slots outlive rotations.
pub fn slot_context(ring: RingId, slot: &SlotId, kind: i32) -> Context {
    Context::new(SLOT_LABEL)
        .with(&ring.0)
        .with(slot)
        .with(&kind.to_be_bytes())
}

/// `text` as the name of a slot: without control characters, and cut where it is too long.
pub fn slot_name(text: &str) -> String {
    let mut name = String::new();
    for character in text.chars().filter(|it| !it.is_control()) {
        if name.len() + character.len_utf8() > MAX_SLOT_NAME {
            break;
        }
        name.push(character);
    }
    name
}

/// A generation whose clear part has been checked and whose body is still sealed.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its identity.
    pub hash: Hash,
    /// Its clear part.
    pub header: Header,
    /// The format version that it is written in.
    pub format: u32,
    bound: Context,
    body: Sealed,
    reproducible: bool,
}

/// An opened generation.
#[derive(Clone, Debug)]
pub struct OpenGeneration {
    /// Its content, checked.
    pub ring: Ring,
    /// False where a newer version has written something that this one cannot write back: it may serve, never write.
    pub writable: bool,
}

/// Checks everything that needs no key.
pub fn parse(bytes: &[u8]) -> Result<Stored, FormatError> {
    if bytes.len() > MAX_LEN {
        return Err(FormatError::corrupt(format!("longer than {MAX_LEN} bytes")));
    }
    if bytes.starts_with(UNRELEASED) {
        return Err(FormatError::Unreleased);
    }
    let rest = bytes
        .strip_prefix(MAGIC.as_slice())
        .ok_or_else(|| FormatError::corrupt("does not begin like a ring"))?;
    let (message, checksum) = rest
        .split_last_chunk::<32>()
        .ok_or_else(|| FormatError::corrupt("cut short"))?;
    let checked = bytes.len() - checksum.len();
    if sha256(bytes.get(..checked).unwrap_or_default()) != *checksum {
        return Err(FormatError::corrupt("the checksum does not match"));
    }
    let (stored, same): (wire::StoredGeneration, bool) = decode("generation", message)?;
    if stored.version == 0 || stored.min_reader == 0 || stored.min_reader > stored.version {
        return Err(FormatError::corrupt("format version is absent or impossible"));
    }
    if stored.min_reader > VERSION {
        return Err(FormatError::newer(stored.version, stored.min_reader));
    }
    let (clear, clear_same): (wire::Header, bool) = decode("header", &stored.header)?;
    Ok(Stored {
        hash: sha256(bytes),
        header: header(&clear)?,
        format: stored.version,
        bound: body_bound(stored.version, stored.min_reader, &stored.header),
        body: sealed("body", stored.body.as_ref())?,
        reproducible: same && clear_same && stored.version == VERSION,
    })
}

impl Stored {
    /// Opens the body and checks every rule of the ring.
    pub fn open(&self, ring_key: &Key32) -> Result<OpenGeneration, FormatError> {
        let opened = aead::open_bound(ring_key, &Context::new(BODY_LABEL), &self.bound, &self.body);
        let plain = opened.map_err(|why| match why {
            OpenError::WrongKey => FormatError::WrongKey,
            OpenError::Tampered => FormatError::Tampered("header or body does not authenticate".into()),
        })?;
        let (mut message, same): (wire::Body, bool) = decode("body", plain.expose())?;
        let ring = body::from_wire(self.header.ring_id, self.header.generation, &message);
        body::wipe(&mut message);
        Ok(OpenGeneration {
            ring: ring?,
            writable: same && self.reproducible,
        })
    }
}

/// Encodes `ring` as the generation that `header` describes.
pub fn encode(header: &Header, ring: &Ring, ring_key: &Key32) -> Result<Vec<u8>, SealError> {
    encode_as(header, ring, ring_key, VERSION)
}

/// The same in a format version from [`FIRST`] to [`VERSION`].
pub fn encode_as(header: &Header, ring: &Ring, ring_key: &Key32, format: u32) -> Result<Vec<u8>, SealError> {
    let version = format.clamp(FIRST, VERSION);
    let clear = header_to_wire(header).encode_to_vec();
    let mut message = body::to_wire(ring);
    let plain = SecretBytes::new(message.encode_to_vec());
    body::wipe(&mut message);
    let bound = body_bound(version, version, &clear);
    let sealed = aead::seal_bound(ring_key, &Context::new(BODY_LABEL), &bound, plain.expose())?;
    let stored = wire::StoredGeneration {
        version,
        min_reader: version,
        header: clear,
        body: Some(sealed.into()),
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&stored.encode_to_vec());
    bytes.extend_from_slice(&sha256(&bytes));
    Ok(bytes)
}

fn body_bound(version: u32, min_reader: u32, header: &[u8]) -> Context {
    Context::new(BODY_LABEL)
        .with(&version.to_be_bytes())
        .with(&min_reader.to_be_bytes())
        .with(header)
}

fn header(message: &wire::Header) -> Result<Header, FormatError> {
    let parents = message
        .parents
        .iter()
        .map(|parent| exactly("parent hash", parent))
        .collect::<Result<Vec<Hash>, _>>()?;
    if !parents.is_sorted_by(|a, b| a < b) {
        return Err(FormatError::corrupt("parents are not ascending"));
    }
    if message.generation == 0 || parents.is_empty() != (message.generation == 1) {
        return Err(FormatError::corrupt(format!(
            "generation {} with {} parents",
            message.generation,
            parents.len()
        )));
    }
    Ok(Header {
        ring_id: RingId(exactly("ring id", &message.ring_id)?),
        generation: message.generation,
        parents,
        writer: exactly("writer", &message.writer)?,
        proposal_id: exactly("proposal id", &message.proposal_id)?,
        written: UnixTime(message.written),
        slots: slots(&message.slots)?,
    })
}

fn slots(messages: &[wire::Slot]) -> Result<Vec<Slot>, FormatError> {
    if messages.is_empty() {
        return Err(FormatError::corrupt("no root slot"));
    }
    if messages.len() > MAX_SLOTS {
        return Err(FormatError::corrupt(format!(
            "{} root slots, at most {MAX_SLOTS} are accepted",
            messages.len()
        )));
    }
    let mut slots: Vec<Slot> = Vec::with_capacity(messages.len());
    for message in messages {
        let slot = slot(message)?;
        if slots.iter().any(|known| known.id == slot.id) {
            return Err(FormatError::corrupt("two root slots of one id"));
        }
        slots.push(slot);
    }
    Ok(slots)
}

fn slot(message: &wire::Slot) -> Result<Slot, FormatError> {
    if message.kind == i32::from(SlotKind::Unspecified) || message.sealed.is_empty() {
        return Err(FormatError::corrupt("a root slot without kind or content"));
    }
    if message.name.len() > MAX_SLOT_NAME || message.name.chars().any(char::is_control) {
        return Err(FormatError::corrupt(format!(
            "the name of a root slot is longer than {MAX_SLOT_NAME} bytes or has control characters"
        )));
    }
    Ok(Slot {
        id: exactly("slot id", &message.id)?,
        kind: message.kind,
        name: message.name.clone(),
        sealed: message.sealed.clone(),
        created: UnixTime(message.created),
        replaces: optional("replaced slot id", &message.replaces)?,
    })
}

fn header_to_wire(header: &Header) -> wire::Header {
    wire::Header {
        ring_id: header.ring_id.0.to_vec(),
        generation: header.generation,
        parents: header.parents.iter().map(|parent| parent.to_vec()).collect(),
        writer: header.writer.to_vec(),
        proposal_id: header.proposal_id.to_vec(),
        written: header.written.0,
        slots: header
            .slots
            .iter()
            .map(|slot| wire::Slot {
                id: slot.id.to_vec(),
                kind: slot.kind,
                name: slot.name.clone(),
                sealed: slot.sealed.clone(),
                created: slot.created.0,
                replaces: slot.replaces.map(Vec::from).unwrap_or_default(),
            })
            .collect(),
    }
}
