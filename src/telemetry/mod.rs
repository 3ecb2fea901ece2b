//! Logs, metrics, text that others wrote, and the wall clock. Never sees a key type: a key comes here by its name.

mod calls;
mod gauges;
mod histogram;
mod keys;
mod log;
pub mod metrics;
mod text;

use std::time::{SystemTime, UNIX_EPOCH};

pub use gauges::Gauges;
pub use keys::{Decrypted, Known};
pub use log::{Running, start};
pub use metrics::Metrics;
pub use text::{Printable, plain, plain_and_short, plain_json};

use crate::keyring::ring::UnixTime;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_times_as_rfc_3339() {
        assert_eq!(shown_time(UnixTime(1_700_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(shown_time(UnixTime(u64::MAX)), format!("unix time {}", u64::MAX));
        assert_eq!(read_time("2023-11-14T22:13:20Z"), Some(UnixTime(1_700_000_000)));
        assert_eq!(read_time(""), None);
    }
}
