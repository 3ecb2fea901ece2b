//! What a verb is busy with, for as long as it is: a line that moves on a terminal, JSON lines on standard error with
//! `-o json`, and nothing else. `let _shown = Progress::begin(form, "trying each root");` is all that a verb writes.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::output::Form;
use crate::telemetry::plain;

/// What is over sooner is not worth a line.
const PATIENCE: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(120);
/// A program is told again this often.
const REMINDER: Duration = Duration::from_secs(5);
const FRAMES: [&str; 4] = ["-", "\\", "|", "/"];

/// Ends, and leaves no trace on a terminal, when it is dropped.
pub(super) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    /// Shows `what` from now on.
    pub(super) fn begin(form: Form, what: impl Into<String>) -> Self {
        let show: fn(&Receiver<()>, &str) = match form {
            Form::Json => tell,
            Form::Text if io::stderr().is_terminal() => spin,
            Form::Text => return Self(None),
        };
        let (sender, receiver) = channel();
        let what = plain(&what.into()).into_owned();
        let thread = std::thread::Builder::new().spawn(move || show(&receiver, &what));
        Self(thread.ok().map(|thread| (sender, thread)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.0.take() {
            drop(sender);
            let _ = thread.join();
        }
    }
}

fn spin(end: &Receiver<()>, what: &str) {
    let (started, mut frames) = (Instant::now(), FRAMES.iter().cycle());
    let mut shown = false;
    while end.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        let passed = started.elapsed();
        if passed < PATIENCE {
            continue;
        }
        let frame = frames.next().copied().unwrap_or_default();
        let line = format!("{frame} {what} ({} s)", passed.as_secs());
        let width = super::output::width(&io::stderr()).saturating_sub(1);
        let line: String = line.chars().take(width).collect();
        put(&format!("\r{line}\x1b[K"));
        shown = true;
    }
    if shown {
        put("\r\x1b[K");
    }
}

fn tell(end: &Receiver<()>, what: &str) {
    let started = Instant::now();
    loop {
        let line = serde_json::json!({"progress": what, "seconds": started.elapsed().as_secs()});
        put(&format!("{line}\n"));
        if end.recv_timeout(REMINDER) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn put(text: &str) {
    let mut screen = io::stderr().lock();
    let _ = screen.write_all(text.as_bytes());
    let _ = screen.flush();
}
