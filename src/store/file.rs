//! The file store of one control-plane node: a 0700 directory of `gen-<N>-<hash8>.ring`.
//!
//! A generation becomes visible by `link`, which never overwrites, after its bytes were synced and read back; then the
//! directory is synced. A crash leaves either the old state or the new one, and at most a `.tmp-…` that the next writer
//! removes. A failed fsync is never repeated on the same file: the kernel may have dropped the pages it complains of.
//! Writers hold a lock; readers need none, since nothing is ever changed in place.

mod inspect;
mod write;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub use inspect::Stray;
use inspect::{check_directory, entries, names, read_file, stray, unavailable};
pub(super) use inspect::{file_name, parse_name};
pub(super) use write::publish_anywhere;
use write::{
    Owner, lock, make_directory, may_write, move_aside, publish, remove_unfinished, replace, sync_directory,
};

use super::{
    Loaded, MOST_BYTES, MOST_FILES, NewGeneration, NewMark, RingStore, Stamp, StoreError, StoredCopy,
    StoredMark,
};
use crate::format::covered::Covered;

const MARK: &str = "mark";
const BACKUP: &str = "backup";
const INSTANCE: &str = "instance";
const SUPERSEDED: &str = "superseded";
/// How directories begin in which an operator's word has put what no root opens.
const ASIDE: &str = "abandoned-";

/// A directory of generations, and a second one that mirrors it.
pub struct FileStore {
    dir: PathBuf,
    mirror: Option<PathBuf>,
}

impl FileStore {
    /// The store in `dir`, mirrored to `mirror`. Nothing is touched yet.
    pub fn new(dir: PathBuf, mirror: Option<PathBuf>) -> Self {
        Self { dir, mirror }
    }

    /// Makes the directories that are missing, 0700 and durable, their names included. For `init`.
    pub fn create_directories(&self) -> Result<(), StoreError> {
        for dir in self.places() {
            make_directory(dir).map_err(|why| unavailable("cannot create", dir, &why))?;
            check_directory(dir)?;
        }
        Ok(())
    }

    /// What in here suggests that a ring exists or existed; empty when nothing does.
    pub fn traces(&self) -> Result<Vec<String>, StoreError> {
        let mut traces = Vec::new();
        for dir in self.places() {
            let names = match entries(dir) {
                Ok(names) => names,
                Err(why) if why.kind() == ErrorKind::NotFound => continue,
                Err(why) => return Err(unavailable("cannot read", dir, &why)),
            };
            let ours = |name: &String| name.ends_with(".ring") || name == MARK || name == BACKUP;
            let found = names.iter().filter(|name| ours(name));
            traces.extend(found.map(|name| dir.join(name).display().to_string()));
        }
        traces.sort_unstable();
        Ok(traces)
    }

    /// What lies in here and is no part of a ring, by its path.
    pub fn strays(&self) -> Result<Vec<(PathBuf, Stray)>, StoreError> {
        let mut strays = Vec::new();
        for dir in self.places() {
            let names = match entries(dir) {
                Ok(names) => names,
                Err(why) if why.kind() == ErrorKind::NotFound => continue,
                Err(why) => return Err(unavailable("cannot read", dir, &why)),
            };
            let found = names
                .iter()
                .filter_map(|name| Some((dir.join(name), stray(name)?)));
            strays.extend(found);
        }
        strays.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(strays)
    }

    /// Makes a generation that another store holds this one's too, durable, by the name that it has there. Repeating it
    /// changes nothing.
    pub fn copy(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        for dir in self.mirror.iter().chain(std::iter::once(&self.dir)) {
            check_directory(dir)?;
            let owner = may_write(dir)?;
            let _lock = lock(dir, owner)?;
            keep(dir, name, bytes, owner)?;
        }
        Ok(())
    }

    /// 16 bytes that tell this copy of a ring from every other: `fresh` where there are none yet.
    pub fn instance(&self, fresh: [u8; 16]) -> Result<[u8; 16], StoreError> {
        check_directory(&self.dir)?;
        let path = self.dir.join(INSTANCE);
        if matches!(path.try_exists(), Ok(false)) {
            let owner = may_write(&self.dir)?;
            let _lock = lock(&self.dir, owner)?;
            if matches!(path.try_exists(), Ok(false)) {
                replace(&self.dir, &path, &fresh, owner)?;
            }
        }
        let bytes = read_file(&path)?;
        bytes.try_into().map_err(|_| {
            StoreError::Corrupt(format!(
                "{} is not 16 bytes: delete it, and the node is registered anew under another name, or after `kekring node remove`",
                path.display()
            ))
        })
    }

