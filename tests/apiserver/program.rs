//! The Go program that is etcd and kube-apiserver.

use std::path::Path;

use crate::golang::Program;
use crate::missing::Missing;

static PROGRAM: Program = Program::new("controlplane", "tests/apiserver/controlplane", "go.mod", "");

/// The program, built by the first trial that asks.
pub fn program() -> Result<&'static Path, Missing> {
    PROGRAM.path()
}
