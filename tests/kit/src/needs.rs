//! What trials need of a machine. `#[needs(root)]` asks [`root()`], `#[needs("gdb")]` asks [`program()`].

use std::fs;
use std::process::Command;

use rustix::process::geteuid;

use crate::{Lacking, Missing};

/// The user that may do everything.
pub fn root() -> Result<(), Missing> {
    geteuid().is_root().or_needs("root")
}

/// The same, with what for.
pub fn root_to(what: &str) -> Result<(), Missing> {
    geteuid().is_root().or_needs(&format!("root, {what}"))
}

/// A program by its name, somewhere in `PATH`.
pub fn program(name: &str) -> Result<(), Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    found.or_needs(name)
}

/// The first of these programs that is not to be found is named.
pub fn programs(names: &[&str]) -> Result<(), Missing> {
    names.iter().try_for_each(|name| program(name))
}

/// strace, which can answer a system call in the kernel's place; a container may forbid that.
pub fn strace() -> Result<(), Missing> {
    let mut probe = Command::new("strace");
    probe
        .args(["-qq", "-o", "/dev/null", "-e", "trace=fsync", "-e"])
        .args(["inject=fsync:error=EIO", "true"]);
    goes_well(&mut probe).or_needs("strace, and the right to trace")
}

/// A mount namespace of our own, and loop devices to mount in it.
pub fn loop_devices() -> Result<(), Missing> {
    let works = goes_well(Command::new("unshare").args(["--mount", "true"]))
        && goes_well(Command::new("losetup").arg("--find"));
    works.or_needs("a mount namespace and a loop device")
}

/// A namespace of processes of our own.
pub fn process_namespace() -> Result<(), Missing> {
    let works = goes_well(Command::new("unshare").args(["--pid", "--fork", "true"]));
    works.or_needs("unshare, and the right to make a namespace of processes")
}

/// A file system in memory, mounted somewhere.
pub fn mounting() -> Result<(), Missing> {
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]);
    goes_well(&mut probe).or_needs("root, and the right to mount")
}

/// To see how many descriptors a process has open that cannot be dumped, as a server cannot: root may list them, and since
/// Linux 6.2 everybody is told their number (`proc_fd_getattr` in fs/proc/fd.c); before that the kernel says 0.
pub fn descriptor_counts() -> Result<(), Missing> {
    let told = fs::metadata("/proc/self/fd").is_ok_and(|list| list.len() > 0);
    (told || root().is_ok()).or_needs("root, or Linux 6.2, to count a server's descriptors")
}

/// Nothing: for files of this repository, and for servers that any user may start.
pub fn nothing() -> Result<(), Missing> {
    Ok(())
}

fn goes_well(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