    /// Keeps the record that the ring key of this copy was replaced.
    pub fn note_superseded(&self, record: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(SUPERSEDED);
        if read_file(&path).as_deref() == Ok(record) {
            return Ok(());
        }
        let owner = may_write(&self.dir)?;
        let _lock = lock(&self.dir, owner)?;
        replace(&self.dir, &path, record, owner)
    }

    /// User and group of the directory, where it exists: what root writes is theirs.
    pub fn owner(&self) -> Option<(u32, u32)> {
        may_write(&self.dir).ok()
    }

    fn places(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.dir).chain(&self.mirror)
    }
}

impl RingStore for FileStore {
    fn describe(&self) -> String {
        self.dir.display().to_string()
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let stamp = self.stamp()?;
        let mut loaded = Loaded {
            backup: read_file(&self.dir.join(BACKUP)).ok(),
            superseded: read_file(&self.dir.join(SUPERSEDED)).ok(),
            stamp: stamp.clone(),
            ..Loaded::default()
        };
        for name in &stamp.0 {
            loaded.copies.push(copy_in(&self.dir, name, true));
        }
        loaded
            .copies
            .sort_by(|a, b| parse_name(&b.name).cmp(&parse_name(&a.name)));
        read_mark(&self.dir, true, &mut loaded);
        if let Some(mirror) = &self.mirror {
            match names(mirror) {
                Ok(_) => read_mark(mirror, false, &mut loaded),
                Err(why) => loaded.warnings.push(format!("the mirror cannot be used: {why}")),
            }
        }
        Ok(loaded)
    }

    fn elsewhere(&self, name: &str) -> Vec<StoredCopy> {
        let there = |dir: &&PathBuf| parse_name(name).is_some() && !is_absent(&dir.join(name));
        let places = self.mirror.iter().filter(there);
        places.map(|dir| copy_in(dir, name, false)).collect()
    }

    fn further(&self) -> Vec<StoredCopy> {
        self.mirror.iter().flat_map(|dir| bounded(dir)).collect()
    }

    fn stamp(&self) -> Result<Stamp, StoreError> {
        names(&self.dir)
    }

    fn save(&self, new: &NewGeneration<'_>, base: &Stamp) -> Result<(String, Stamp), StoreError> {
        // A mirror that is away stops a change before anything is written, and not only before it is used.
        for dir in self.places() {
            check_directory(dir)?;
        }
        let owner = may_write(&self.dir)?;
        let _lock = lock(&self.dir, owner)?;
        if self.stamp()? != *base {
            return Err(StoreError::Conflict(self.describe()));
        }
        remove_unfinished(&self.dir);
        let name = file_name(new.generation, &new.hash);
        publish(&self.dir, &name, new.bytes, owner, Some(new.verify))?;
        // The lock is held, so this is what lies there now; reading it could fail, and the generation is durable. What
        // others write from now on is not in this stamp, and so a conflict.
        let mut names = base.0.clone();
        if !names.contains(&name) {
            names.push(name.clone());
            names.sort_unstable();
        }
        Ok((name, Stamp(names)))
    }

    fn settle(&self, name: &str, bytes: &[u8], mark: &NewMark<'_>) -> Result<(), StoreError> {
        // The mirror first: the place that a rolled-back disk does not roll back.
        if let Some(mirror) = &self.mirror {
            settle_place(mirror, name, bytes, mark, false)?;
        }
        settle_place(&self.dir, name, bytes, mark, true)
    }

