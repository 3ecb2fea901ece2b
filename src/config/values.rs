//! Values with a form of their own: file modes and durations.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A socket's mode, written in octal: read and write for the owner, and for the group or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Default for Mode {
    fn default() -> Self {
        Self(0o600)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u32::from_str_radix(&text, 8) {
            Ok(mode @ (0o600 | 0o660)) => Ok(Self(mode)),
            _ => Err(D::Error::custom(format!(
                "socket.mode is {text:?}; accepted are \"0600\" and \"0660\": others must not connect"
            ))),
        }
    }
}

/// `30d`, `720h`, `1h 30m`: what jiff reads, a day being 24 hours.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// Reads a duration, for the configuration and the command line.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 30d, 720h or 90s");
    text.parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .map_err(|_| wrong())
        .and_then(|signed| signed.try_into().map_err(|_| wrong()))
}

/// A duration for people: its two largest units, without a zero.
pub fn shown_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => two((minutes, 'm'), (seconds % 60, 's')),
        (0, _, _) => two((hours, 'h'), (minutes, 'm')),
        _ => two((days, 'd'), (hours, 'h')),
    }
}

fn two((large, unit): (u64, char), (small, below): (u64, char)) -> String {
    match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{below}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_durations_that_operators_write() {
        assert_eq!(parse("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse("720h"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "30", "-1d", "soon", "1e3d"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn shows_the_two_largest_units() {
        let shown = |seconds| shown_duration(Duration::from_secs(seconds));

        assert_eq!(shown(5), "5s");
        assert_eq!(shown(65), "1m5s");
        assert_eq!(shown(3661), "1h1m");
        assert_eq!(shown(90_061), "1d1h");
        assert_eq!(shown(30 * 86_400), "30d");
    }
}
