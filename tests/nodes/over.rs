//! The end of what runs beside a scenario.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Tells threads to end, and wakes those that pause.
#[derive(Default)]
pub struct Over {
    is: Mutex<bool>,
    changed: Condvar,
}

/// Ends it when dropped: threads end also when the trial fails in the middle.
pub struct AtTheEnd<'a>(pub &'a Over);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        *self.0.is.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

impl Over {
    /// The pace of what runs beside; true when it is over.
    pub fn pause(&self, time: Duration) -> bool {
        let is = self.is.lock().unwrap_or_else(PoisonError::into_inner);
        *self.changed.wait_timeout_while(is, time, |is| !*is).unwrap().0
    }
}
