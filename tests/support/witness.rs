//! What a ring must never lose: a seed sealed under each key that ever was active, and where the ring stood.
//!
//! Included by `#[path = "../support/witness.rs"] mod witness;`, in suites that break the disk below a ring.
#![allow(dead_code, clippy::unwrap_used)]

#[path = "lot.rs"]
mod lot;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kekring::custody::{Custody, OpenError, Opened};
use kekring::format::generation;
use kekring::format::wrapped_seed;
use kekring::keyring::KeyId;
use kekring::keyring::ring::UnixTime;
use kekring::root::{PathConfig, RootConfig};
use kekring::store::FileStore;

#[allow(unused_imports)] // another suite asks for both
pub(crate) use lot::{Lot, in_full};

const SEED: &[u8] = b"a seed of thirty-two bytes, sealed";

/// Where a ring lies, and what opens it.
pub(crate) struct Site {
    pub(crate) ring: PathBuf,
    pub(crate) mirror: Option<PathBuf>,
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) machine: PathBuf,
    pub(crate) development: bool,
}

impl Site {
    /// `ring/`, `mirror/` where there is one, and root files in one directory.
    pub(crate) fn within(dir: &Path) -> Self {
        let mirror = dir.join("mirror");
        Self {
            ring: dir.join("ring"),
            mirror: mirror.exists().then_some(mirror),
            roots: vec![dir.join("root.key"), dir.join("second.key")],
            machine: PathBuf::from("/etc/machine-id"),
            development: false,
        }
    }

    pub(crate) fn custody(&self) -> Custody {
        let root = |path: &PathBuf| RootConfig::File(PathConfig { path: path.clone() }).build();
        Custody {
            calls: Default::default(),
            store: Box::new(FileStore::new(self.ring.clone(), self.mirror.clone())),
            roots: self.roots.iter().map(root).collect(),
            machine: std::fs::read_to_string(&self.machine).ok(),
            shared: false,
            development: self.development,
            expected: None,
            writer: [7; 16],
        }
    }

    pub(crate) fn open(&self) -> Result<Opened, OpenError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        self.custody().open(None, UnixTime(now.as_secs()))
    }

    /// Files that are called a generation and are none: half-written, or under a name that is not theirs.
    pub(crate) fn false_generations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for dir in std::iter::once(&self.ring).chain(&self.mirror) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let Some(stem) = name.strip_suffix(".ring") else {
                    continue;
                };
                let parsed = generation::parse(&std::fs::read(entry.path()).unwrap_or_default());
                let sound = parsed.is_ok_and(|stored| {
                    let number = format!("gen-{}-", stored.header.generation);
                    stem.starts_with(&number)
                });
                if !sound {
                    found.push(entry.path().display().to_string());
                }
            }
        }
        found
    }
}

/// A ring as it was at one moment.
pub(crate) struct Witness {
    keys: BTreeSet<KeyId>,
    seeds: Vec<(KeyId, Vec<u8>)>,
    active: KeyId,
    marked: u64,
    generation: u64,
    undisturbed: bool,
}

impl Witness {
    pub(crate) fn of(opened: &Opened) -> Self {
        let ring = &opened.ring;
        let active = ring.active().unwrap().id.clone();
        let used = ring
            .keys
            .iter()
            .filter(|key| key.id.sequence() <= active.sequence());
        let seal = |key: &kekring::keyring::ring::Key| {
            let sealed = wrapped_seed::wrap(ring.id, &key.id, &key.material, SEED).unwrap();
            (key.id.clone(), sealed)
        };
        Self {
            keys: ring.keys.iter().map(|key| key.id.clone()).collect(),
            seeds: used.map(seal).collect(),
            active,
            marked: opened.mark.as_ref().map_or(0, |mark| mark.generation),
            generation: ring.generation,
            undisturbed: opened.frozen.is_none() && opened.refusing.is_none(),
        }
    }

    /// Says what is gone or went back in a ring that was opened later.
    pub(crate) fn check(&self, later: &Opened) -> Result<(), String> {
        let ring = &later.ring;
        ring.check().map_err(|rule| format!("a rule is broken: {rule}"))?;
        if let Some(lost) = self.keys.iter().find(|id| ring.key(id).is_none()) {
            return Err(format!("key {lost} is lost"));
        }
        for (id, sealed) in &self.seeds {
            let key = ring.key(id).ok_or("a key is lost")?;
            let seed = wrapped_seed::unwrap(ring.id, id, &key.material, sealed)
                .map_err(|why| format!("what {id} sealed does not open: {why}"))?;
            if seed.expose() != SEED {
                return Err(format!("what {id} sealed opens to something else"));
            }
        }
        let active = &ring.active().ok_or("no key is active")?.id;
        if active.sequence() < self.active.sequence() {
            return Err(format!(
                "the active key went back from {} to {active}",
                self.active
            ));
        }
        if active.sequence() == self.active.sequence() && *active != self.active {
            return Err(format!("{} was replaced by {active} in its place", self.active));
        }
        let marked = later.mark.as_ref().map_or(0, |mark| mark.generation);
        if marked < self.marked {
            return Err(format!("the mark went back from {} to {marked}", self.marked));
        }
        if ring.generation < self.generation {
            return Err(format!("generation {} is lost", self.generation));
        }
        match (&later.frozen, &later.refusing) {
            (None, None) => Ok(()),
            _ if !self.undisturbed => Ok(()),
            (Some(why), _) => Err(format!("the ring is frozen: {why}")),
            (_, Some(why)) => Err(format!("the ring does not serve: {why}")),
        }
    }

    /// The same where a new ring key makes every mark anew.
    pub(crate) fn without_mark(self) -> Self {
        Self { marked: 0, ..self }
    }

    pub(crate) fn active(&self) -> &KeyId {
        &self.active
    }
}
