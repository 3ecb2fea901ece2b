//! What happens to a ring's files and roots: backups, copies, accidents.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kekring::custody::opens;
use kekring::format::generation;
use kekring::root::{RootKey, create_key_file};
use kekring::store::Backup;
use proptest::sample::Index;

use crate::model::{Model, Side};
use crate::place::{NOW, Place, root, text};

impl Model {
    pub fn add_root(&mut self) -> Result<(), String> {
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

    pub fn back_up(&mut self) -> Result<(), String> {
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

    pub fn restore(&mut self, which: Index) -> Result<(), String> {
        if self.backups.is_empty() {
            return self.back_up();
        }
        let (backup, known) = &self.backups[which.index(self.backups.len())];
        self.here.take(backup, known)
    }

    pub fn fork(&mut self) -> Result<(), String> {
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
            decrypts: BTreeSet::new(),
            removed: self.here.removed.clone(),
            robbed: self.here.robbed,
            accident: false,
        });
        Ok(())
    }

    pub fn join(&mut self) -> Result<(), String> {
        let side = self.elsewhere.as_ref().ok_or("there is no copy")?;
        let opened = side.place.open()?;
        if opened.frozen.is_some() {
            return Err("a frozen ring is not brought".into());
        }
        let newest = side.place.ring.join(&opened.head.name);
        let backup = Backup::read(&newest).map_err(text)?;
        self.here.take(&backup, &side.suspensions)
    }

    pub fn snapshot(&mut self) -> Result<(), String> {
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
    pub fn roll_back(&mut self, which: Index) -> Result<(), String> {
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
        let staying = self.here.place.mirror.as_ref().unwrap_or(ring).join("mark");
        let mark = fs::read(staying).map_err(text)?;
        fs::remove_dir_all(ring).unwrap();
        copy(snapshot, ring);
        if self.here.place.mirror.is_none() {
            fs::write(ring.join("mark"), mark).unwrap();
        }
        (self.here.robbed, self.here.accident) = (true, true);
        Ok(())
    }

    pub fn damage(&mut self, mirror: bool, at: Index) -> Result<(), String> {
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
            let stored = generation::parse(&fs::read(path).unwrap());
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
        (self.here.robbed, self.here.accident) = (true, true);
        Ok(())
    }

    pub fn mend(&mut self) -> Result<(), String> {
        for (path, whole) in std::mem::take(&mut self.damaged) {
            fs::write(&path, whole).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        Ok(())
    }
}

impl Side {
    /// A removal that another history began is finished first.
    pub fn remove_root(&mut self, which: Index) -> Result<(), String> {
        let place = &mut self.place;
        let opened = place.open()?;
        let custody = place.custody();
        let header = &opened.head.header;
        let roots: Vec<_> = custody.roots.iter().map(AsRef::as_ref).collect();
        let gone = which.index(roots.len());
        let mut slots: Vec<_> = opened.unfinished().map(|slot| slot.id).collect();
        if slots.is_empty() {
            let of_root = header
                .slots
                .iter()
                .filter(|slot| opens(roots[gone], header, slot).is_ok());
            slots = of_root.map(|slot| slot.id).collect();
        }
        if slots.is_empty() || slots.len() == header.slots.len() {
            return Err("it is the last root, or has no slot".into());
        }
        let (after, _) = custody.remove_slots(&opened, &slots, &roots, NOW).map_err(text)?;
        self.removed.extend(slots);
        let header = &after.head.header;
        let stays = |root: &Arc<dyn RootKey>| {
            header
                .slots
                .iter()
                .any(|slot| opens(root.as_ref(), header, slot).is_ok())
        };
        let mut staying = custody.roots.iter().map(stays);
        place.roots.retain(|_| staying.next().unwrap());
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}
