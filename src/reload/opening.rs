//! What is told while the ring is being opened: which roots are at work, and what the others said.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::health::Health;
use crate::custody::Calls;
use crate::keyring::Keyring;
use crate::keyring::live::Live;

/// How long an opening says nothing but that it is one; within a start's patience, so that READY names the causes.
pub(super) const SILENCE: Duration = Duration::from_millis(3500);
/// How often it is told again after that.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// A ring that is not open yet, seen from beside the thread that opens it.
pub(super) struct Opening {
    pub(super) live: Arc<Live>,
    pub(super) health: watch::Sender<Health>,
    /// The names of the roots.
    pub(super) roots: Vec<String>,
    pub(super) calls: Arc<Calls>,
    /// Whether what comes of it is known: from then on nothing is told here.
    pub(super) ended: Mutex<bool>,
}

impl Opening {
    /// It is tried.
    pub(super) fn begins(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = false;
    }

    /// What comes of it is told by who opened it.
    pub(super) fn ends(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Says in Status what the roots are doing, unless that is over.
    pub(super) fn tell(&self) {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let roots = self.calls.standing(&self.roots);
        if *ended || roots.is_empty() {
            return;
        }
        let why = format!("the ring is being opened: {}", roots.join("; "));
        self.live.swap(Keyring::absent(why.as_str()));
        self.health.send_modify(|health| {
            health.attempted = true;
            health.problems = vec![why];
        });
    }
}
