//! The mark: what this node has reported, so that an older copy of the ring can never make it say less.
//!
//! It lies beside the ring and in the mirror, is written after its generation is durable and before it is used, and
//! carries a MAC under a key derived from the ring key: nobody who lacks the ring key can raise or lower it.

use super::authenticated::{self, Authenticated};
use super::generation::Hash;
use super::{FormatError, exactly, optional};
use crate::crypto::secret::Key32;
use crate::keyring::ring::{Digest, Ring, UnixTime};
use crate::keyring::{KeyId, RingId};
use crate::proto::ring as wire;

/// What a node has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The ring's name.
    pub ring_id: RingId,
    /// The newest generation it has used.
    pub generation: u64,
    /// That generation's identity.
    pub hash: Hash,
    /// The highest key it has reported.
    pub reported: KeyId,
    /// Keys that were suspended, ascending.
    pub suspended: Vec<KeyId>,
    /// A digest of the keys that were destroyed; none where none were.
    pub destroyed: Option<Digest>,
    /// When it first saw `reported`.
    pub seen: UnixTime,
}

impl Mark {
    /// The mark of a node that uses `ring`, stored as `hash`; `None` for a ring without an active key.
    pub fn of(ring: &Ring, hash: Hash, seen: UnixTime) -> Option<Self> {
        let suspended = ring.keys.iter().filter(|key| key.suspended);
        Some(Self {
            ring_id: ring.id,
            generation: ring.generation,
            hash,
            reported: ring.active()?.id.clone(),
            suspended: suspended.map(|key| key.id.clone()).collect(),
            destroyed: ring.destroyed(),
            seen,
        })
    }

    /// The stored bytes.
    pub fn encode(&self, ring_key: &Key32) -> Vec<u8> {
        let message = wire::Mark {
            version: wire::Mark::VERSION,
            ring_id: self.ring_id.0.to_vec(),
            generation: self.generation,
            hash: self.hash.to_vec(),
            sequence: self.reported.sequence(),
            key_id: self.reported.as_str().to_owned(),
            suspended: names(&self.suspended),
            destroyed: self.destroyed.map(Vec::from).unwrap_or_default(),
            seen: self.seen.0,
            mac: Vec::new(),
        };
        authenticated::encode(message, ring_key, self.ring_id)
    }
}

/// Checks the fields and the MAC. A mark of another ring has another MAC key and so is *tampered* here;
/// [`of_another_ring`] tells.
pub fn decode(bytes: &[u8], ring_key: &Key32) -> Result<Mark, FormatError> {
    let (message, ring_id): (wire::Mark, RingId) = authenticated::open(bytes, ring_key)?;
    let reported: KeyId = name(&message.key_id)?;
    if reported.sequence() != message.sequence || message.generation == 0 {
        return Err(FormatError::corrupt("the mark contradicts itself"));
    }
    Ok(Mark {
        ring_id,
        generation: message.generation,
        hash: exactly("mark hash", &message.hash)?,
        reported,
        suspended: ascending(&message.suspended)?,
        destroyed: optional("mark digest", &message.destroyed)?,
        seen: UnixTime(message.seen),
    })
}

/// The other ring that a mark is of, unverified: `None` where the bytes are no mark, or one of ours. One of ours in which
/// nothing but the ring's name is damaged is no other ring's either: named rightly, it verifies.
pub fn of_another_ring(bytes: &[u8], ours: RingId, ring_key: &Key32) -> Option<RingId> {
    let (mut message, _): (wire::Mark, bool) = super::decode("mark", bytes).ok()?;
    let named = RingId(exactly("mark ring id", &message.ring_id).ok()?);
    message.ring_id = ours.0.to_vec();
    let genuine = authenticated::is_genuine(&mut message, ring_key, ours);
    (named != ours && !genuine).then_some(named)
}

/// Ring, generation and hash that a mark names, unverified: it may be under a later ring key than the one at hand.
pub fn claims(bytes: &[u8]) -> Option<(RingId, u64, Hash)> {
    let (message, _): (wire::Mark, bool) = super::decode("mark", bytes).ok()?;
    let named = RingId(exactly("mark ring id", &message.ring_id).ok()?);
    let hash = exactly("mark hash", &message.hash).ok()?;
    Some((named, message.generation, hash))
}

/// Generation and hash that a mark of this ring names, unverified.
pub fn claimed(bytes: &[u8], ours: RingId) -> Option<(u64, Hash)> {
    let (named, generation, hash) = claims(bytes)?;
    (named == ours).then_some((generation, hash))
}

impl Authenticated for wire::Mark {
    const NAME: &'static str = "mark";
    const LABEL: &'static str = "kekring/v1/mark";
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

fn names(ids: &[KeyId]) -> Vec<String> {
    ids.iter().map(|id| id.as_str().to_owned()).collect()
}

fn ascending(texts: &[String]) -> Result<Vec<KeyId>, FormatError> {
    let ids: Vec<KeyId> = texts.iter().map(|text| name(text)).collect::<Result<_, _>>()?;
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err(FormatError::corrupt(
            "the mark's suspended keys are not ascending",
        ));
    }
    Ok(ids)
}

fn name(text: &str) -> Result<KeyId, FormatError> {
    text.parse()
        .map_err(|_| FormatError::corrupt("the mark has a malformed key id"))
}
