//! Stores: where generations lie. A store sees opaque bytes, never a key, a root or the network side.

mod backup;
mod etcd;
mod file;

pub use backup::{Backup, WithBackup, destination, generation_name};
pub use etcd::{Change, EtcdStore, Live, Pulse, Said, Snapshot, surplus};
pub use file::{FileStore, Stray};

/// Where generations and the mark are kept. May block on I/O; never called on the serving thread.
pub trait RingStore: Send + Sync {
    /// What and where, for people.
    fn describe(&self) -> String;

    /// Everything there is, newest first; an unreadable copy comes with its reason.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// A cheap hint whether `load` would give something else. Equal stamps prove nothing; unequal ones do.
    fn stamp(&self) -> Result<Stamp, StoreError>;

    /// Makes a new generation durable and proves it: written, synced, read back, given to `verify`, and only then
    /// visible under its name. Refuses with [`StoreError::Conflict`] when the store is no longer at `base`. A failure
    /// leaves the store as it was. Afterwards removes what `prune` names, as far as it can. Returns its name and
    /// where the store is now.
    fn save(
        &self,
        new: &NewGeneration<'_>,
        base: &Stamp,
        prune: &[String],
    ) -> Result<(String, Stamp), StoreError>;

    /// Puts a generation that is already durable, and the node's mark, into every further place that is configured; then
    /// removes from them what `prune` names, as far as it can. Repeating it changes nothing. The generation may be used
    /// once this has returned.
    fn settle(
        &self,
        name: &str,
        bytes: &[u8],
        mark: &NewMark<'_>,
        prune: &[String],
    ) -> Result<(), StoreError>;

    /// Keeps the record of the last backup, in place of an earlier one. It may be lost: then a backup seems to be missing.
    fn note_backup(&self, record: &[u8]) -> Result<(), StoreError>;
}

/// How many generations a store keeps: three are needed, two more cost nothing.
pub const KEPT: usize = 5;

/// Checks bytes that were read back before they count as written.
pub type Verify<'a> = &'a dyn Fn(&[u8]) -> Result<(), String>;

/// A generation to be written.
pub struct NewGeneration<'a> {
    /// Its number, from 1.
    pub generation: u64,
    /// SHA-256 of the bytes.
    pub hash: [u8; 32],
    /// What is stored.
    pub bytes: &'a [u8],
    /// Opens what was read back and tests it.
    pub verify: Verify<'a>,
}

/// A mark to be written.
pub struct NewMark<'a> {
    /// What is stored.
    pub bytes: &'a [u8],
    /// Whether it says more than the one already there: a mark only rises, whoever else writes.
    pub supersedes: &'a dyn Fn(&[u8]) -> bool,
}

/// The content of a store.
#[derive(Default)]
pub struct Loaded {
    /// Newest first.
    pub copies: Vec<StoredCopy>,
    /// The mark of each place that has one.
    pub marks: Vec<Vec<u8>>,
    /// The record of the last backup.
    pub backup: Option<Vec<u8>>,
    /// What `save` compares.
    pub stamp: Stamp,
    /// What a person should know; nothing that stops us.
    pub warnings: Vec<String>,
}

/// One copy of one generation.
pub struct StoredCopy {
    /// Its name in the store.
    pub name: String,
    /// Where it lies, for people.
    pub place: String,
    /// What is there, or why it cannot be read.
    pub bytes: Result<Vec<u8>, StoreError>,
}

/// Which generations a store held, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(pub Vec<String>);

/// Why a store does not load or save: what an operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not there now, or an I/O error; wait or mend the disk.
    #[error("{0}")]
    Unavailable(String),
    /// There, and not for us, or open to others; mend owner and mode.
    #[error("{0}")]
    Denied(String),
    /// etcd does not answer, or not in time; wait, or mend it.
    #[error("{0}")]
    Away(String),
    /// etcd does not let us, or cannot be asked as the configuration says; mend certificate, user or role.
    #[error("{0}")]
    Barred(String),
    /// Not what a store holds: a symlink, a device, far too long.
    #[error("{0}")]
    Corrupt(String),
    /// Somebody else changed the ring in the meantime; read it again.
    #[error("the ring in {0} was changed by another process in the meantime")]
    Conflict(String),
}
