//! A file store with something between it and whoever uses it.

use kekring::format::covered::Covered;
use kekring::store::{FileStore, Loaded, NewGeneration, NewMark, RingStore, Stamp, StoreError, StoredCopy};

/// Sees a generation before the store does, and may refuse it.
pub type Save = Box<dyn Fn(&NewGeneration<'_>) -> Result<(), StoreError> + Send + Sync>;

/// Loads from the store, and may see to what comes of it.
pub type Load = Box<dyn Fn(&FileStore) -> Result<Loaded, StoreError> + Send + Sync>;

pub struct Between {
    pub store: FileStore,
    pub load: Load,
    pub save: Save,
}

impl RingStore for Between {
    fn describe(&self) -> String {
        self.store.describe()
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        (self.load)(&self.store)
    }

    fn stamp(&self) -> Result<Stamp, StoreError> {
        self.store.stamp()
    }

    fn elsewhere(&self, name: &str) -> Vec<StoredCopy> {
        self.store.elsewhere(name)
    }

    fn further(&self) -> Vec<StoredCopy> {
        self.store.further()
    }

    fn save(&self, new: &NewGeneration<'_>, base: &Stamp) -> Result<(String, Stamp), StoreError> {
        (self.save)(new)?;
        self.store.save(new, base)
    }

    fn settle(&self, name: &str, bytes: &[u8], mark: &NewMark<'_>) -> Result<(), StoreError> {
        self.store.settle(name, bytes, mark)
    }

    fn remove(&self, gone: &[Covered], leaving: &[Vec<u8>]) -> Result<Vec<String>, StoreError> {
        self.store.remove(gone, leaving)
    }

    fn set_aside(&self, names: &[String], mark: bool, when: u64) -> Result<Vec<String>, StoreError> {
        self.store.set_aside(names, mark, when)
    }

    fn note_backup(&self, record: &[u8]) -> Result<(), StoreError> {
        self.store.note_backup(record)
    }
}
