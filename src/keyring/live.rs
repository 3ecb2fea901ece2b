//! The current keyring and its swap: the only shared mutable state of the data path.

use std::sync::{Arc, PoisonError, RwLock};

use super::Keyring;

/// A cell that holds one keyring. Readers take a snapshot and keep it; a swap disturbs nobody.
pub struct Live(RwLock<Arc<Keyring>>);

impl Live {
    /// Starts with `keyring`.
    pub fn new(keyring: Keyring) -> Self {
        Self(RwLock::new(Arc::new(keyring)))
    }

    /// The keyring of this moment. The lock is held for one reference count.
    pub fn load(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another keyring in its place.
    pub fn swap(&self, keyring: Keyring) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::NotServing;

    #[test]
    fn a_swap_is_seen_by_later_readers_and_not_by_those_that_hold_a_snapshot() {
        let reason = |keyring: &Keyring| keyring.status().unwrap_err().to_string();
        let said = |text: &str| NotServing::NoActiveKey(text.into()).to_string();
        let live = Live::new(Keyring::absent("first"));
        let snapshot = live.load();

        live.swap(Keyring::absent("second"));

        assert_eq!(reason(&live.load()), said("second"));
        assert_eq!(reason(&snapshot), said("first"));
    }
}
