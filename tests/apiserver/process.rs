//! A child process that ends with its owner. Its output goes to a file, whose end is shown when a trial fails.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{SOON, wait_for};

/// How many lines of a log are shown.
const TAIL: usize = 30;

/// A running child.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; standard output and error are appended to `log`.
    pub fn start(name: &'static str, command: &mut Command, log: PathBuf) -> Self {
        Self::start_with(name, command, log, Stdio::null())
    }

    /// The same, with something at standard input.
    pub fn start_with(name: &'static str, command: &mut Command, log: PathBuf, input: Stdio) -> Self {
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = command
            .stdin(input)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|why| panic!("cannot start {name}: {why}"));
        Self { name, child, log }
    }

    /// Fails the trial when the process has ended by itself.
    pub fn must_run(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "{} has ended by itself: {ended:?}", self.name);
    }

    #[allow(dead_code)] // one suite needs it
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{} was no longer running", self.name);
    }

    /// Its number.
    #[allow(dead_code)] // one suite needs it
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Still there, and does nothing any more.
    #[allow(dead_code)] // not every suite needs it
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.id());
        wait_for("a process to stop", SOON, || {
            // The state follows the name.
            fs::read_to_string(&stat).unwrap().contains(") T ").then_some(())
        });
    }

    #[allow(dead_code)] // not every suite needs it
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.child.wait().unwrap()
    }

    fn print_tail(&self) {
        let text = String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(TAIL)..];
        eprintln!("\n--- the last {} lines of {} ---", shown.len(), self.name);
        for line in shown {
            eprintln!("{}", line.get(..400).unwrap_or(line));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Neither can fail usefully: the child has ended, or nothing more can be done here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            self.print_tail();
        }
    }
}
