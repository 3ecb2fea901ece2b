//! A root key in a file: 32 raw bytes, readable by its owner alone.
//!
//! It trusts the file system's permissions and nothing else: on the ring's own disk it does not protect from whoever
//! reads that disk. It refuses anything that is not exactly 32 bytes: nothing is cut, padded or decoded. The bytes are used
//! as a key as they are: whoever brings a file of his own takes them from a random number generator.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use prost::Message;
use zeroize::Zeroizing;

use super::{FileStamp, RootError, RootKey};
use crate::crypto::aead::{self, OpenError};
use crate::crypto::kdf::Context;
use crate::crypto::secret::Key32;
use crate::format;
use crate::format::generation::SlotKind;
use crate::proto::ring as wire;

/// Longest secret file that is read: far above any key, recovery code or sensible passphrase.
pub(super) const MAX_FILE: u16 = 4096;

/// A root key file.
pub struct FileRoot {
    path: PathBuf,
}

impl FileRoot {
    /// The root in the file at `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn key(&self) -> Result<Key32, RootError> {
        root_key(&self.path.display().to_string(), &read_secret(&self.path)?)
    }
}

impl RootKey for FileRoot {
    fn kind(&self) -> SlotKind {
        SlotKind::File
    }

    fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn stamp(&self) -> Option<FileStamp> {
        FileStamp::of(&self.path)
    }

    fn seal(&self, key: &Key32, context: &Context) -> Result<Vec<u8>, RootError> {
        seal_under(&self.key()?, key, context)
    }

    fn open(&self, sealed: &[u8], context: &Context) -> Result<Key32, RootError> {
        let message: wire::Sealed = format::decode_canonical("root slot", sealed)?;
        open_sealed(&self.key()?, context, &message)
    }
}

/// 32 raw bytes and nothing else; `origin` is for people.
pub(super) fn root_key(origin: &str, bytes: &[u8]) -> Result<Key32, RootError> {
    Key32::from_slice(bytes).ok_or_else(|| {
        let what = match bytes {
            [] => "is empty".to_owned(),
            [.., b'\n'] if bytes.len() == 33 => {
                "is 33 bytes, the last a line feed; a root key file is 32 raw bytes".to_owned()
            }
            text if text.trim_ascii().len() == 64 => {
                "looks like hexadecimal text; a root key file is 32 raw bytes".to_owned()
            }
            text if text.trim_ascii().len() == 44 && text.trim_ascii().ends_with(b"=") => {
                "looks like base64 text; a root key file is 32 raw bytes".to_owned()
            }
            _ => format!("is {} bytes; a root key file is 32 raw bytes", bytes.len()),
        };
        RootError::Config(format!("{origin} {what}"))
    })
}

/// Seals the ring key under a key of 32 bytes.
pub(super) fn seal_under(root: &Key32, key: &Key32, context: &Context) -> Result<Vec<u8>, RootError> {
    let sealed =
        aead::seal(root, context, key.expose()).map_err(|why| RootError::Unavailable(why.to_string()))?;
    Ok(wire::Sealed::from(sealed).encode_to_vec())
}

/// Makes a root key file: new, 0600, durable, for the user and group of `owner` where that is given. An existing file is
/// never touched.
pub fn create_key_file(path: &Path, owner: Option<(u32, u32)>) -> Result<(), RootError> {
    let key = Key32::generate().map_err(|why| RootError::Unavailable(why.to_string()))?;
    write_new(path, key.expose(), owner)
}

/// Makes a new 0600 file that is whole from the moment it has its name, and durable, its name included.
pub(super) fn write_new(path: &Path, bytes: &[u8], owner: Option<(u32, u32)>) -> Result<(), RootError> {
    let failed = |why: std::io::Error| match why.kind() {
        ErrorKind::AlreadyExists => {
            RootError::Config(format!("{} exists already and is left as it is", path.display()))
        }
        ErrorKind::PermissionDenied => {
            RootError::Denied(format!("cannot create {} for its owner: {why}", path.display()))
        }
        _ => RootError::Unavailable(format!("cannot create {}: {why}", path.display())),
    };
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".kekring-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        if let Some((uid, gid)) = owner.filter(|(uid, _)| rustix::process::geteuid().as_raw() != *uid) {
            std::os::unix::fs::fchown(file.as_file(), Some(uid), Some(gid))?;
        }
        file.as_file().sync_all()?;
        if *Zeroizing::new(std::fs::read(file.path())?) != bytes {
            return Err(std::io::Error::other("it reads back other than it was written"));
        }
        file.persist_noclobber(path).map_err(|failed| failed.error)?;
        File::open(dir)?.sync_all().inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        })
    };
    write().map_err(failed)
}

/// Reads a secret file that its owner alone can read.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, RootError> {
    read_secret_of(path, 0o077)
}

/// Reads a secret file that grants none of the rights in `forbidden`.
pub(super) fn read_secret_of(path: &Path, forbidden: u32) -> Result<Zeroizing<Vec<u8>>, RootError> {
    let shown = path.display();
    let file = File::options()
        .read(true)
        // A FIFO must not hold us up.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(|why| match why.kind() {
            ErrorKind::PermissionDenied => RootError::Denied(format!("cannot read {shown}: {why}")),
            _ => RootError::Unavailable(format!("cannot read {shown}: {why}")),
        })?;
    let metadata = file
        .metadata()
        .map_err(|why| RootError::Unavailable(format!("cannot read {shown}: {why}")))?;
    if !metadata.is_file() {
        return Err(RootError::Config(format!("{shown} is not a regular file")));
    }
    if metadata.mode() & forbidden != 0 {
        return Err(RootError::Denied(format!(
            "{shown} has mode {:04o}: others than its owner can use it; `chmod 0600 {shown}`",
            metadata.mode() & 0o7777
        )));
    }
    // The length is taken from what was read: a file can grow meanwhile, and must not be cut. The room is there from
    // the start, so that the buffer does not move and leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::from(MAX_FILE) + 2));
    file.take(u64::from(MAX_FILE) + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| RootError::Unavailable(format!("cannot read {shown}: {why}")))?;
    if bytes.len() > usize::from(MAX_FILE) {
        return Err(RootError::Config(format!(
            "{shown} is longer than {MAX_FILE} bytes"
        )));
    }
    Ok(bytes)
}

/// Opens the ring key under a key of 32 bytes.
pub(super) fn open_sealed(
    key: &Key32,
    context: &Context,
    message: &wire::Sealed,
) -> Result<Key32, RootError> {
    let sealed = format::sealed("root slot", Some(message))?;
    let opened = aead::open(key, context, &sealed).map_err(|why| match why {
        OpenError::WrongKey => RootError::WrongRoot,
        OpenError::Tampered => RootError::Corrupt("the root slot does not authenticate".into()),
    })?;
    Key32::from_slice(opened.expose())
        .ok_or_else(|| RootError::Corrupt("the root slot does not hold 32 bytes".into()))
}
