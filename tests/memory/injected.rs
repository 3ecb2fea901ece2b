//! A server to which the kernel refuses something: strace answers in its place.

use std::fs;
use std::process::{Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Killed, PATIENCE, Plugin, wait_until};

/// A running server under strace.
pub struct Injected {
    tracer: Killed,
    pid: i32,
}

/// `kekring serve` under strace with these injections, not started yet.
fn command(plugin: &Plugin, injections: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    // Only what is injected stops the server.
    strace.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null"]);
    let calls: Vec<_> = injections
        .iter()
        .map(|it| it.split(':').next().unwrap())
        .collect();
    strace.arg("-e").arg(format!("trace={}", calls.join(",")));
    for injection in injections {
        strace.arg("-e").arg(format!("inject={injection}"));
    }
    let serve = plugin.command(&["serve"]);
    strace.arg(serve.get_program()).args(serve.get_args());
    strace
}

impl Injected {
    /// Starts the server and waits until it serves.
    pub fn serve(plugin: &Plugin, injections: &[&str]) -> Self {
        let tracer = Killed(command(plugin, injections).spawn().unwrap());
        let mut pid = None;
        wait_until("the server to serve", PATIENCE, || {
            let status = fs::read(plugin.socket.with_file_name("status.json")).unwrap_or_default();
            let status: Value = serde_json::from_slice(&status).unwrap_or_default();
            pid = status["pid"].as_i64();
            pid.is_some() && plugin.verb(&["probe"]).status.success()
        });
        let pid = i32::try_from(pid.unwrap()).unwrap();
        Self { tracer, pid }
    }

    /// Runs the server to its end, which is to come soon.
    pub fn output(plugin: &Plugin, injections: &[&str]) -> Output {
        command(plugin, injections).output().unwrap()
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid).unwrap(), signal).unwrap();
    }

    /// What `kekring status` says of it.
    pub fn protections(&self, plugin: &Plugin) -> String {
        plugin.json(&["status"])["nodes"][0]["protections"].to_string()
    }

    /// The kernel's flags of the mapping at `range`.
    pub fn flags(&self, range: &str) -> String {
        let maps = fs::read_to_string(format!("/proc/{}/smaps", self.pid)).unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.starts_with(range));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
        flags.to_owned()
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // The server first: without its tracer it would go on.
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.tracer.0.wait();
    }
}
