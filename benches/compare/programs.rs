//! The programs: two in Go, and kekring as it is released.

use std::path::{Path, PathBuf};
use std::process::Command;

use kekring_kit::Missing;

use crate::golang::Program;

static LOAD: Program = Program::new("compare-load", "benches/compare/load", "go.mod", "");
static REFERENCE: Program = Program::new("compare-reference", "benches/compare/reference", "go.mod", "");

/// Where they are.
#[derive(Clone, Copy)]
pub struct Programs {
    /// Runs one server and measures it.
    pub load: &'static Path,
    /// The plugin that kekring is compared with.
    pub reference: &'static Path,
}

/// Built by the first who asks.
pub fn built() -> Result<Programs, Missing> {
    Ok(Programs {
        load: LOAD.path()?,
        reference: REFERENCE.path()?,
    })
}

/// What `cargo build --release` builds. `cargo bench` itself hands us another binary: it unifies the features of
/// kekring's dependencies with those that tests and benchmarks add.
pub fn released() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("released");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--bin", "kekring"])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .arg("--target-dir")
        .arg(&target)
        .status()
        .map_err(|why| format!("cannot run cargo: {why}"))?;
    if !status.success() {
        return Err(format!("cargo could not build the released kekring: {status}"));
    }
    Ok(target.join("release/kekring"))
}
