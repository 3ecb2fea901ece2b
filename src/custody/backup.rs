//! Backups: opening one by itself, laying it over the store, putting it in, noting that it was made.

use std::sync::Arc;

use super::open::Given;
use super::{CommitError, Custody, OpenError, Opened};
use crate::crypto::secret::Key32;
use crate::format::backup::BackupRecord;
use crate::format::generation;
use crate::keyring::ring::UnixTime;
use crate::store::{Alone, Backup, NewGeneration, StoreError};

impl Custody {
    /// Opens a backup by itself, with `held` where it fits, else with the roots.
    pub fn open_backup(
        &self,
        backup: &Backup,
        held: Option<&Arc<Key32>>,
        now: UnixTime,
    ) -> Result<Opened, OpenError> {
        let held: Vec<Arc<Key32>> = held.into_iter().cloned().collect();
        let given = Given {
            held: &held,
            wanted: None,
        };
        self.open_in(&Alone(backup), given, now)
    }

    /// Puts a backup among the generations of the store, as it is. What it means there the next `open` says.
    pub fn put_backup(&self, backup: &Backup) -> Result<(), CommitError> {
        let stored = generation::parse(backup.bytes()).map_err(|why| StoreError::Corrupt(why.to_string()))?;
        let verify = |again: &[u8]| generation::parse(again).map(drop).map_err(|why| why.to_string());
        let new = NewGeneration {
            generation: stored.header.generation,
            hash: stored.hash,
            bytes: backup.bytes(),
            verify: &verify,
        };
        self.store.save(&new, &self.store.stamp()?)?;
        Ok(())
    }

    /// Notes beside the ring that its stored generation was backed up.
    pub fn note_backup(&self, opened: &Opened, now: UnixTime) -> Result<(), StoreError> {
        let record = BackupRecord::of(&opened.ring, opened.head.hash, now);
        record.map_or(Ok(()), |record| {
            self.store.note_backup(&record.encode(&opened.ring_key))
        })
    }
}

impl Opened {
    /// What the last backup lacks, in words. Throw-away rings need none.
    pub fn backup_warning(&self) -> Option<String> {
        if self.ring.development {
            return None;
        }
        let Some(backup) = &self.backup else {
            return Some("no backup of this ring is noted here; `kekring backup FILE` makes one".into());
        };
        let mut lacking = backup.lacks(&self.ring);
        let first = lacking.next()?;
        let in_use = self.ring.key(first).is_some_and(|key| key.activated.is_some());
        let use_of = if in_use { "which is in use" } else { "the next one" };
        let more = match lacking.count() {
            0 => String::new(),
            more => format!(", and {more} newer"),
        };
        Some(format!(
            "the last backup, of generation {}, lacks key {first}, {use_of}{more}; `kekring backup FILE`",
            backup.generation
        ))
    }
}
