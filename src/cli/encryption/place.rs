//! The file that `--out` names: replaced in one step, for its owner alone, and never at the other end of a link.
//!
//! What goes wrong on the way, a crash included, leaves the file that was there.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;

/// Keys of other providers may stand in it.
const MODE: u32 = 0o600;

/// Writes it, and says what should be known of it.
pub(super) fn put(path: &Path, text: &str) -> Result<Vec<String>, Failure> {
    let before = in_place(path)?;
    written(path, text, before.as_ref()).map_err(|why| {
        Failure::failed(
            format!("cannot write {}: {why}", path.display()),
            "check that its directory exists and has space: `mkdir -p -m 0700` makes one; a file that was there is as it was",
        )
    })?;
    let mut notes = vec![format!(
        "wrote {}, which its owner alone can read",
        path.display()
    )];
    if let Some(mode) = before
        .map(|it| it.mode() & 0o7777)
        .filter(|mode| mode & 0o077 != 0)
    {
        notes.push(format!("its mode was {mode:04o}, and is {MODE:04o}"));
    }
    Ok(notes)
}

/// What is there now, which must be a file.
fn in_place(path: &Path) -> Result<Option<Metadata>, Failure> {
    let refused = |what: &str| {
        Err(Failure::refused(
            format!("cannot write {}: {what}", path.display()),
            "name the file itself; without --out it is printed",
        ))
    };
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => refused("it is a symbolic link"),
        Ok(found) if !found.is_file() => refused("something that is no file is there"),
        Ok(found) => Ok(Some(found)),
        // What else is wrong shows when it is written.
        Err(_) => Ok(None),
    }
}

fn written(path: &Path, text: &str, before: Option<&Metadata>) -> io::Result<()> {
    let dir = directory(path)?;
    let mut file = tempfile::Builder::new()
        .prefix(".kekring-")
        .permissions(fs::Permissions::from_mode(MODE))
        .tempfile_in(&dir)?;
    if let Some(before) = before {
        fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
    }
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|failed| failed.error)?;
    File::open(dir)?.sync_all()
}

fn directory(path: &Path) -> io::Result<PathBuf> {
    if path.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "this names no file"));
    }
    match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Ok(PathBuf::from(".")),
        Some(dir) => Ok(dir.to_owned()),
        None => Err(io::Error::new(ErrorKind::InvalidInput, "this names no file")),
    }
}
