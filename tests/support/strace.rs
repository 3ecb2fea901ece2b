//! strace: system calls that answer otherwise than the kernel would.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use kekring_kit::{Lacking, Missing};
use rustix::process::{Pid, Signal, kill_process};

use super::{Killed, PATIENCE, Plugin, wait_until};

/// strace at every thread of a running server; it lets go when dropped.
pub(crate) struct Attached(Killed);

impl Attached {
    pub(crate) fn to(plugin: &Plugin, log: &Path, args: &[&str]) -> Result<Self, Missing> {
        let pid = plugin.pid().as_raw_nonzero().to_string();
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-o"])
            .arg(log)
            .args(["-p", &pid])
            .args(args);
        let strace = strace.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let strace = strace.ok().or_needs("strace")?;
        let mut strace = Killed(strace);
        let mut ended = false;
        wait_until("strace at every thread", PATIENCE, || {
            ended = strace.0.try_wait().unwrap().is_some();
            ended || is_traced(&pid)
        });
        (!ended).or_needs("strace, and the right to trace a server, which only root has")?;
        Ok(Self(strace))
    }
}

fn is_traced(pid: &str) -> bool {
    let mut tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks.all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Killed outright it would leave what it traces stopped.
        let _ = kill_process(Pid::from_child(&self.0.0), Signal::INT);
        let _ = self.0.0.wait();
    }
}