    fn remove(&self, gone: &[Covered], _: &[Vec<u8>]) -> Result<Vec<String>, StoreError> {
        let mut removed = Vec::new();
        for dir in self.places().filter(|_| !gone.is_empty()) {
            let owner = may_write(dir)?;
            let _lock = lock(dir, owner)?;
            let mut here = Vec::new();
            for covered in gone.iter().filter(|it| parse_name(it.name()).is_some()) {
                let path = dir.join(covered.name());
                if read_file(&path).is_ok_and(|bytes| covered.is(&bytes)) && fs::remove_file(path).is_ok() {
                    here.push(covered.name().to_owned());
                }
            }
            if here.is_empty() {
                continue;
            }
            // A root that was removed must not open them again after a power cut; and ext4 with data=writeback gives their
            // blocks away before they are durably gone.
            sync_directory(dir)
                .map_err(|why| unavailable("cannot make durable what was removed from", dir, &why))?;
            if *dir == self.dir {
                removed = here;
            }
        }
        Ok(removed)
    }

    fn set_aside(&self, names: &[String], mark: bool, when: u64) -> Result<Vec<String>, StoreError> {
        let wanted: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| parse_name(name).is_some())
            .chain(mark.then_some(MARK))
            .collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let owner = may_write(&self.dir)?;
        let _lock = lock(&self.dir, owner)?;
        let aside = self.dir.join(format!("{ASIDE}{when}"));
        move_aside(&self.dir, &aside, owner, &wanted)
            .map_err(|why| unavailable("cannot move files to", &aside, &why))
    }

    fn note_backup(&self, record: &[u8]) -> Result<(), StoreError> {
        let owner = may_write(&self.dir)?;
        let _lock = lock(&self.dir, owner)?;
        replace(&self.dir, &self.dir.join(BACKUP), record, owner)
    }
}

fn settle_place(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    mark: &NewMark<'_>,
    own: bool,
) -> Result<(), StoreError> {
    let has = |name: &str, bytes: &[u8]| read_file(&dir.join(name)).as_deref() == Ok(bytes);
    if has(name, bytes) && has(MARK, mark.bytes) {
        return Ok(());
    }
    check_directory(dir)?;
    let owner = may_write(dir)?;
    let _lock = lock(dir, owner)?;
    keep(dir, name, bytes, owner)?;
    let path = dir.join(MARK);
    let supersedes = |bytes| (mark.supersedes)(&StoredMark { bytes, own });
    if read_file(&path).map_or(true, supersedes) {
        replace(dir, &path, mark.bytes, owner)?;
    }
    Ok(())
}

/// Brings a generation into a place that lacks it; the lock is held.
fn keep(dir: &Path, name: &str, bytes: &[u8], owner: Owner) -> Result<(), StoreError> {
    if read_file(&dir.join(name)).as_deref() == Ok(bytes) {
        return Ok(());
    }
    remove_unfinished(dir);
    publish(dir, name, bytes, owner, None)
}

fn copy_in(dir: &Path, name: &str, own: bool) -> StoredCopy {
    let path = dir.join(name);
    StoredCopy {
        name: name.to_owned(),
        place: path.display().to_string(),
        own,
        bytes: read_file(&path),
    }
}

/// Generations of a place that others may write to: the highest numbers first, and no more than a bounded part of it.
fn bounded(dir: &Path) -> Vec<StoredCopy> {
    let mut names = names(dir).unwrap_or_default().0;
    names.sort_by_key(|name| std::cmp::Reverse(plausible(name)));
    let (mut left, mut copies) = (MOST_BYTES, Vec::new());
    for name in names.iter().take(MOST_FILES) {
        let length = fs::symlink_metadata(dir.join(name)).map_or(0, |it| it.len());
        if length <= left {
            left -= length;
            copies.push(copy_in(dir, name, false));
        }
    }
    copies
}

/// A ring that changes every second for 30,000 years does not get beyond it: higher numbers come last.
const PLAUSIBLE: u64 = 1 << 40;

fn plausible(name: &str) -> (bool, u64) {
    let number = parse_name(name).map_or(0, |(number, _)| number);
    (number < PLAUSIBLE, number)
}

fn read_mark(dir: &Path, own: bool, loaded: &mut Loaded) {
    let path = dir.join(MARK);
    match read_file(&path) {
        Ok(bytes) => loaded.marks.push(StoredMark { bytes, own }),
        Err(_) if is_absent(&path) => {}
        Err(why) => loaded.warnings.push(format!("the mark cannot be read: {why}")),
    }
}

fn is_absent(path: &Path) -> bool {
    matches!(path.try_exists(), Ok(false))
}
