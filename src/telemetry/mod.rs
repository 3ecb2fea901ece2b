//! Logs, metrics, and the wall clock. Never sees a key type: a key comes here by its name.

mod calls;
mod gauges;
mod histogram;
mod keys;
mod log;
pub mod metrics;

use std::fmt;
use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

pub use gauges::Gauges;
pub use keys::{Decrypted, Known};
pub use log::{Running, start};
pub use metrics::Metrics;

use crate::keyring::ring::UnixTime;

/// Longest text from outside that a log line shows, in characters.
const SHOWN: usize = 128;
/// Longest reason of our own that a log line shows, in characters: paths make them long.
const REASON: usize = 1024;

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

/// The time that [`shown_time`] made a text of; `None` where it is none.
pub fn read_time(text: &str) -> Option<UnixTime> {
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_second()).ok().map(UnixTime)
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
        // Nearly every text is plain and short: one write instead of one for each character.
        if self.text.len() <= self.most && self.text.bytes().all(is_plain) {
            return f.write_str(self.text);
        }
        for (position, character) in self.text.chars().enumerate() {
            if position == self.most {
                return write!(f, "... ({} bytes)", self.text.len());
            }
            if u8::try_from(character).is_ok_and(is_plain) {
                f.write_char(character)?;
            } else {
                write!(f, "{}", character.escape_default())?;
            }
        }
        Ok(())
    }
}

/// Printable ASCII. Not quotes and backslashes: a value must not end early.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\') || byte == b' '
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
        assert_eq!(read_time("2023-11-14T22:13:20Z"), Some(UnixTime(1_700_000_000)));
        assert_eq!(read_time(""), None);
    }
}
