//! A directory in which not even root can write.

use std::path::{Path, PathBuf};
use std::process::Command;

use kekring_kit::{Lacking, Missing};

/// The directory, until this is dropped.
pub(crate) struct Immutable(PathBuf);

impl Immutable {
    pub(crate) fn new(dir: &Path) -> Result<Self, Missing> {
        chattr("+i", dir).or_needs("root, chattr and a file system with +i")?;
        Ok(Self(dir.to_owned()))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let lifted = chattr("-i", &self.0);
        assert!(
            lifted || std::thread::panicking(),
            "{} stays immutable",
            self.0.display()
        );
    }
}

fn chattr(flag: &str, dir: &Path) -> bool {
    let status = Command::new("chattr").arg(flag).arg(dir).output();
    status.is_ok_and(|output| output.status.success())
}
