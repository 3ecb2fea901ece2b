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
use write::{Owner, lock, make_directory, may_write, prune_place, publish, remove_unfinished, replace};

use super::{Loaded, NewGeneration, NewMark, RingStore, Stamp, StoreError, StoredCopy};

const MARK: &str = "mark";
const BACKUP: &str = "backup";
const INSTANCE: &str = "instance";

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
            copies: Vec::new(),
            marks: Vec::new(),
            backup: read_file(&self.dir.join(BACKUP)).ok(),
            stamp: stamp.clone(),
            warnings: Vec::new(),
        };
        read_place(&self.dir, &stamp, &mut loaded);
        if let Some(mirror) = &self.mirror {
            match names(mirror) {
                Ok(stamp) => read_place(mirror, &stamp, &mut loaded),
                Err(why) => loaded.warnings.push(format!("the mirror cannot be used: {why}")),
            }
        }
        // The store's own copy comes before the mirror's: the sort is stable.
        loaded
            .copies
            .sort_unstable_by(|a, b| parse_name(&b.name).cmp(&parse_name(&a.name)));
        Ok(loaded)
    }

    fn stamp(&self) -> Result<Stamp, StoreError> {
        names(&self.dir)
    }

    fn save(
        &self,
        new: &NewGeneration<'_>,
        base: &Stamp,
        prune: &[String],
    ) -> Result<(String, Stamp), StoreError> {
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
        for old in prune {
            if fs::remove_file(self.dir.join(old)).is_ok() {
                names.retain(|name| name != old);
            }
        }
        if !names.contains(&name) {
            names.push(name.clone());
            names.sort_unstable();
        }
        Ok((name, Stamp(names)))
    }

    fn settle(
        &self,
        name: &str,
        bytes: &[u8],
        mark: &NewMark<'_>,
        prune: &[String],
    ) -> Result<(), StoreError> {
        // The mirror first: the place that a rolled-back disk does not roll back.
        for dir in self.mirror.iter().chain(std::iter::once(&self.dir)) {
            settle_place(dir, name, bytes, mark)?;
            for old in prune {
                let _ = fs::remove_file(dir.join(old));
            }
        }
        Ok(())
    }

    fn note_backup(&self, record: &[u8]) -> Result<(), StoreError> {
        let owner = may_write(&self.dir)?;
        let _lock = lock(&self.dir, owner)?;
        replace(&self.dir, &self.dir.join(BACKUP), record, owner)
    }
}

fn settle_place(dir: &Path, name: &str, bytes: &[u8], mark: &NewMark<'_>) -> Result<(), StoreError> {
    let has = |name: &str, bytes: &[u8]| read_file(&dir.join(name)).as_deref() == Ok(bytes);
    if has(name, bytes) && has(MARK, mark.bytes) {
        return Ok(());
    }
    check_directory(dir)?;
    let owner = may_write(dir)?;
    let _lock = lock(dir, owner)?;
    keep(dir, name, bytes, owner)?;
    let path = dir.join(MARK);
    if read_file(&path).map_or(true, |known| (mark.supersedes)(&known)) {
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
    publish(dir, name, bytes, owner, None)?;
    prune_place(dir)
}

fn read_place(dir: &Path, stamp: &Stamp, loaded: &mut Loaded) {
    for name in &stamp.0 {
        let path = dir.join(name);
        loaded.copies.push(StoredCopy {
            name: name.clone(),
            place: path.display().to_string(),
            bytes: read_file(&path),
        });
    }
    let mark = dir.join(MARK);
    match read_file(&mark) {
        Ok(bytes) => loaded.marks.push(bytes),
        Err(_) if matches!(mark.try_exists(), Ok(false)) => {}
        Err(why) => loaded.warnings.push(format!("the mark cannot be read: {why}")),
    }
}
