//! Where an engine of our own keeps what.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The same for every run of this repository, so that a later one finds what is left.
pub struct Place {
    /// Short, since there are sockets in it.
    pub run: PathBuf,
    pub data: PathBuf,
    /// Below every control group that it makes.
    pub group: String,
}

impl Place {
    pub fn ours() -> Self {
        let target = env!("CARGO_TARGET_TMPDIR");
        let name = HEXLOWER.encode(&Sha256::digest(target)[..4]);
        Self {
            run: format!("/run/kekring-kind-{name}").into(),
            data: Path::new(target).join("kind-engine"),
            group: format!("kekring-kind-{name}"),
        }
    }

    /// Removes what is there.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(&self.run);
        let _ = fs::remove_dir_all(&self.data);
        remove_group(&Path::new("/sys/fs/cgroup").join(&self.group));
        // Where there are several hierarchies.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_group(&hierarchy.path().join(&self.group));
        }
    }
}

fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
