//! The record of the last backup: which generation it holds, and so which keys it lacks.
//!
//! It lies beside the ring and is advice for people: losing it makes a backup seem to be missing, never the reverse. The
//! MAC is under a key derived from the ring key, so a record from before a root was removed no longer counts: the backup
//! that it tells of still opens with the removed root.

use prost::Message;

use super::generation::Hash;
use super::{FormatError, exactly};
use crate::crypto::kdf::{self, Context};
use crate::crypto::secret::Key32;
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{KeyId, RingId};
use crate::proto::ring as wire;

const LABEL: &str = "kekring/v1/backup";
const VERSION: u32 = 1;

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
        let mut message = wire::BackupRecord {
            version: VERSION,
            ring_id: self.ring_id.0.to_vec(),
            generation: self.generation,
            hash: self.hash.to_vec(),
            key_id: self.newest.as_str().to_owned(),
            written: self.written.0,
            mac: Vec::new(),
        };
        message.mac = kdf::mac(&mac_key(ring_key, self.ring_id), &message.encode_to_vec()).to_vec();
        message.encode_to_vec()
    }
}

/// Checks the fields and the MAC.
pub fn decode(bytes: &[u8], ring_key: &Key32) -> Result<BackupRecord, FormatError> {
    let (mut message, same): (wire::BackupRecord, bool) = super::decode("backup record", bytes)?;
    if message.version > VERSION {
        return Err(FormatError::Newer {
            version: message.version,
            min_reader: message.version,
        });
    }
    if !same || message.version == 0 || message.generation == 0 {
        return Err(FormatError::corrupt("backup record is not canonical"));
    }
    let ring_id = RingId(exactly("backup record ring id", &message.ring_id)?);
    let mac = std::mem::take(&mut message.mac);
    if !kdf::verify_mac(&mac_key(ring_key, ring_id), &message.encode_to_vec(), &mac) {
        return Err(FormatError::Tampered(
            "the backup record's MAC does not match".into(),
        ));
    }
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

fn mac_key(ring_key: &Key32, ring: RingId) -> Key32 {
    kdf::derive_key(ring_key, &ring.0, &Context::new(LABEL))
}
