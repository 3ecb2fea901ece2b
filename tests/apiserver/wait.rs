//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// Generous for everything that should happen at once.
pub const SOON: Duration = Duration::from_secs(60);

/// Tries until there is a result; fails the trial, naming what was awaited, when `limit` has passed.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        #[allow(clippy::disallowed_methods)]
        std::thread::sleep(PAUSE);
    }
}
