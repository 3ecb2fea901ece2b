//! The record of the last backup: which generation it holds, and so which keys it lacks.
//!
//! It lies beside the ring and is advice for people: losing it makes a backup seem to be missing, never the reverse. The
//! MAC is under a key derived from the ring key, so a record from before a root was removed no longer counts: the backup
//! that it tells of still opens with the removed root.

use super::authenticated::{self, Authenticated};
use super::generation::Hash;
use super::{FormatError, exactly};
use crate::crypto::secret::Key32;
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{KeyId, RingId};
use crate::proto::ring as wire;

/// The last backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupRecord {
    /// The ring's name.
    pub ring_id: RingId,
    /// The generation that was backed up.
    pub generation: u64,
    /// That generation's identity.
    pub hash: Hash,
    /// The newest key in it.
    pub newest: KeyId,
    /// When it was made.
    pub written: UnixTime,
}

impl BackupRecord {
    /// The record of a backup of `ring`, stored as `hash`; `None` for a ring without keys.
    pub fn of(ring: &Ring, hash: Hash, written: UnixTime) -> Option<Self> {
        Some(Self {
            ring_id: ring.id,
            generation: ring.generation,
            hash,
            newest: ring.keys.last()?.id.clone(),
            written,
        })
    }

    /// Keys of `ring` that the backup lacks, oldest first.
    pub fn lacks<'a>(&'a self, ring: &'a Ring) -> impl Iterator<Item = &'a KeyId> {
        ring.keys
            .iter()
            .map(|key| &key.id)
            .filter(|id| **id > self.newest)
    }

    /// The stored bytes.
    pub fn encode(&self, ring_key: &Key32) -> Vec<u8> {
        let message = wire::BackupRecord {
            version: wire::BackupRecord::VERSION,
            ring_id: self.ring_id.0.to_vec(),
            generation: self.generation,
            hash: self.hash.to_vec(),
            key_id: self.newest.as_str().to_owned(),
            written: self.written.0,
            mac: Vec::new(),
        };
        authenticated::encode(message, ring_key, self.ring_id)
    }
}

/// Checks the fields and the MAC.
pub fn decode(bytes: &[u8], ring_key: &Key32) -> Result<BackupRecord, FormatError> {
    let (mut message, same): (wire::BackupRecord, bool) = super::decode("backup record", bytes)?;
    authenticated::refuse_newer(&message)?;
    if !same || message.version == 0 || message.generation == 0 {
        return Err(FormatError::corrupt("backup record is not canonical"));
    }
    let ring_id = authenticated::verify(&mut message, ring_key)?;
    Ok(BackupRecord {
        ring_id,
        generation: message.generation,
        hash: exactly("backup record hash", &message.hash)?,
        newest: message
            .key_id
            .parse()
            .map_err(|_| FormatError::corrupt("the backup record has a malformed key id"))?,
        written: UnixTime(message.written),
    })
}

impl Authenticated for wire::BackupRecord {
    const NAME: &'static str = "backup record";
    const LABEL: &'static str = "kekring/v1/backup";
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
