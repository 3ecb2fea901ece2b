//! A ring of its own for each test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kekring::crypto::random;
use kekring::crypto::secret::Key32;
use kekring::custody::{CommitError, Custody, Opened};
use kekring::keyring::ring::UnixTime;
use kekring::keyring::{RingId, lifecycle};
use kekring::root::{PathConfig, RootConfig, RootKey, create_key_file};
use kekring::store::FileStore;
use tempfile::TempDir;

use crate::support::scratch;

pub const NOW: UnixTime = UnixTime(1_700_000_000);

pub struct Bench {
    pub scratch: TempDir,
    pub mirrored: bool,
}

impl Bench {
    /// A ring of generation 1.
    pub fn new() -> Self {
        Self::made(false)
    }

    pub fn mirrored() -> Self {
        Self::made(true)
    }

    fn made(mirrored: bool) -> Self {
        let bench = Self {
            scratch: scratch(),
            mirrored,
        };
        create_key_file(&bench.path("root.key"), None).unwrap();
        bench.store().create_directories().unwrap();
        let id = RingId(random().unwrap());
        let ring = lifecycle::create(id, key(), key(), NOW);
        bench.custody().create(ring, &[], NOW).unwrap();
        bench
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub fn store(&self) -> FileStore {
        FileStore::new(self.path("ring"), self.mirrored.then(|| self.path("mirror")))
    }

    pub fn custody(&self) -> Custody {
        self.custody_with(vec![file_root(&self.path("root.key"))])
    }

    pub fn custody_with(&self, roots: Vec<Arc<dyn RootKey>>) -> Custody {
        Custody {
            calls: Arc::default(),
            store: Box::new(self.store()),
            roots,
            machine: None,
            shared: false,
            development: false,
            expected: None,
            writer: [3; 16],
        }
    }

    pub fn open(&self) -> Opened {
        self.custody().open(None, NOW).unwrap()
    }

    /// Why it does not open.
    pub fn error(&self) -> String {
        match self.custody().open(None, NOW) {
            Ok(_) => panic!("it opens"),
            Err(why) => why.to_string(),
        }
    }

    pub fn rotate(&self) -> Opened {
        self.try_rotate(&self.open()).unwrap()
    }

    pub fn try_rotate(&self, opened: &Opened) -> Result<Opened, CommitError> {
        let next = lifecycle::activate(&opened.ring, key(), NOW)?;
        self.custody().commit(opened, next, NOW)
    }

    /// The stored generations, oldest first.
    pub fn generations(&self) -> Vec<PathBuf> {
        generations(&self.path("ring"))
    }

    pub fn newest(&self) -> PathBuf {
        self.generations().pop().unwrap()
    }
}

/// Writes a file as the product would have: for its owner alone.
pub fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub fn key() -> Key32 {
    Key32::generate().unwrap()
}

pub fn file_root(path: &Path) -> Arc<dyn RootKey> {
    RootConfig::File(PathConfig {
        path: path.to_owned(),
    })
    .build()
}

pub fn passphrase_root(path: &Path) -> Arc<dyn RootKey> {
    RootConfig::Passphrase(PathConfig {
        path: path.to_owned(),
    })
    .build()
}

pub fn generations(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "ring"));
    paths.sort_by_key(|path| number(path));
    paths
}

pub fn number(path: &Path) -> u64 {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.split('-').nth(1).unwrap().parse().unwrap()
}
