//! A file store with something between it and whoever uses it.

use kekring::store::{FileStore, Loaded, NewGeneration, NewMark, RingStore, Stamp, StoreError};

/// Sees a generation before the store does, and may refuse it.
pub type Save = Box<dyn Fn(&NewGeneration<'_>) -> Result<(), StoreError> + Send + Sync>;

pub struct Between {
    pub store: FileStore,
    pub load: Box<dyn Fn() + Send + Sync>,
    pub save: Save,
}

impl RingStore for Between {
    fn describe(&self) -> String {
        self.store.describe()
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        (self.load)();
        self.store.load()
    }

    fn stamp(&self) -> Result<Stamp, StoreError> {
        self.store.stamp()
    }

    fn save(
        &self,
        new: &NewGeneration<'_>,
        base: &Stamp,
        prune: &[String],
    ) -> Result<(String, Stamp), StoreError> {
        (self.save)(new)?;
        self.store.save(new, base, prune)
    }

    fn settle(
        &self,
        name: &str,
        bytes: &[u8],
        mark: &NewMark<'_>,
        prune: &[String],
    ) -> Result<(), StoreError> {
        self.store.settle(name, bytes, mark, prune)
    }

    fn note_backup(&self, record: &[u8]) -> Result<(), StoreError> {
        self.store.note_backup(record)
    }
}
