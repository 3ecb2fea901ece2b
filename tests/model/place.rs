//! A ring in a directory, and the verbs as the command line puts them together.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kekring::crypto::random;
use kekring::crypto::secret::Key32;
use kekring::custody::{Custody, Opened, Restored, Share};
use kekring::format::generation;
use kekring::keyring::ring::{Activate, Key, UnixTime};
use kekring::keyring::{KeyId, RingId, lifecycle};
use kekring::root::{PathConfig, RootConfig, RootKey, create_key_file};
use kekring::store::{Backup, FileStore};

pub const NOW: UnixTime = UnixTime(1_790_000_000);

pub type Outcome = Result<Opened, String>;

/// One directory of generations, its mirror if it has one, and the roots.
pub struct Place {
    pub ring: PathBuf,
    pub mirror: Option<PathBuf>,
    pub roots: Vec<PathBuf>,
}

pub fn text(why: impl std::fmt::Display) -> String {
    why.to_string()
}

fn key() -> Key32 {
    Key32::generate().unwrap()
}

pub fn root(path: &Path) -> Arc<dyn RootKey> {
    let path = path.to_owned();
    RootConfig::File(PathConfig { path }).build()
}

/// A directory in memory where there is such a place: nothing here is about power cuts.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder
        .prefix("kekring-")
        .permissions(fs::Permissions::from_mode(0o700));
    let place = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    builder.tempdir_in(place).unwrap()
}

impl Place {
    pub fn init(&self) {
        create_key_file(&self.roots[0], None).unwrap();
        let custody = self.custody();
        self.store().create_directories().unwrap();
        let ring = lifecycle::create(RingId(random().unwrap()), key(), key(), NOW);
        custody.create(ring, &[], NOW).unwrap();
    }

    fn store(&self) -> FileStore {
        FileStore::new(self.ring.clone(), self.mirror.clone())
    }

    pub fn custody(&self) -> Custody {
        Custody {
            calls: Arc::default(),
            store: Box::new(self.store()),
            roots: self.roots.iter().map(|path| root(path)).collect(),
            machine: None,
            shared: false,
            development: false,
            expected: None,
            writer: [1; 16],
        }
    }

    pub fn open(&self) -> Outcome {
        self.custody().open(None, NOW).map_err(text)
    }

    /// What a server does before it uses what it has read.
    pub fn serve(&self) -> Outcome {
        let (custody, opened) = (self.custody(), self.open()?);
        let mark = custody.next_mark(opened.mark.as_ref(), &opened, NOW);
        custody.settle(&opened, mark.as_ref()).map_err(text)?;
        Ok(opened)
    }

    /// As every verb begins that changes the keys.
    fn to_change(&self) -> Outcome {
        self.custody().store_join(self.open()?, NOW).map_err(text)
    }

    pub fn rotate(&self) -> Outcome {
        let opened = self.to_change()?;
        let next = lifecycle::activate(&opened.ring, key(), NOW).map_err(text)?;
        self.custody()
            .rotate(&opened, next, Share::Rotation, NOW)
            .map_err(text)
    }

    pub fn prepare(&self) -> Outcome {
        let opened = self.to_change()?;
        let id = random().unwrap();
        let next = lifecycle::propose_fresh(&opened.ring, key(), id, Activate::Manual, NOW).map_err(text)?;
        self.custody()
            .rotate(&opened, next, Share::Rotation, NOW)
            .map_err(text)
    }

    pub fn rotate_fresh(&self) -> Outcome {
        if self.to_change()?.ring.proposal.is_some() {
            self.rotate()?;
        }
        self.prepare()?;
        self.rotate()
    }

    pub fn suspend(
        &self,
        choose: impl Fn(&[Key]) -> KeyId,
        suspended: bool,
    ) -> Result<(Opened, KeyId), String> {
        let opened = self.to_change()?;
        let id = choose(&opened.ring.keys);
        let next = lifecycle::suspend(&opened.ring, &id, suspended).map_err(text)?;
        Ok((self.custody().commit(&opened, next, NOW).map_err(text)?, id))
    }

    /// `restore`: what opens by itself and says anything new is joined where it is under the same ring key, and else taken in.
    pub fn restore(&self, backup: &Backup) -> Result<Restored, String> {
        let custody = self.custody();
        let copy = custody.open_backup(backup, None, NOW).map_err(text)?;
        let here = self.open().ok();
        let restored = custody.restore(here.as_ref(), &copy, backup, NOW).map_err(text)?;
        if restored == Restored::Nothing {
            return Ok(restored);
        }
        let mut opened = self.open()?;
        if opened.frozen.is_none() {
            opened = custody.store_join(opened, NOW).map_err(text)?;
        }
        let mark = custody.next_mark(opened.mark.as_ref(), &opened, NOW);
        custody.settle(&opened, mark.as_ref()).map_err(text)?;
        Ok(restored)
    }

    /// The files of generations here and in the mirror.
    pub fn files(&self) -> Vec<PathBuf> {
        let places = std::iter::once(&self.ring).chain(&self.mirror);
        places.flat_map(|dir| generations(dir)).collect()
    }

    /// Every key in each of these copies that opens with any of `ring_keys`.
    pub fn keys(files: &[PathBuf], ring_keys: &[Arc<Key32>]) -> BTreeMap<KeyId, [u8; 32]> {
        let mut keys = BTreeMap::new();
        for path in files {
            let bytes = fs::read(path).unwrap();
            let Ok(stored) = generation::parse(&bytes) else {
                continue;
            };
            let open = ring_keys.iter().find_map(|key| stored.open(key).ok());
            for key in open.into_iter().flat_map(|it| it.ring.keys) {
                keys.insert(key.id, *key.material.expose());
            }
        }
        keys
    }
}

/// The generations in a directory, oldest first.
pub fn generations(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|it| it == "ring"))
        .collect();
    paths.sort_by_key(|path| number(path));
    paths
}

pub fn number(path: &Path) -> u64 {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.split('-').nth(1).unwrap().parse().unwrap()
}
