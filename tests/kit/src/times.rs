//! How long the trials of a suite took, for its last lines.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is shorter is not shown.
const SHOWN: Duration = Duration::from_millis(100);

/// Times of parts, from the start of the suite.
pub struct Times {
    started: Instant,
    parts: Mutex<Vec<(String, Duration)>>,
}

impl Times {
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            parts: Mutex::default(),
        }
    }

    /// Notes what has lasted from `started` until now.
    pub fn took(&self, name: &str, started: Instant) -> Duration {
        let time = started.elapsed();
        self.parts.lock().unwrap().push((name.to_owned(), time));
        time
    }

    pub(crate) fn print(&self, suite: &str) {
        let parts = self.parts.lock().unwrap();
        for (name, time) in parts.iter().filter(|(_, time)| *time >= SHOWN) {
            println!("{:6.1} s  {name}", time.as_secs_f32());
        }
        println!("{:6.1} s  suite {suite}", self.started.elapsed().as_secs_f32());
    }
}
