//! A plugin's wall clock that is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{in_repository, shown};

/// Builds what is loaded into a process to change its clock.
pub fn library(dir: &Path) -> PathBuf {
    let library = dir.join("clock.so");
    let built = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(in_repository("tests/nodes/clock.c"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", shown(&built));
    library
}
