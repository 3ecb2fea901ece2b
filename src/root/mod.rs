//! Roots: whatever can keep 32 bytes. A root sees the ring key and a context, never a KEK, a store or the network side.

mod credential;
mod file;
mod passphrase;
mod program;

pub use credential::CredentialRoot;
pub use file::{FileRoot, create_key_file};
pub use passphrase::{PassphraseRoot, RecoveryCode};
pub use program::end_programs;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::crypto::kdf::Context;
use crate::crypto::secret::Key32;
use crate::format::FormatError;
use crate::format::generation::{MAX_SLOTS, SlotKind};

/// Most entries of `ring.roots`: each takes a slot when a ring is made, and the recovery code takes one more.
pub const MAX_ROOTS: usize = MAX_SLOTS - 1;

/// Something that seals the ring key and opens what it sealed. May block: a key derivation takes a good part of a
/// second and a remote root its network; never called on the serving thread.
pub trait RootKey: Send + Sync {
    /// Which slots it can read.
    fn kind(&self) -> SlotKind;

    /// What it is and where, for people: `file /etc/kekring/root.key`. No secret.
    fn describe(&self) -> String;

    /// Whether opening a slot derives a key, at the price of a good part of a second and much memory. Nobody has
    /// authenticated a slot before it opens: such a root is asked last, and not for ever so many slots.
    fn derives(&self) -> bool {
        false
    }

    /// What the secret is read from, as it lies there: whether it was replaced, or its rights changed. `None` where it is not
    /// read from a file, or that file is away.
    fn stamp(&self) -> Option<FileStamp> {
        None
    }

    /// Seals the ring key. The result is stored as it is.
    fn seal(&self, key: &Key32, context: &Context) -> Result<Vec<u8>, RootError>;

    /// Opens what a root with the same secret sealed for the same context.
    fn open(&self, sealed: &[u8], context: &Context) -> Result<Key32, RootError>;
}

/// A file as it lies there: another one, another length, content or rights, and this is another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds. Not the time of modification: that can be set back, and rights do not touch it.
    changed: (i64, i64),
}

impl FileStamp {
    /// Of the file at `path`; `None` where it cannot be looked at.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Why a root does not seal or open: what an operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not there now; wait or bring it back.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// There, and not for us; mend the rights.
    #[error("denied: {0}")]
    Denied(String),
    /// A TPM does not open it: the machine did not start as it had when the secret was sealed.
    #[error("denied: {0}")]
    DeniedByTpm(String),
    /// It opens, but not this: another root sealed it.
    #[error("wrong root: this root did not seal the ring key")]
    WrongRoot,
    /// The sealed bytes are damaged.
    #[error("corrupt: {0}")]
    Corrupt(String),
    /// It is not what a root of this kind should be.
    #[error("not usable: {0}")]
    Config(String),
    /// It was not asked, since as many key derivations were done as one opening may do.
    #[error("not tried: {0} key derivations were done")]
    NotTried(usize),
}

impl From<FormatError> for RootError {
    fn from(why: FormatError) -> Self {
        match why {
            FormatError::Corrupt(what) => Self::Corrupt(what),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// One entry of `ring.roots`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum RootConfig {
    /// 32 bytes in a file.
    File(PathConfig),
    /// A passphrase or a recovery code in a file.
    Passphrase(PathConfig),
    /// 32 bytes in a systemd credential.
    Credential(CredentialConfig),
}

/// Where a root's secret lies.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PathConfig {
    /// Absolute path of the file.
    pub path: PathBuf,
}

/// Which credential.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CredentialConfig {
    /// Its name, as in the unit's `LoadCredentialEncrypted=NAME:…`.
    pub name: String,
    /// Absolute path of the encrypted file, for verbs outside the unit; none when empty.
    #[serde(default)]
    pub encrypted_file: PathBuf,
}

impl CredentialConfig {
    /// Its path in the unit that this process runs in; `None` outside one, and where the unit does not have it.
    pub fn in_unit(&self) -> Option<PathBuf> {
        self.in_directory(&credential::directory()?)
    }

    /// Its path in `directory`, unless it is not there.
    fn in_directory(&self, directory: &Path) -> Option<PathBuf> {
        let path = directory.join(&self.name);
        (!matches!(path.try_exists(), Ok(false))).then_some(path)
    }

    /// Whether systemd would take the name: a file name of letters, digits and a few signs.
    pub fn has_plain_name(&self) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let length = (1..=255).contains(&self.name.len());
        length && self.name.chars().all(plain) && self.name != "." && self.name != ".."
    }
}

impl RootConfig {
    /// The root that this entry describes. Nothing is read yet.
    pub fn build(&self) -> Arc<dyn RootKey> {
        match self {
            Self::File(config) => Arc::new(FileRoot::new(config.path.clone())),
            Self::Passphrase(config) => Arc::new(PassphraseRoot::from_file(config.path.clone())),
            Self::Credential(config) => Arc::new(CredentialRoot::new(config.clone())),
        }
    }
}

/// The kind of a slot as `ring.roots` names it; one that this version does not know by its number.
pub fn kind_name(kind: i32) -> String {
    match SlotKind::try_from(kind) {
        Ok(SlotKind::File) => "file".to_owned(),
        Ok(SlotKind::Passphrase) => "passphrase".to_owned(),
        Ok(SlotKind::Credential) => "credential".to_owned(),
        Ok(SlotKind::Helper) => "helper".to_owned(),
        Ok(SlotKind::Recipient) => "recipient".to_owned(),
        Ok(SlotKind::Unspecified) | Err(_) => format!("kind {kind}"),
    }
}
