//! Histories under other ring keys: an attacker who has kept old roots and an old generation, a removal in two places, and
//! what operators decide about either.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use kekring::custody::{Opened, Restored};
use kekring::keyring::ring::Key;
use kekring::keyring::{KeyId, RingKeyId};
use kekring::store::Backup;
use proptest::sample::Index;

use crate::model::{Model, Side, Suspensions};
use crate::place::{NOW, Place, generations, text};
use crate::steps::{Spoil, Target};

/// Who has kept the roots of one day, and the newest generation of it.
pub struct Attacker {
    place: Place,
}

impl Model {
    pub fn steal(&mut self) -> Result<(), String> {
        let opened = self.here.place.open()?;
        let place = Place {
            ring: self.path("attacker"),
            mirror: None,
            roots: self.here.place.roots.clone(),
        };
        make(&place.ring);
        put(&place.ring.join(&opened.head.name), &opened.head.bytes);
        self.attackers.push(Attacker { place });
        Ok(())
    }

    /// He goes on from what he has, once its ring key was replaced, and puts all of it where the ring lies.
    pub fn plant(&mut self, which: Index, rotations: usize, target: Target) -> Result<(), String> {
        if self.attackers.is_empty() {
            self.steal()?;
            self.add_root()?;
            self.here.remove_root(which)?;
        }
        let opened = self.here.place.open()?;
        let place = &self.attackers[which.index(self.attackers.len())].place;
        let theirs = place.open()?;
        if opened.ring.replaced.binary_search(&lineage(&theirs)).is_err() {
            return Err("what he has is still the ring".into());
        }
        let dir = match (target, &self.here.place.mirror) {
            (Target::Ring, _) => &self.here.place.ring,
            (_, Some(mirror)) => mirror,
            (_, None) => return Err("there is no mirror".into()),
        };
        for _ in 0..rotations {
            place.rotate()?;
        }
        let first = |keys: &[Key]| keys[0].id.clone();
        let _ = place.suspend(first, true);
        let forged = place.serve()?;
        let new = forged.ring.keys.iter().map(|key| &key.id);
        let ours = |id: &KeyId| self.values.contains_key(id) || theirs.ring.key(id).is_some();
        let new: Vec<KeyId> = new.filter(|id| !ours(id)).cloned().collect();
        self.foreign.extend(new);
        if let Ok((bytes, id)) = forged
            .keyring()
            .encrypt(None, b"what he would like to be believed")
        {
            self.forged.push((id, bytes));
        }
        for path in generations(&place.ring) {
            let name = path.file_name().unwrap();
            if !dir.join(name).exists() {
                put(&dir.join(name), &fs::read(&path).unwrap());
            }
        }
        if target == Target::MirrorAndMark {
            put(&dir.join("mark"), &fs::read(place.ring.join("mark")).unwrap());
        }
        Ok(())
    }

    /// An operator takes in what `status` names.
    pub fn take_in(&mut self, which: Index) -> Result<(), String> {
        let opened = self.here.place.open()?;
        if opened.passed.is_empty() {
            return self.plant(which, 3, Target::Ring);
        }
        let passed = &opened.passed[which.index(opened.passed.len())];
        let backup = Backup::read(Path::new(&passed.place)).map_err(text)?;
        self.by_word.extend(passed.keys.iter().cloned());
        self.here.take(&backup, &Suspensions::new())
    }

    /// The ring is copied, and a root is removed from either.
    pub fn part(&mut self, here: Index, there: Index) -> Result<(), String> {
        if !self.damaged.is_empty() {
            return Err("one accident at a time".into());
        }
        self.add_root()?;
        self.fork()?;
        self.here.remove_root(here)?;
        self.elsewhere
            .as_mut()
            .map_or(Ok(()), |side| side.remove_root(there))
    }

    /// Roots were removed on both sides: the newest generation of one appears among those of the other, whose marks may be
    /// gone.
    pub fn mix(&mut self, back: bool, unmarked: bool) -> Result<(), String> {
        if !self.damaged.is_empty() {
            return Err("one accident at a time".into());
        }
        let Some(side) = self.elsewhere.as_mut() else {
            return self.fork();
        };
        let (from, to) = match back {
            true => (&mut self.here, side),
            false => (side, &mut self.here),
        };
        let (theirs, ours) = (from.place.open()?, to.place.open()?);
        let names = |one: &Opened, other| one.ring.replaced.binary_search(&lineage(other)).is_ok();
        if lineage(&ours) == lineage(&theirs) || names(&ours, &theirs) != names(&theirs, &ours) {
            return Err("one of them is older than the other".into());
        }
        if ours.frozen.is_some() || theirs.frozen.is_some() {
            return Err("one accident at a time".into());
        }
        let path = to.place.ring.join(&theirs.head.name);
        if !path.exists() {
            put(&path, &theirs.head.bytes);
        }
        if unmarked {
            for dir in std::iter::once(&to.place.ring).chain(&to.place.mirror) {
                let _ = fs::remove_file(dir.join("mark"));
            }
            to.forget_missing(&ours);
        }
        Ok(())
    }

