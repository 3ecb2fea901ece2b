//! Files that say who we are to etcd: read whole, bounded, and only where they are regular files.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::error::EtcdError;

/// Longest file that is read, in bytes: a bundle of authorities is far below.
const MAX_FILE: u16 = u16::MAX;

/// Opens a regular file.
pub(super) fn open(path: &Path, flags: OFlags) -> Result<File, EtcdError> {
    let file = File::options()
        .read(true)
        // A FIFO must not hold us up.
        .custom_flags((flags | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)
        .map_err(|why| unreadable(path, &why))?;
    match file.metadata() {
        Ok(about) if about.is_file() => Ok(file),
        Ok(_) => Err(EtcdError::Denied(format!(
            "{} is not a regular file",
            path.display()
        ))),
        Err(why) => Err(unreadable(path, &why)),
    }
}

/// All of it.
pub(super) fn contents(path: &Path, file: &File) -> Result<Zeroizing<Vec<u8>>, EtcdError> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(u64::from(MAX_FILE) + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| unreadable(path, &why))?;
    if bytes.len() > usize::from(MAX_FILE) {
        return Err(EtcdError::Denied(format!(
            "{} is longer than {MAX_FILE} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// A password: one line in a file that its owner alone can use, and the owner is root or this user.
pub(super) fn password(path: &Path) -> Result<Zeroizing<String>, EtcdError> {
    let shown = path.display();
    let denied = |why: String| EtcdError::Denied(format!("cannot use the password file {shown}: {why}"));
    let file = open(path, OFlags::NOFOLLOW)?;
    let about = file.metadata().map_err(|why| unreadable(path, &why))?;
    let us = rustix::process::geteuid().as_raw();
    if about.uid() != 0 && about.uid() != us {
        return Err(denied(format!(
            "it belongs to user {}; `chown {us} {shown}`",
            about.uid()
        )));
    }
    if about.mode() & 0o077 != 0 {
        return Err(denied(format!(
            "it has mode {:04o}, others can use it; `chmod 0600 {shown}`",
            about.mode() & 0o7777
        )));
    }
    let bytes = contents(path, &file)?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match std::str::from_utf8(line) {
        Ok("") => Err(denied("it is empty".into())),
        Ok(text) if !text.contains('\n') => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(denied("it is not one line of text".into())),
    }
}

pub(super) fn unreadable(path: &Path, why: &std::io::Error) -> EtcdError {
    EtcdError::Denied(format!(
        "cannot read {}: {why}; check the path, and that this user may read it",
        path.display()
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::password;

    fn write(path: &Path, text: &str, mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_password_is_one_line_of_a_private_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");

        for (text, read) in [
            ("hunter2", "hunter2"),
            ("hunter2\n", "hunter2"),
            (" a b \r\n", " a b "),
        ] {
            write(&path, text, 0o600);
            assert_eq!(password(&path).unwrap().as_str(), read);
        }
    }

    #[test]
    fn a_password_file_that_others_can_use_or_that_is_none_is_refused_without_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let link = dir.path().join("link");
        let long = "x".repeat(70_000);
        symlink(&path, &link).unwrap();

        for (text, mode, at, why) in [
            ("hunter2", 0o640, &path, "chmod 0600"),
            ("hunter2", 0o604, &path, "chmod 0600"),
            ("hunter2", 0o600, &link, "symbolic link"),
            ("", 0o600, &path, "is empty"),
            ("\n", 0o600, &path, "is empty"),
            ("hunter2\nhunter3", 0o600, &path, "not one line"),
            (long.as_str(), 0o600, &path, "longer than 65535"),
        ] {
            write(&path, text, mode);
            let refused = password(at).unwrap_err().to_string();
            assert!(refused.contains(why) && !refused.contains("hunter"), "{refused}");
        }
        let refused = password(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("not a regular file"), "{refused}");
    }
}
