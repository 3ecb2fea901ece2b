//! A backup: the bytes of one generation in a file of its own, anywhere.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::file::{file_name, publish_anywhere};
use super::{Loaded, NewGeneration, NewMark, RingStore, Stamp, StoreError, StoredCopy};
use crate::format::covered::Covered;
use crate::format::generation::{self, MAX_LEN};

/// A backup that was read.
pub struct Backup {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Backup {
    /// Reads a backup: a regular file, not longer than a generation can be. Owner and mode do not matter, it is sealed.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display();
        let failed = |why: std::io::Error| match why.kind() {
            ErrorKind::PermissionDenied => StoreError::Denied(format!("cannot read {shown}: {why}")),
            _ => StoreError::Unavailable(format!("cannot read {shown}: {why}")),
        };
        let file = File::options()
            .read(true)
            // A FIFO must not hold us up.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(path)
            .map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(StoreError::Corrupt(format!("{shown} is not a regular file")));
        }
        let limit = u64::try_from(MAX_LEN).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
        // One that is too long is refused by its format, which says so.
        let path = path.to_owned();
        Ok(Self { path, bytes })
    }

    /// Writes a new file, 0600, durable and read back. An existing file is never touched.
    pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        publish_anywhere(path, bytes)
    }

    /// The stored bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn copy(&self) -> StoredCopy {
        let stored = generation::parse(&self.bytes);
        StoredCopy {
            name: stored.map_or_else(
                |_| "backup".to_owned(),
                |stored| generation_name(stored.header.generation, &stored.hash),
            ),
            place: self.path.display().to_string(),
            own: true,
            bytes: Ok(self.bytes.clone()),
        }
    }
}

/// The name that a generation has in a file store, and a backup in a directory.
pub fn generation_name(generation: u64, hash: &[u8; 32]) -> String {
    file_name(generation, hash)
}

/// A backup as a store of one generation, which is read and never written.
pub struct Alone<'a>(pub &'a Backup);

impl RingStore for Alone<'_> {
    fn describe(&self) -> String {
        self.0.path.display().to_string()
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        Ok(Loaded {
            copies: vec![self.0.copy()],
            ..Loaded::default()
        })
    }

    fn elsewhere(&self, _: &str) -> Vec<StoredCopy> {
        Vec::new()
    }

    fn further(&self) -> Vec<StoredCopy> {
        Vec::new()
    }

    fn stamp(&self) -> Result<Stamp, StoreError> {
        Ok(Stamp::default())
    }

    fn save(&self, _: &NewGeneration<'_>, _: &Stamp) -> Result<(String, Stamp), StoreError> {
        Err(read_only())
    }

    fn settle(&self, _: &str, _: &[u8], _: &NewMark<'_>) -> Result<(), StoreError> {
        Err(read_only())
    }

    fn remove(&self, _: &[Covered], _: &[Vec<u8>]) -> Result<Vec<String>, StoreError> {
        Err(read_only())
    }

    fn set_aside(&self, _: &[String], _: bool, _: u64) -> Result<Vec<String>, StoreError> {
        Err(read_only())
    }

    fn note_backup(&self, _: &[u8]) -> Result<(), StoreError> {
        Err(read_only())
    }
}

fn read_only() -> StoreError {
    StoreError::Denied("a backup is read and never written".into())
}

/// Where a backup goes: into a directory under a name of its own, else to the path itself.
pub fn destination(path: &Path, name: &str) -> PathBuf {
    if fs::metadata(path).is_ok_and(|it| it.is_dir()) {
        return path.join(name);
    }
    path.to_owned()
}
