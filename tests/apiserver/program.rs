//! The Go program that is etcd and kube-apiserver.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use kekring_kit::Missing;

use crate::golang::Program;

static PROGRAM: Program = Program::new("controlplane", "tests/apiserver/controlplane", "go.mod", "");

/// The program, built by the first trial that asks.
pub fn program() -> Result<&'static Path, Missing> {
    PROGRAM.path()
}

/// The program is etcd or kube-apiserver by the name that it is called by.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(program().unwrap());
    command.arg0(name);
    command
}
