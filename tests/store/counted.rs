//! A root that counts how often it is asked, may wait before it answers, and may refuse.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use kekring::crypto::kdf::Context;
use kekring::crypto::secret::Key32;
use kekring::format::generation::SlotKind;
use kekring::root::{FileStamp, RootError, RootKey};

pub struct Counted {
    pub root: Arc<dyn RootKey>,
    /// Whether it passes for one that derives a key: what such a root costs in earnest is shown by a running server.
    pub is_dear: bool,
    pub asked: Arc<AtomicUsize>,
    /// It answers once the other end is gone.
    pub until: Option<Mutex<Receiver<()>>>,
    /// What it says in place of its answer.
    pub refuses: Option<RootError>,
}

impl RootKey for Counted {
    fn kind(&self) -> SlotKind {
        match self.is_dear {
            true => SlotKind::Passphrase,
            false => self.root.kind(),
        }
    }

    fn describe(&self) -> String {
        self.root.describe()
    }

    fn derives(&self) -> bool {
        self.is_dear
    }

    fn stamp(&self) -> Option<FileStamp> {
        self.root.stamp()
    }

    fn seal(&self, key: &Key32, context: &Context) -> Result<Vec<u8>, RootError> {
        self.root.seal(key, context)
    }

    fn open(&self, sealed: &[u8], context: &Context) -> Result<Key32, RootError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some(until) = &self.until {
            let _ = until.lock().unwrap().recv();
        }
        match &self.refuses {
            Some(why) => Err(why.clone()),
            None => self.root.open(sealed, context),
        }
    }
}
