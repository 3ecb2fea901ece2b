//! An acknowledgement: what one node says that its durable copy of the ring holds. One for each node, in the store beside
//! the ring.
//!
//! It is written after the copy is durable and its mark too, and carries a MAC under a key derived from the ring key:
//! nobody who lacks the ring key can acknowledge for a node. An old one that is put back says what was true and stays so.

use super::authenticated::{self, Authenticated};
use super::generation::Hash;
use super::{FormatError, exactly, optional};
use crate::crypto::secret::Key32;
use crate::keyring::members::{Instance, NodeName};
use crate::keyring::ring::{Digest, UnixTime};
use crate::keyring::{KeyId, RingId};
use crate::proto::ring as wire;

/// 16 random bytes that name one fork, and the showing of heads that ends it.
pub type Nonce = [u8; 16];

/// What a node has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The ring's name.
    pub ring_id: RingId,
    /// Whose copy.
    pub name: NodeName,
    /// Which of the copies that a node of this name has had.
    pub instance: Instance,
    /// The newest generation in it.
    pub generation: u64,
    /// That generation's identity.
    pub hash: Hash,
    /// Its next key, which the node can open: the one that may become active.
    pub held: KeyId,
    /// The highest key that the node has reported, as its mark says; none before the first.
    pub reported: Option<KeyId>,
    /// The fork in which it has shown its head.
    pub shown: Option<Nonce>,
    /// The format version that the node reads and writes.
    pub format: u32,
    /// The node's wall clock when it wrote this.
    pub time: UnixTime,
    /// How many Decrypts under each retiring key verified here, by the key's name.
    pub watched: Vec<(KeyId, u64)>,
    /// A digest of the destroyed keys of which the node has no copy left; none where there are none.
    pub purged: Option<Digest>,
}

impl Acknowledgement {
    /// The stored bytes.
    pub fn encode(&self, ring_key: &Key32) -> Vec<u8> {
        let reported = self.reported.as_ref();
        let message = wire::Acknowledgement {
            version: wire::Acknowledgement::VERSION,
            ring_id: self.ring_id.0.to_vec(),
            name: self.name.as_str().to_owned(),
            instance: self.instance.to_vec(),
            generation: self.generation,
            hash: self.hash.to_vec(),
            held: self.held.as_str().to_owned(),
            reported: reported.map(|id| id.as_str().to_owned()).unwrap_or_default(),
            shown: self.shown.map(Vec::from).unwrap_or_default(),
            format: self.format,
            time: self.time.0,
            watched: self.watched.iter().map(watched_to_wire).collect(),
            purged: self.purged.map(Vec::from).unwrap_or_default(),
            mac: Vec::new(),
        };
        authenticated::encode(message, ring_key, self.ring_id)
    }
}

/// Checks the fields and the MAC. Whoever reads it from `nodes/<name>` compares that name and the ring's with these.
pub fn decode(bytes: &[u8], ring_key: &Key32) -> Result<Acknowledgement, FormatError> {
    let (message, ring_id): (wire::Acknowledgement, RingId) = authenticated::open(bytes, ring_key)?;
    if message.generation == 0 || message.format == 0 {
        return Err(FormatError::corrupt(
            "the acknowledgement names no generation or no format",
        ));
    }
    Ok(Acknowledgement {
        ring_id,
        name: message
            .name
            .parse()
            .map_err(|why| FormatError::corrupt(format!("the acknowledgement's node: {why}")))?,
        instance: exactly("acknowledgement instance", &message.instance)?,
        generation: message.generation,
        hash: exactly("acknowledgement hash", &message.hash)?,
        held: key_id(&message.held)?,
        reported: match message.reported.as_str() {
            "" => None,
            text => Some(key_id(text)?),
        },
        shown: optional("acknowledgement nonce", &message.shown)?,
        format: message.format,
        time: UnixTime(message.time),
        watched: watched(&message.watched)?,
        purged: optional("acknowledgement digest", &message.purged)?,
    })
}

fn watched_to_wire((id, decrypts): &(KeyId, u64)) -> wire::Watched {
    wire::Watched {
        key_id: id.as_str().to_owned(),
        decrypts: *decrypts,
    }
}

fn watched(messages: &[wire::Watched]) -> Result<Vec<(KeyId, u64)>, FormatError> {
    let watched = messages.iter().map(|it| Ok((key_id(&it.key_id)?, it.decrypts)));
    let watched = watched.collect::<Result<Vec<_>, FormatError>>()?;
    if !watched.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(FormatError::corrupt(
            "the acknowledgement's retiring keys are not ascending",
        ));
    }
    Ok(watched)
}

impl Authenticated for wire::Acknowledgement {
    const NAME: &'static str = "acknowledgement";
    const LABEL: &'static str = "kekring/v1/acknowledgement";
    const VERSION: u32 = 1;

    fn version(&self) -> u32 {
        self.version
    }

    fn ring_id(&self) -> &[u8] {
        &self.ring_id
    }

    fn mac(&mut self) -> &mut Vec<u8> {
        &mut self.mac
    }
}

fn key_id(text: &str) -> Result<KeyId, FormatError> {
    text.parse()
        .map_err(|_| FormatError::corrupt("the acknowledgement has a malformed key id"))
}
