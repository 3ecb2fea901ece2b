//! The model: what was sealed, suspended and reported, and what may be missing because an accident took it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kekring::crypto::secret::Key32;
use kekring::keyring::KeyId;
use kekring::keyring::ring::Key;
use kekring::store::Backup;

use crate::laws::{ensure, strangers_have_no_say};
use crate::place::{Outcome, Place, scratch};
use crate::steps::Step;
use crate::strangers::Attacker;

/// When a key was last suspended or resumed, and which.
pub type Suspensions = BTreeMap<KeyId, (u64, bool)>;

/// One place where the ring is served.
pub struct Side {
    pub place: Place,
    pub suspensions: Suspensions,
    /// What its servers have reported last.
    pub reported: Option<KeyId>,
    /// The keys that it had.
    pub keys: BTreeSet<KeyId>,
    /// The keys that it decrypted with.
    pub decrypts: BTreeSet<KeyId>,
    /// The root slots that were removed from it.
    pub removed: BTreeSet<[u8; 16]>,
    /// Whether anything was ever taken from it.
    pub robbed: bool,
    /// Whether anything was taken from it just now.
    pub accident: bool,
}

pub struct Model {
    pub here: Side,
    pub elsewhere: Option<Side>,
    pub sealed: Vec<(KeyId, Vec<u8>, Vec<u8>)>,
    /// One name, one value.
    pub values: BTreeMap<KeyId, [u8; 32]>,
    pub ring_keys: Vec<Arc<Key32>>,
    pub backups: Vec<(Backup, Suspensions)>,
    pub snapshots: Vec<(PathBuf, Arc<Key32>)>,
    pub damaged: BTreeMap<PathBuf, Vec<u8>>,
    pub attackers: Vec<Attacker>,
    /// Keys that attackers made under a ring key that was replaced, and what they sealed with them.
    pub foreign: BTreeSet<KeyId>,
    pub forged: Vec<(KeyId, Vec<u8>)>,
    /// Keys that an operator took in.
    pub by_word: BTreeSet<KeyId>,
    /// The mark of another ring.
    pub another: Vec<u8>,
    pub made: usize,
    pub dir: tempfile::TempDir,
}

impl Model {
    pub fn new(mirrored: bool) -> Self {
        let dir = scratch();
        let place = Place {
            ring: dir.path().join("ring"),
            mirror: mirrored.then(|| dir.path().join("mirror")),
            roots: vec![dir.path().join("root.key")],
        };
        place.init();
        let another = another(dir.path());
        Self {
            here: Side {
                place,
                suspensions: BTreeMap::new(),
                reported: None,
                keys: BTreeSet::new(),
                decrypts: BTreeSet::new(),
                removed: BTreeSet::new(),
                robbed: false,
                accident: false,
            },
            elsewhere: None,
            sealed: Vec::new(),
            values: BTreeMap::new(),
            ring_keys: Vec::new(),
            backups: Vec::new(),
            snapshots: Vec::new(),
            damaged: BTreeMap::new(),
            attackers: Vec::new(),
            foreign: BTreeSet::new(),
            forged: Vec::new(),
            by_word: BTreeSet::new(),
            another,
            made: 0,
            dir,
        }
    }

    pub fn path(&mut self, name: &str) -> PathBuf {
        self.made += 1;
        self.dir.path().join(format!("{name}-{}", self.made))
    }

    /// Does it, and takes note. What is refused has changed nothing that the model knows of.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::AddRoot => self.add_root(),
            Step::RemoveRoot(_) if self.here.place.roots.len() < 2 => self.add_root(),
            Step::RemoveRoot(_) if !self.damaged.is_empty() => Err("something is damaged".into()),
            Step::Backup => self.back_up(),
            Step::Restore(which) => self.restore(*which),
            Step::Fork => self.fork(),
            Step::Elsewhere(step) => match self.elsewhere.as_mut() {
                Some(side) => change(side, step),
                None => self.fork(),
            },
            Step::Join => self.join(),
            Step::Snapshot => self.snapshot(),
            Step::RollBack(which) => self.roll_back(*which),
            Step::Damage { mirror, at } => self.damage(*mirror, *at),
            Step::Mend => self.mend(),
            Step::Steal => self.steal(),
            Step::Plant {
                which,
                rotations,
                target,
            } => self.plant(*which, *rotations, *target),
            Step::TakeIn(which) => self.take_in(*which),
            Step::Part { here, there } => self.part(*here, *there),
            Step::Mix { back, unmarked } => self.mix(*back, *unmarked),
            Step::Spoil { mirror, how } => self.spoil(*mirror, *how),
            other => change(&mut self.here, other),
        }
    }

    /// Both sides are served, and every law is tried.
    pub fn check(&mut self) -> Result<(), String> {
        let Self { here, elsewhere, .. } = self;
        for side in std::iter::once(here).chain(elsewhere) {
            let opened = side.place.serve()?;
            for key in opened.keys() {
                let known = |it: &Arc<Key32>| it.expose() == key.expose();
                if !self.ring_keys.iter().any(known) {
                    self.ring_keys.push(Arc::clone(key));
                }
            }
            let stored = Place::keys(&side.place.files(), &self.ring_keys);
            for (id, value) in &stored {
                let known = self.values.entry(id.clone()).or_insert(*value);
                ensure(known == value, || format!("{id} has two values"))?;
            }
            side.nothing_is_lost(&opened, stored.into_keys().collect())?;
            side.check(&opened)?;
            side.check_sealed(&opened, &self.sealed)?;
            side.check_slots(&opened)?;
            side.check_marks(&opened)?;
            strangers_have_no_say(&opened, &self.foreign, &self.by_word, &self.forged)?;
            side.accident = false;
            if let Ok((bytes, id)) = opened
                .keyring()
                .encrypt(None, b"a seed of 32 bytes, more or less")
            {
                self.sealed
                    .push((id, bytes, b"a seed of 32 bytes, more or less".to_vec()));
            }
        }
        Ok(())
    }
}

/// What changes the keys, on either side.
fn change(side: &mut Side, step: &Step) -> Result<(), String> {
    let newest = |opened: Outcome| opened.map(drop);
    match step {
        Step::Rotate => newest(side.place.rotate()),
        Step::RotateFresh => newest(side.place.rotate_fresh()),
        Step::Prepare => newest(side.place.prepare()),
        Step::Suspend(which) | Step::Resume(which) => {
            let suspended = matches!(step, Step::Suspend(_));
            let choose = |keys: &[Key]| keys[which.index(keys.len())].id.clone();
            let (opened, id) = side.place.suspend(choose, suspended)?;
            side.suspensions.insert(id, (opened.ring.generation, suspended));
            Ok(())
        }
        Step::RemoveRoot(which) => side.remove_root(*which),
        Step::Accept(which) => side.accept(*which),
        _ => newest(side.place.serve()),
    }
}

/// The mark of a ring that has nothing to do with this one.
fn another(dir: &Path) -> Vec<u8> {
    let place = Place {
        ring: dir.join("another"),
        mirror: None,
        roots: vec![dir.join("another.key")],
    };
    place.init();
    fs::read(place.ring.join("mark")).unwrap()
}
