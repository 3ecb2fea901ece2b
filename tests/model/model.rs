//! The model: what was sealed, suspended and reported, and what may be missing because an accident took it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kekring::crypto::secret::Key32;
use kekring::custody::Opened;
use kekring::keyring::ring::{Key, KeyState};
use kekring::keyring::{DecryptError, KeyId};
use kekring::root::create_key_file;
use kekring::store::Backup;
use proptest::sample::Index;

use crate::place::{NOW, Outcome, Place, generations, root, scratch, text};
use crate::steps::Step;

/// When a key was last suspended or resumed, and which.
type Suspensions = BTreeMap<KeyId, (u64, bool)>;

/// One place where the ring is served.
struct Side {
    place: Place,
    suspensions: Suspensions,
    /// What its servers have reported last.
    reported: Option<KeyId>,
    /// The keys that it had.
    keys: BTreeSet<KeyId>,
    /// Whether anything was ever taken from it.
    robbed: bool,
}

pub struct Model {
    here: Side,
    elsewhere: Option<Side>,
    sealed: Vec<(KeyId, Vec<u8>, Vec<u8>)>,
    /// One name, one value.
    values: BTreeMap<KeyId, [u8; 32]>,
    ring_keys: Vec<Arc<Key32>>,
    backups: Vec<(Backup, Suspensions)>,
    snapshots: Vec<(PathBuf, Arc<Key32>)>,
    damaged: BTreeMap<PathBuf, Vec<u8>>,
    made: usize,
    dir: tempfile::TempDir,
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
        Self {
            here: Side {
                place,
                suspensions: BTreeMap::new(),
                reported: None,
                keys: BTreeSet::new(),
                robbed: false,
            },
            elsewhere: None,
            sealed: Vec::new(),
            values: BTreeMap::new(),
            ring_keys: Vec::new(),
            backups: Vec::new(),
            snapshots: Vec::new(),
            damaged: BTreeMap::new(),
            made: 0,
            dir,
        }
    }

    fn path(&mut self, name: &str) -> PathBuf {
        self.made += 1;
        self.dir.path().join(format!("{name}-{}", self.made))
    }

    /// Does it, and takes note. What is refused has changed nothing that the model knows of.
    pub fn take(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::AddRoot => self.add_root(),
            Step::RemoveRoot(which) => self.remove_root(*which),
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
            Step::Accept => self.here.place.accept().map(drop),
            other => change(&mut self.here, other),
        }
    }

    fn add_root(&mut self) -> Result<(), String> {
        let path = self.path("root");
        create_key_file(&path, None).unwrap();
        let place = &mut self.here.place;
        place
            .custody()
            .add_slots(&place.open()?, &[root(&path)], NOW)
            .map_err(text)?;
        place.roots.push(path);
        Ok(())
    }

    fn remove_root(&mut self, which: Index) -> Result<(), String> {
        let place = &mut self.here.place;
        let opened = place.open()?;
        if place.roots.len() < 2 || !self.damaged.is_empty() {
            return Err("it is the last root, or something is damaged".into());
        }
        let gone = which.index(place.roots.len());
        let custody = place.custody();
        let header = &opened.head.header;
        let slots = header
            .slots
            .iter()
            .filter(|slot| kekring::custody::opens(custody.roots[gone].as_ref(), header, slot).is_ok());
        let slots: Vec<_> = slots.map(|slot| slot.id).collect();
        let staying = custody.roots.iter().enumerate().filter(|(at, _)| *at != gone);
        let staying: Vec<_> = staying.map(|(_, root)| root.as_ref()).collect();
        custody
            .remove_slots(&opened, &slots, &staying, NOW)
            .map_err(text)?;
        place.roots.remove(gone);
        Ok(())
    }

    fn back_up(&mut self) -> Result<(), String> {
        let opened = self.here.place.open()?;
        if opened.joined || opened.frozen.is_some() {
            return Err("what is stored is not what is open".into());
        }
        let path = self.path("backup");
        Backup::write(&path, &opened.head.bytes).map_err(text)?;
        let known = self.here.suspensions.clone();
        self.backups.push((Backup::read(&path).map_err(text)?, known));
        Ok(())
    }

    fn restore(&mut self, which: Index) -> Result<(), String> {
        if self.backups.is_empty() {
            return self.back_up();
        }
        let (backup, known) = &self.backups[which.index(self.backups.len())];
        self.here.place.restore(backup)?;
        learn(&mut self.here.suspensions, known);
        Ok(())
    }

    fn fork(&mut self) -> Result<(), String> {
        if self.here.place.open()?.frozen.is_some() {
            return Err("a frozen ring is not copied".into());
        }
        let place = Place {
            ring: self.path("elsewhere"),
            mirror: None,
            roots: self.here.place.roots.clone(),
        };
        copy(&self.here.place.ring, &place.ring);
        self.elsewhere = Some(Side {
            place,
            suspensions: self.here.suspensions.clone(),
            reported: None,
            keys: BTreeSet::new(),
            robbed: self.here.robbed,
        });
        Ok(())
    }

    fn join(&mut self) -> Result<(), String> {
        let side = self.elsewhere.as_ref().ok_or("there is no copy")?;
        let newest = generations(&side.place.ring).pop().unwrap();
        self.here.place.restore(&Backup::read(&newest).map_err(text)?)?;
        learn(&mut self.here.suspensions, &side.suspensions);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<(), String> {
        let opened = self.here.place.open()?;
        if !self.damaged.is_empty() || opened.frozen.is_some() {
            return Err("only a sound ring is kept".into());
        }
        let path = self.path("snapshot");
        copy(&self.here.place.ring, &path);
        self.snapshots.push((path, opened.ring_key));
        Ok(())
    }

    /// With a mirror the whole directory goes back; without one its mark is the one thing that stays.
    fn roll_back(&mut self, which: Index) -> Result<(), String> {
        if self.snapshots.is_empty() {
            return self.snapshot();
        }
        if !self.damaged.is_empty() {
            return Err("one accident at a time".into());
        }
        let (snapshot, ring_key) = &self.snapshots[which.index(self.snapshots.len())];
        let ring = &self.here.place.ring;
        let opened = self.here.place.open()?;
        if opened.ring_key.expose() != ring_key.expose() {
            // Nothing that is left could verify the mark.
            return Err("its ring key was replaced since".into());
        }
        let mark = fs::read(ring.join("mark")).unwrap();
        fs::remove_dir_all(ring).unwrap();
        copy(snapshot, ring);
        if self.here.place.mirror.is_none() {
            fs::write(ring.join("mark"), mark).unwrap();
        }
        self.here.robbed = true;
        Ok(())
    }

    fn damage(&mut self, mirror: bool, at: Index) -> Result<(), String> {
        let opened = self.here.place.open()?;
        if opened.frozen.is_some() || opened.joined {
            return Err("one accident at a time".into());
        }
        let name = &opened.head.name;
        let sound: Vec<_> = self
            .here
            .place
            .files()
            .into_iter()
            .filter(|path| !path.ends_with(name))
            .collect();
        let same_key = |path: &PathBuf| {
            let stored = kekring::format::generation::parse(&fs::read(path).unwrap());
            stored.is_ok_and(|it| it.open(&opened.ring_key).is_ok())
        };
        if sound.is_empty() || !sound.iter().all(same_key) {
            return Err("nothing else would open, or nothing that could verify the mark".into());
        }
        let mirror = self.here.place.mirror.iter().filter(|_| mirror);
        for dir in std::iter::once(&self.here.place.ring).chain(mirror) {
            let path = dir.join(name);
            let Ok(whole) = fs::read(&path) else { continue };
            let mut bytes = whole.clone();
            bytes[at.index(whole.len())] ^= 4;
            fs::write(&path, bytes).unwrap();
            self.damaged.entry(path).or_insert(whole);
        }
        self.here.robbed = true;
        Ok(())
    }

    fn mend(&mut self) -> Result<(), String> {
        for (path, whole) in std::mem::take(&mut self.damaged) {
            fs::write(&path, whole).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        Ok(())
    }

    /// Both sides are served, and every law is tried.
    pub fn check(&mut self) -> Result<(), String> {
        let Self { here, elsewhere, .. } = self;
        for side in std::iter::once(here).chain(elsewhere) {
            let opened = side.place.serve()?;
            if !self
                .ring_keys
                .iter()
                .any(|it| it.expose() == opened.ring_key.expose())
            {
                self.ring_keys.push(Arc::clone(&opened.ring_key));
            }
            let stored = side.place.keys(&self.ring_keys);
            for (id, value) in &stored {
                let known = self.values.entry(id.clone()).or_insert(*value);
                ensure(known == value, || format!("{id} has two values"))?;
                ensure(opened.ring.key(id).is_some(), || {
                    format!("{id} is stored and does not open")
                })?;
            }
            side.keys_stay(&stored.into_keys().collect())?;
            side.check(&opened)?;
            side.check_sealed(&opened, &self.sealed)?;
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

impl Side {
    /// No change takes a key away: only an accident does, and what it took may come back.
    fn keys_stay(&mut self, keys: &BTreeSet<KeyId>) -> Result<(), String> {
        let lost: Vec<_> = self.keys.difference(keys).collect();
        ensure(lost.is_empty() || self.robbed, || {
            format!("lost without an accident: {lost:?}")
        })?;
        self.keys.clone_from(keys);
        Ok(())
    }

    fn check(&mut self, opened: &Opened) -> Result<(), String> {
        opened.ring.check().map_err(text)?;
        let count = |state| opened.ring.keys.iter().filter(|key| key.state == state).count();
        ensure(
            count(KeyState::Active) == 1 && count(KeyState::PreActive) == 1,
            || "not one active, one next".into(),
        )?;
        if let Ok(active) = opened.keyring().status() {
            let before = self.reported.replace(active.clone());
            ensure(
                before
                    .as_ref()
                    .is_none_or(|it| it.sequence() <= active.sequence()),
                || format!("{active} is reported after {before:?}"),
            )?;
        }
        let lost = self
            .reported
            .as_ref()
            .is_some_and(|id| opened.ring.key(id).is_none());
        ensure(!lost || opened.frozen.is_some(), || {
            "what was reported is lost, and nobody is asked".into()
        })?;
        for (id, (_, suspended)) in &self.suspensions {
            let Some(key) = opened.ring.key(id) else { continue };
            ensure(key.suspended || !suspended, || {
                format!("the suspension of {id} is lifted")
            })?;
            // An accident may take a resumption away, which is the safe side.
            ensure(key.suspended == *suspended || self.robbed, || {
                format!("{id} is suspended")
            })?;
        }
        Ok(())
    }

    fn check_sealed(&self, opened: &Opened, sealed: &[(KeyId, Vec<u8>, Vec<u8>)]) -> Result<(), String> {
        let keyring = opened.keyring();
        for (id, bytes, plain) in sealed {
            let key = opened.ring.key(id);
            match (keyring.decrypt(id.as_str(), bytes), key) {
                (Ok(opened), Some(key)) if opened.expose() == plain && !key.suspended => {}
                (Err(DecryptError::Suspended(_)), Some(key)) if key.suspended => {}
                (Err(DecryptError::UnknownKey(_)), None) => {}
                (outcome, _) => return Err(format!("what {id} sealed: {:?}", outcome.map(drop))),
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
        _ => newest(side.place.serve()),
    }
}

/// Of two histories the later word counts; of two of one number, the suspension.
fn learn(known: &mut Suspensions, others: &Suspensions) {
    for (id, other) in others {
        let ours = known.entry(id.clone()).or_insert(*other);
        *ours = (*ours).max(*other);
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
