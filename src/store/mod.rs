//! Stores: where generations lie. A store sees opaque bytes, never a key, a root or the network side.

mod backup;
mod etcd;
mod file;

pub use backup::{Alone, Backup, destination, generation_name};
pub use etcd::{Change, Entry, EtcdStore, KEPT_ON_ETCD, Named, Pulse, Snapshot};
pub use file::{FileStore, Stray};

use crate::format::covered::Covered;

/// Where generations and the mark are kept. May block on I/O; never called on the serving thread.
pub trait RingStore: Send + Sync {
    /// What and where, for people.
    fn describe(&self) -> String;

    /// Everything that its own place holds, newest first, and the marks of all places; an unreadable copy comes with its
    /// reason.
    fn load(&self) -> Result<Loaded, StoreError>;

    /// The generation of that name in each further place. What else lies there is nobody's word: see [`RingStore::further`].
    fn elsewhere(&self, name: &str) -> Vec<StoredCopy>;

    /// What lies in every further place, the highest plausible numbers first: at most [`MOST_FILES`] files and
    /// [`MOST_BYTES`] bytes of each. For people, and to find what may be deleted; nothing else follows from it.
    fn further(&self) -> Vec<StoredCopy>;

    /// A cheap hint whether `load` would give something else. Equal stamps prove nothing; unequal ones do.
    fn stamp(&self) -> Result<Stamp, StoreError>;

    /// Makes a new generation durable and proves it: written, synced, read back, given to `verify`, and only then
    /// visible under its name. Refuses with [`StoreError::Conflict`] when the store is no longer at `base`. A failure
    /// leaves the store as it was. Returns its name and where the store is now.
    fn save(&self, new: &NewGeneration<'_>, base: &Stamp) -> Result<(String, Stamp), StoreError>;

    /// Puts a generation that is already durable, and the node's mark, into every further place that is configured, then
    /// into its own. Repeating it changes nothing. The generation may be used once this has returned.
    fn settle(&self, name: &str, bytes: &[u8], mark: &NewMark<'_>) -> Result<(), StoreError>;

    /// Deletes generations from every place, as far as it can: the very bytes that each proof is about, and nothing else.
    /// On etcd it leaves these records of replaced ring keys in the same transaction; elsewhere nobody reads them. Returns the
    /// names that are gone from where [`RingStore::stamp`] looks.
    fn remove(&self, gone: &[Covered], leaving: &[Vec<u8>]) -> Result<Vec<String>, StoreError>;

    /// Moves generations of its own place, and its mark where that is wanted, into a directory beside them that nothing
    /// reads; returns where they are now. `when` is a part of its name.
    fn set_aside(&self, names: &[String], mark: bool, when: u64) -> Result<Vec<String>, StoreError>;

    /// Keeps the record of the last backup, in place of an earlier one. It may be lost: then a backup seems to be missing.
    fn note_backup(&self, record: &[u8]) -> Result<(), StoreError>;
}

/// How many generations a store keeps: three are needed, two more cost nothing.
pub const KEPT: usize = 5;

/// Most files that are read in a place that others may write to.
pub const MOST_FILES: usize = 64;
/// Most bytes that are read there.
pub const MOST_BYTES: u64 = 16 * 1024 * 1024;

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
    /// Whether it takes the place of the one that is already there, in its own place or in a further one.
    pub supersedes: &'a dyn Fn(&StoredMark) -> bool,
}

/// The content of a store.
#[derive(Default)]
pub struct Loaded {
    /// Newest first.
    pub copies: Vec<StoredCopy>,
    /// The mark of each place that has one, its own first.
    pub marks: Vec<StoredMark>,
    /// The record of the last backup.
    pub backup: Option<Vec<u8>>,
    /// Where several nodes keep the ring: the generation that this node's own copy is at. It is no part of what is opened, and
    /// knows which ring keys were replaced.
    pub witness: Option<StoredCopy>,
    /// The record that a ring key was replaced while this node was away.
    pub superseded: Option<Vec<u8>>,
    /// What `save` compares.
    pub stamp: Stamp,
    /// What a person should know; nothing that stops us.
    pub warnings: Vec<String>,
}

/// A mark as it lies somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMark {
    /// What is there.
    pub bytes: Vec<u8>,
    /// Whether it lies in the store's own place, which nobody else writes to.
    pub own: bool,
}

/// One copy of one generation.
pub struct StoredCopy {
    /// Its name in the store.
    pub name: String,
    /// Where it lies, for people.
    pub place: String,
    /// Whether it lies in the store's own place, which nobody else writes to.
    pub own: bool,
    /// What is there, or why it cannot be read.
    pub bytes: Result<Vec<u8>, StoreError>,
}

/// Which generations a store held, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp(pub Vec<String>);

/// A path as one word of a shell, for commands that people copy.
pub fn shell_word(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@=".contains(c);
    match !path.is_empty() && path.chars().all(plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', "'\\''")),
    }
}

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
