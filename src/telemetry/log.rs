//! The log: a bounded queue in front of standard error.

use std::borrow::Cow;
use std::io::{self, BufWriter, Stderr, Write};
use std::time::Duration;

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::text::{plain, plain_json};
use crate::config::{Log, LogFormat, LogLevel};

/// Lines that may wait to be written; more are dropped and counted, since a full pipe must not stop the service.
const QUEUE: usize = 512;
/// How long lines gather before they are written together.
const REST: Duration = Duration::from_millis(10);

/// A running log. It ends when this is dropped, and writes what is queued then.
pub struct Running {
    /// Counts the lines that were dropped.
    pub dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Starts the log on standard error.
pub fn start(log: &Log) -> Running {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .finish(Resting(BufWriter::new(io::stderr())));
    let dropped = writer.error_counter();
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Libraries below us log bytes of the wire at trace: only our own events follow the level.
    let filter = Targets::new()
        .with_default(LevelFilter::ERROR)
        .with_target("kekring", level);
    let format = log.format;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || OneLine(writer.clone(), format))
        .with_ansi(false)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let journald = std::env::var_os("JOURNAL_STREAM").is_some();
    match log.format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
        LogFormat::Text if journald => registry.with(lines.without_time()).init(),
        LogFormat::Text => registry.with(lines).init(),
    }
    Running {
        dropped,
        _writer: guard,
    }
}

/// An event is one line, whatever its message and its fields quote: nobody forges another, and no terminal obeys one.
struct OneLine(NonBlocking, LogFormat);

impl Write for OneLine {
    /// Called once for each event.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event.strip_suffix(b"\n").unwrap_or(event));
        let line = match self.1 {
            LogFormat::Text => plain(&text),
            LogFormat::Json => plain_json(&text),
        };
        match line {
            Cow::Borrowed(_) => self.0.write_all(event)?,
            Cow::Owned(line) => self.0.write_all(format!("{line}\n").as_bytes())?,
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Standard error as the log's own thread writes it: a rest after each write, in which lines gather. Each line on its own
/// would cost a request more than the sealing does: to wake this thread, and a system call.
struct Resting(BufWriter<Stderr>);

impl Write for Resting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Called when no line is left in the queue.
    #[allow(clippy::disallowed_methods)]
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        std::thread::sleep(REST);
        Ok(())
    }
}