    /// A mark becomes what nobody wrote, or goes.
    pub fn spoil(&mut self, mirror: bool, how: Spoil) -> Result<(), String> {
        let opened = self.here.place.open()?;
        if opened.frozen.is_some() || !self.damaged.is_empty() {
            return Err("one accident at a time".into());
        }
        let dir = match (mirror, &self.here.place.mirror) {
            (false, _) => &self.here.place.ring,
            (true, Some(mirror)) => mirror,
            (true, None) => return Err("there is no mirror".into()),
        };
        let path = dir.join("mark");
        let good = fs::read(&path).map_err(text)?;
        match how {
            Spoil::Gone => fs::remove_file(&path).unwrap(),
            Spoil::Garbage => put(&path, b"garbage"),
            Spoil::OtherRing => put(&path, &self.another),
        }
        if !mirror {
            self.here.forget_missing(&opened);
            if how != Spoil::Gone {
                self.damaged.insert(path, good);
            }
        }
        Ok(())
    }
}

impl Side {
    /// What was suspended and is not there is known to the mark alone.
    fn forget_missing(&mut self, opened: &Opened) {
        self.suspensions.retain(|id, _| opened.ring.key(id).is_some());
    }

    /// Takes a backup in, and what was known of suspensions when it was made.
    pub fn take(&mut self, backup: &Backup, known: &Suspensions) -> Result<(), String> {
        let before = self.place.open();
        let restored = self.place.restore(backup)?;
        let after = self.place.open()?.ring;
        match restored {
            Restored::Nothing => {}
            Restored::Put => learn(&mut self.suspensions, known),
            // What was here is as it was; of the rest, the backup tells.
            Restored::TakenIn => {
                let was_here = |id| before.as_ref().is_ok_and(|it| it.ring.key(id).is_some());
                for (id, (_, suspended)) in known.iter().filter(|(id, _)| !was_here(id)) {
                    let ours = self.suspensions.entry(id.clone()).or_default();
                    *ours = (after.generation, ours.1 || *suspended);
                }
            }
            // What either says is suspended.
            Restored::WentOver(_) => {
                for (id, (_, suspended)) in known {
                    self.suspensions.entry(id.clone()).or_default().1 |= *suspended;
                }
                for (when, _) in self.suspensions.values_mut() {
                    *when = after.generation;
                }
            }
        }
        Ok(())
    }

    /// What is missing is given up; between two ring keys, an operator chooses.
    pub fn accept(&mut self, which: Index) -> Result<(), String> {
        let opened = self.place.open()?;
        let Some(frozen) = opened.frozen.as_ref().filter(|it| it.is_acceptable()) else {
            return Err("there is nothing to accept".into());
        };
        let heads: Vec<&String> = frozen.heads().collect();
        let custody = self.place.custody();
        if heads.is_empty() {
            return custody.accept(&opened, NOW).map(drop).map_err(text);
        }
        let head = heads[which.index(heads.len())];
        let decided = custody.open_for(&opened, head, NOW).map_err(text)?;
        let after = custody.accept(&decided, NOW).map_err(text)?;
        // From now on the word of that history counts, and the other's does not.
        self.forget_missing(&after);
        for (id, known) in &mut self.suspensions {
            let suspended = after.ring.key(id).is_some_and(|key| key.suspended);
            *known = (after.ring.generation, suspended);
        }
        Ok(())
    }
}

/// Of two histories the later word counts; of two of one number, the suspension.
fn learn(known: &mut Suspensions, others: &Suspensions) {
    for (id, other) in others {
        let ours = known.entry(id.clone()).or_insert(*other);
        *ours = (*ours).max(*other);
    }
}

pub fn lineage(opened: &Opened) -> RingKeyId {
    RingKeyId::of(opened.ring.id, &opened.ring_key)
}

fn make(dir: &Path) {
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
}

pub fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
