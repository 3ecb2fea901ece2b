//! Another program that a root asks: it gets so long, and nothing of it stays.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use zeroize::Zeroizing;

/// How often it is looked whether the program has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// The process groups of the programs that run.
static RUNNING: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Ends every program that runs, with all that it started: for a process that is about to end itself.
pub fn end_programs() {
    for group in running().iter().filter_map(|group| Pid::from_raw(*group)) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}

fn running() -> MutexGuard<'static, BTreeSet<i32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a program that has ended left.
pub(super) struct Left {
    pub(super) status: ExitStatus,
    /// Its standard output, as far as it was wanted.
    pub(super) output: Zeroizing<Vec<u8>>,
    /// Its standard error, as far as it was wanted.
    pub(super) complaint: Zeroizing<Vec<u8>>,
}

/// Runs a program with its output in pipes, and takes at most `most` bytes of each: what fits into a pipe, so that it need not
/// wait for us to read. It has a process group of its own, which is killed whole when the program has ended or `patience` is
/// over: a child that it left keeps the pipes open, so that nobody waits for their end.
pub(super) fn run(command: &mut Command, patience: Duration, most: u16) -> Result<Left, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|why| format!("cannot run {name}: {why}"))?;
    running().insert(Pid::from_child(&child).as_raw_nonzero().get());
    let ended = wait(&child, patience);
    // The one that has ended is still there for us to reap: until then its number is nobody else's.
    end_group(&child);
    let status = child.wait();
    match ended {
        Ok(true) => {}
        Ok(false) => return Err(format!("{name} did not end in {} s", patience.as_secs())),
        Err(why) => return Err(format!("cannot wait for {name}: {why}")),
    }
    let read = |why: io::Error| format!("cannot read what {name} says: {why}");
    Ok(Left {
        status: status.map_err(|why| format!("cannot wait for {name}: {why}"))?,
        output: what_is_there(child.stdout.take(), most).map_err(read)?,
        complaint: what_is_there(child.stderr.take(), most).unwrap_or_default(),
    })
}

/// Whether it ends in time; it is not reaped.
fn wait(child: &Child, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    let id = WaitId::Pid(Pid::from_child(child));
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    loop {
        if rustix::process::waitid(id.clone(), options)?.is_some() {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        pause();
    }
}

fn end_group(child: &Child) {
    let group = Pid::from_child(child);
    let mut running = running();
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
    running.remove(&group.as_raw_nonzero().get());
}

#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// What lies in a pipe, whether it has ended or not.
fn what_is_there(pipe: Option<impl Read + AsFd>, most: u16) -> io::Result<Zeroizing<Vec<u8>>> {
    // The room is there from the start, so that the buffer does not move and leave a copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::from(most) + 2));
    let Some(pipe) = pipe else {
        return Ok(bytes);
    };
    rustix::io::ioctl_fionbio(&pipe, true)?;
    match pipe.take(u64::from(most) + 1).read_to_end(&mut bytes) {
        Err(why) if why.kind() != ErrorKind::WouldBlock => Err(why),
        _ => Ok(bytes),
    }
}
