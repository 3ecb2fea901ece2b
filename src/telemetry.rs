//! Logs, and the wall clock. Never sees a key type.

use std::fmt;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat, LogLevel};
use crate::keyring::ring::UnixTime;

/// Lines that may wait to be written; more are dropped and counted, since a full pipe must not stop the service.
const QUEUE: usize = 4096;
/// Longest text from outside that a log line shows, in characters.
const SHOWN: usize = 128;
/// Longest reason of our own that a log line shows, in characters: paths make them long.
const REASON: usize = 1024;

/// Starts the log on standard error. The log ends when the guard is dropped, and writes what is queued then.
pub fn start(log: &Log) -> WorkerGuard {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .finish(std::io::stderr());
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
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let journald = std::env::var_os("JOURNAL_STREAM").is_some();
    match log.format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
        LogFormat::Text if journald => registry.with(lines.without_time()).init(),
        LogFormat::Text => registry.with(lines).init(),
    }
    guard
}

/// The wall clock.
pub fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(since.map_or(0, |since| since.as_secs()))
}

/// A time for people and JSON: RFC 3339, UTC.
pub fn shown_time(time: UnixTime) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("unix time {}", time.0), |time| time.to_string())
}

/// Text from outside as it may stand in a log: control characters escaped, and cut.
pub struct Printable<'a> {
    text: &'a str,
    most: usize,
}

impl<'a> Printable<'a> {
    /// Text from outside.
    pub fn new(text: &'a str) -> Self {
        Self { text, most: SHOWN }
    }

    /// A reason of our own, which may quote text from outside.
    pub fn reason(text: &'a str) -> Self {
        Self { text, most: REASON }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, character) in self.text.chars().enumerate() {
            if position == self.most {
                return write!(f, "... ({} bytes)", self.text.len());
            }
            // Quotes and backslashes too: a value must not end early.
            if character.is_ascii_graphic() && !matches!(character, '"' | '\\') || character == ' ' {
                f.write_char(character)?;
            } else {
                write!(f, "{}", character.escape_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_forge_a_line() {
        let shown = Printable::new("a\nERROR fake \u{1b}[31m\u{202e} \"x\" é").to_string();

        assert!(
            shown.is_ascii() && !shown.contains(|c: char| c.is_control()),
            "{shown}"
        );
        assert!(shown.starts_with("a\\nERROR fake \\u{1b}[31m"));
    }

    #[test]
    fn long_text_is_cut() {
        let shown = Printable::new(&"x".repeat(100_000)).to_string();

        assert!(shown.len() < 200 && shown.ends_with("(100000 bytes)"));
    }

    #[test]
    fn shows_times_as_rfc_3339() {
        assert_eq!(shown_time(UnixTime(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(shown_time(UnixTime(u64::MAX)), format!("unix time {}", u64::MAX));
    }
}
