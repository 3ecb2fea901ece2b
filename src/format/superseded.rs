//! The record that a ring key was replaced, authenticated under that very key: for a node that was away meanwhile, has no
//! root for the new one, and would report its old active key for ever.
//!
//! It lies on etcd, and then in the node's own directory. Whoever holds the replaced key can write one too, and so make such
//! a node report no key; nothing else follows from it.

use super::FormatError;
use super::authenticated::{self, Authenticated};
use crate::crypto::kdf::sha256;
use crate::crypto::secret::Key32;
use crate::keyring::RingId;
use crate::proto::ring as wire;

/// Longest record, in bytes: this version's take 65 with the largest generation.
pub const MAX_LEN: usize = 128;

/// A ring key that was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superseded {
    /// The ring's name.
    pub ring_id: RingId,
    /// The generation that replaced the ring key.
    pub generation: u64,
}

impl Superseded {
    /// The stored bytes, under the ring key that was replaced.
    pub fn encode(&self, replaced: &Key32) -> Vec<u8> {
        let message = wire::Superseded {
            version: wire::Superseded::VERSION,
            ring_id: self.ring_id.0.to_vec(),
            generation: self.generation,
            mac: Vec::new(),
        };
        authenticated::encode(message, replaced, self.ring_id)
    }
}

/// Checks the fields and the MAC: that of another ring key is *tampered* here.
pub fn decode(bytes: &[u8], ring_key: &Key32) -> Result<Superseded, FormatError> {
    let (message, ring_id): (wire::Superseded, RingId) = authenticated::open(bytes, ring_key)?;
    if message.generation == 0 {
        return Err(FormatError::corrupt("the record names no generation"));
    }
    Ok(Superseded {
        ring_id,
        generation: message.generation,
    })
}

/// The generation that a record names, unverified: it may be under another ring key than any at hand.
pub fn claimed(bytes: &[u8]) -> Option<u64> {
    let (message, same): (wire::Superseded, bool) = super::decode("record", bytes).ok()?;
    (same && message.generation > 0).then_some(message.generation)
}

/// The key of a record on etcd, below the ring's: the number that it names, and a part of its hash.
pub fn name(bytes: &[u8]) -> String {
    let hash = sha256(bytes);
    let digits = data_encoding::HEXLOWER.encode(hash.first_chunk::<8>().unwrap_or(&[0; 8]));
    format!("superseded/{}-{digits}", claimed(bytes).unwrap_or_default())
}

impl Authenticated for wire::Superseded {
    const NAME: &'static str = "record of a replaced ring key";
    const LABEL: &'static str = "kekring/v1/superseded";
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
