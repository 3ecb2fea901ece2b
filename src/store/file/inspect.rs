//! Looking into a directory of generations: what counts by its name, and what is read at all.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, open};

use super::write::{LOCK, UNFINISHED};
use super::{ASIDE, BACKUP, INSTANCE, MARK, SUPERSEDED};
use crate::format::generation::MAX_LEN;
use crate::store::{Stamp, StoreError};

/// `gen-<N>-<first 8 hexadecimal digits of the hash>.ring`.
pub(in crate::store) fn file_name(generation: u64, hash: &[u8; 32]) -> String {
    let digits = data_encoding::HEXLOWER.encode(hash.get(..4).unwrap_or_default());
    format!("gen-{generation}-{digits}.ring")
}

pub(in crate::store) fn parse_name(name: &str) -> Option<(u64, &str)> {
    let (generation, digits) = name
        .strip_prefix("gen-")?
        .strip_suffix(".ring")?
        .split_once('-')?;
    let number: u64 = generation.parse().ok()?;
    let plain = digits.len() == 8 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (plain && number > 0 && number.to_string() == generation).then_some((number, digits))
}

/// What lies among a ring's files and is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// Begun by a writer that was cut off; the next one removes it.
    Unfinished,
    /// Named nearly as a generation is: it is not read, and somebody may think that it is.
    Lookalike,
    /// Nothing of ours.
    Foreign,
}

/// What a name in a ring's directory is, unless it is one of ours.
pub(super) fn stray(name: &str) -> Option<Stray> {
    let lower = name.to_ascii_lowercase();
    let ours = [MARK, BACKUP, INSTANCE, LOCK, SUPERSEDED].contains(&name) || name.starts_with(ASIDE);
    if parse_name(name).is_some() || ours {
        None
    } else if name.starts_with(UNFINISHED) {
        Some(Stray::Unfinished)
    } else if lower.starts_with("gen-") || lower.contains(".ring") || [MARK, BACKUP].contains(&lower.as_str())
    {
        Some(Stray::Lookalike)
    } else {
        Some(Stray::Foreign)
    }
}

/// Names in a directory; of one that is no UTF-8, and so none of ours, as much as can be shown. A disk that fails as the
/// directory is closed, after all was read, is no error, and `fs::read_dir` would panic there.
pub(super) fn entries(dir: &Path) -> io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::new(open(dir, flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if !matches!(name.as_ref(), "." | "..") {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}

/// Names of generations in a directory; foreign files do not count, and a directory that is not there has none.
pub(super) fn names(dir: &Path) -> Result<Stamp, StoreError> {
    if matches!(dir.try_exists(), Ok(false)) {
        return Ok(Stamp::default());
    }
    check_directory(dir)?;
    let mut names = entries(dir).map_err(|why| unavailable("cannot read", dir, &why))?;
    names.retain(|name| parse_name(name).is_some());
    names.sort_unstable();
    Ok(Stamp(names))
}

/// Reads a regular file of ours that is ours alone, and no more of it than a generation can have.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, StoreError> {
    let shown = path.display();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|why| match (why.kind(), why.raw_os_error()) {
            (ErrorKind::PermissionDenied, _) => StoreError::Denied(format!("cannot read {shown}: {why}")),
            (_, Some(code)) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                StoreError::Corrupt(format!("{shown} is a symbolic link; a ring holds regular files"))
            }
            // What opening a socket or an absent device says.
            (_, Some(code)) if code == rustix::io::Errno::NXIO.raw_os_error() => {
                StoreError::Corrupt(format!("{shown} is not a regular file"))
            }
            _ => unavailable("cannot read", path, &why),
        })?;
    let metadata = file
        .metadata()
        .map_err(|why| unavailable("cannot read", path, &why))?;
    if !metadata.is_file() {
        return Err(StoreError::Corrupt(format!("{shown} is not a regular file")));
    }
    check_owner(path, &metadata)?;
    let limit = u64::try_from(MAX_LEN).unwrap_or(u64::MAX);
    if metadata.len() > limit {
        return Err(StoreError::Corrupt(format!(
            "{shown} has {} bytes; a generation has at most {limit}",
            metadata.len()
        )));
    }
    // One read, and one that finds the end.
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| unavailable("cannot read", path, &why))?;
    Ok(bytes)
}

pub(super) fn check_directory(dir: &Path) -> Result<(), StoreError> {
    let metadata = fs::symlink_metadata(dir).map_err(|why| match why.kind() {
        ErrorKind::PermissionDenied => StoreError::Denied(format!("cannot use {}: {why}", dir.display())),
        _ => unavailable("cannot use", dir, &why),
    })?;
    if !metadata.is_dir() {
        return Err(StoreError::Corrupt(format!(
            "{} is not a directory",
            dir.display()
        )));
    }
    check_owner(dir, &metadata)
}

/// Root may use anybody's ring, others their own; nobody else may have any access.
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
    let (shown, me) = (path.display(), rustix::process::geteuid());
    if metadata.mode() & 0o077 != 0 {
        let right = if metadata.is_dir() { "0700" } else { "0600" };
        return Err(StoreError::Denied(format!(
            "{shown} has mode {:04o}: others than its owner can use it; `chmod {right} {shown}`",
            metadata.mode() & 0o7777
        )));
    }
    if metadata.uid() != me.as_raw() && !me.is_root() {
        return Err(StoreError::Denied(format!(
            "{shown} belongs to uid {} and this is uid {}",
            metadata.uid(),
            me.as_raw()
        )));
    }
    Ok(())
}

pub(super) fn unavailable(what: &str, path: &Path, why: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{what} {}: {why}", path.display()))
}
