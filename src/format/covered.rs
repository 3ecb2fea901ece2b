//! The proof without which no generation is deleted.
//!
//! A generation is deleted for one reason only: the head, as it is durable, says everything that it says. Two types make
//! sure of that. A [`Durable`] is made of stored bytes and a ring key, so what is merely in memory, such as a join that is
//! not stored yet, is none. A [`Covered`] is made by [`Durable::covers`] alone, and is what every deletion takes. What
//! cannot be opened has no proof, and stays.

use super::FormatError;
use super::generation::{self, Hash};
use crate::crypto::kdf::sha256;
use crate::crypto::secret::Key32;
use crate::keyring::RingKeyId;
use crate::keyring::join;
use crate::keyring::ring::Ring;

/// A head that is durable, or becomes so in the very transaction that deletes.
pub struct Durable {
    hash: Hash,
    ring: Ring,
    key: RingKeyId,
}

/// A generation that says nothing which the durable head does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covered {
    name: String,
    hash: Hash,
    by: Hash,
}

impl Durable {
    /// What the stored bytes of a head say.
    pub fn read(bytes: &[u8], ring_key: &Key32) -> Result<Self, FormatError> {
        let stored = generation::parse(bytes)?;
        let ring = stored.open(ring_key)?.ring;
        Ok(Self {
            hash: stored.hash,
            key: RingKeyId::of(ring.id, ring_key),
            ring,
        })
    }

    /// The proof that the generation of this name and hash, which holds `ring` sealed under `key`, may go. Under the head's
    /// own ring key the head must say all that it says; under one that the head names replaced, its keys are all that can
    /// be lost with it. Under any other key there is no proof.
    pub fn covers(&self, name: &str, hash: Hash, ring: &Ring, key: RingKeyId) -> Option<Covered> {
        let covered = if key == self.key {
            ring.generation <= self.ring.generation && join::covers(&self.ring, ring)
        } else {
            self.ring.replaced.binary_search(&key).is_ok() && join::has_keys(&self.ring, ring)
        };
        (covered && hash != self.hash).then(|| Covered {
            name: name.to_owned(),
            hash,
            by: self.hash,
        })
    }
}

impl Covered {
    /// Its name in the store.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is about the generation of this hash.
    pub fn is_of(&self, hash: &Hash) -> bool {
        self.hash == *hash
    }

    /// Whether these bytes are the head that says all of it: nothing goes for the sake of one that is not there.
    pub fn is_by(&self, head: &[u8]) -> bool {
        sha256(head) == self.by
    }

    /// Whether these bytes are what the proof is about: a name says too little.
    pub fn is(&self, bytes: &[u8]) -> bool {
        sha256(bytes) == self.hash
    }
}
