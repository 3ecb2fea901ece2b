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
