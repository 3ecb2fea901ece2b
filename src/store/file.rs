//! The file store of one control-plane node: a 0700 directory of `gen-<N>-<hash8>.ring`.
//!
//! A generation becomes visible by `link`, which never overwrites, after its bytes were synced and read back; then the
//! directory is synced. A crash leaves either the old state or the new one, and at most a `.tmp-…` that the next writer
//! removes. A failed fsync is never repeated on the same file: the kernel may have dropped the pages it complains of.
//! Writers hold a lock; readers need none, since nothing is ever changed in place.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::{Loaded, NewGeneration, NewMark, RingStore, Stamp, StoreError, StoredCopy};
use crate::format::generation::MAX_LEN;

/// How long a writer waits for another one.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
const LOCK: &str = "lock";
const MARK: &str = "mark";
const UNFINISHED: &str = ".tmp-";

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

    /// Makes the directories that are missing, 0700. For `init`.
    pub fn create_directories(&self) -> Result<(), StoreError> {
        for dir in self.places() {
            let made = fs::create_dir_all(dir.parent().unwrap_or(Path::new("/"))).and_then(|()| {
                match rustix::fs::mkdir(dir, rustix::fs::Mode::RWXU) {
                    Err(rustix::io::Errno::EXIST) => Ok(()),
                    other => other.map_err(io::Error::from),
                }
            });
            made.map_err(|why| unavailable("cannot create", dir, &why))?;
            check_directory(dir)?;
        }
        Ok(())
    }

    /// What in here suggests that a ring exists or existed; empty when nothing does.
    pub fn traces(&self) -> Result<Vec<String>, StoreError> {
        let mut traces = Vec::new();
        for dir in self.places() {
            let entries = match fs::read_dir(dir) {
                Ok(entries) => entries,
                Err(why) if why.kind() == ErrorKind::NotFound => continue,
                Err(why) => return Err(unavailable("cannot read", dir, &why)),
            };
            for entry in entries {
                let name = entry
                    .map_err(|why| unavailable("cannot read", dir, &why))?
                    .file_name();
                let name = name.to_string_lossy();
                if name.ends_with(".ring") || name == MARK {
                    traces.push(dir.join(&*name).display().to_string());
                }
            }
        }
        Ok(traces)
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
            .sort_by(|a, b| parse_name(&b.name).cmp(&parse_name(&a.name)));
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
        check_directory(&self.dir)?;
        let owner = may_write(&self.dir)?;
        let _lock = lock(&self.dir, owner)?;
        if self.stamp()? != *base {
            return Err(StoreError::Conflict(self.describe()));
        }
        remove_unfinished(&self.dir);
        let name = file_name(new.generation, &new.hash);
        publish(&self.dir, &name, new.bytes, owner, Some(new.verify))?;
        for old in prune {
            let _ = fs::remove_file(self.dir.join(old));
        }
        // Still under the lock: what others write from now on is not in this stamp, and so a conflict.
        Ok((name, self.stamp()?))
    }

    fn settle(&self, name: &str, bytes: &[u8], mark: &NewMark<'_>) -> Result<(), StoreError> {
        // The mirror first: the place that a rolled-back disk does not roll back.
        for dir in self.mirror.iter().chain(std::iter::once(&self.dir)) {
            let has = |name: &str, bytes: &[u8]| read_file(&dir.join(name)).as_deref() == Ok(bytes);
            if has(name, bytes) && has(MARK, mark.bytes) {
                continue;
            }
            check_directory(dir)?;
            let owner = may_write(dir)?;
            let _lock = lock(dir, owner)?;
            if !has(name, bytes) {
                remove_unfinished(dir);
                publish(dir, name, bytes, owner, None)?;
                prune_place(dir)?;
            }
            let path = dir.join(MARK);
            if read_file(&path).map_or(true, |known| (mark.supersedes)(&known)) {
                replace(dir, &path, mark.bytes, owner)?;
            }
        }
        Ok(())
    }
}

/// `gen-<N>-<first 8 hexadecimal digits of the hash>.ring`.
pub(crate) fn file_name(generation: u64, hash: &[u8; 32]) -> String {
    let digits = data_encoding::HEXLOWER.encode(hash.get(..4).unwrap_or_default());
    format!("gen-{generation}-{digits}.ring")
}

fn parse_name(name: &str) -> Option<(u64, &str)> {
    let (generation, digits) = name
        .strip_prefix("gen-")?
        .strip_suffix(".ring")?
        .split_once('-')?;
    let number: u64 = generation.parse().ok()?;
    let plain = digits.len() == 8 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (plain && number > 0 && number.to_string() == generation).then_some((number, digits))
}

/// Names of generations in a directory; foreign files do not count, and a directory that is not there has none.
fn names(dir: &Path) -> Result<Stamp, StoreError> {
    if matches!(dir.try_exists(), Ok(false)) {
        return Ok(Stamp::default());
    }
    check_directory(dir)?;
    let entries = fs::read_dir(dir).map_err(|why| unavailable("cannot read", dir, &why))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|why| unavailable("cannot read", dir, &why))?;
        if let Some(name) = entry
            .file_name()
            .to_str()
            .filter(|name| parse_name(name).is_some())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(Stamp(names))
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

/// Reads a regular file of ours that is ours alone, and no more of it than a generation can have.
fn read_file(path: &Path) -> Result<Vec<u8>, StoreError> {
    let shown = path.display();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|why| match (why.kind(), why.raw_os_error()) {
            (ErrorKind::PermissionDenied, _) => StoreError::Denied(format!("cannot read {shown}: {why}")),
            (_, Some(code)) if code == rustix::io::Errno::LOOP.raw_os_error() => {
                StoreError::Corrupt(format!("{shown} is a symbolic link; a ring holds regular files"))
            }
            // What opening a socket or an absent device says.
            (_, Some(code)) if code == rustix::io::Errno::NXIO.raw_os_error() => {
                StoreError::Corrupt(format!("{shown} is not a regular file"))
            }
            _ => unavailable("cannot read", path, &why),
        })?;
    let metadata = file
        .metadata()
        .map_err(|why| unavailable("cannot read", path, &why))?;
    if !metadata.is_file() {
        return Err(StoreError::Corrupt(format!("{shown} is not a regular file")));
    }
    check_owner(path, &metadata)?;
    let limit = u64::try_from(MAX_LEN).unwrap_or(u64::MAX);
    if metadata.len() > limit {
        return Err(StoreError::Corrupt(format!(
            "{shown} has {} bytes; a generation has at most {limit}",
            metadata.len()
        )));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| unavailable("cannot read", path, &why))?;
    Ok(bytes)
}

fn check_directory(dir: &Path) -> Result<(), StoreError> {
    let metadata = fs::symlink_metadata(dir).map_err(|why| match why.kind() {
        ErrorKind::PermissionDenied => StoreError::Denied(format!("cannot use {}: {why}", dir.display())),
        _ => unavailable("cannot use", dir, &why),
    })?;
    if !metadata.is_dir() {
        return Err(StoreError::Corrupt(format!(
            "{} is not a directory",
            dir.display()
        )));
    }
    check_owner(dir, &metadata)
}

/// Root may use anybody's ring, others their own; nobody else may have any access.
fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
    let (shown, me) = (path.display(), rustix::process::geteuid());
    if metadata.mode() & 0o077 != 0 {
        let right = if metadata.is_dir() { "0700" } else { "0600" };
        return Err(StoreError::Denied(format!(
            "{shown} has mode {:04o}: others than its owner can use it; `chmod {right} {shown}`",
            metadata.mode() & 0o7777
        )));
    }
    if metadata.uid() != me.as_raw() && !me.is_root() {
        return Err(StoreError::Denied(format!(
            "{shown} belongs to uid {} and this is uid {}",
            metadata.uid(),
            me.as_raw()
        )));
    }
    Ok(())
}

type Owner = (u32, u32);

/// Files get the owner of their directory, so that what root writes the service can read.
fn may_write(dir: &Path) -> Result<Owner, StoreError> {
    let metadata = fs::metadata(dir).map_err(|why| unavailable("cannot use", dir, &why))?;
    Ok((metadata.uid(), metadata.gid()))
}

fn give(file: &File, owner: Owner) -> io::Result<()> {
    if rustix::process::geteuid().as_raw() == owner.0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(owner.0), Some(owner.1))
}

fn lock(dir: &Path, owner: Owner) -> Result<File, StoreError> {
    let path = dir.join(LOCK);
    let open = || {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)?;
        give(&file, owner)?;
        Ok(file)
    };
    let file = open().map_err(|why: io::Error| unavailable("cannot lock", &path, &why))?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                pause();
            }
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StoreError::Unavailable(format!(
                    "{} is held by another kekring process for over {} s",
                    path.display(),
                    LOCK_PATIENCE.as_secs()
                )));
            }
            Err(fs::TryLockError::Error(why)) => return Err(unavailable("cannot lock", &path, &why)),
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

/// The durability steps; each one is needed, and their order is the guarantee.
fn publish(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    owner: Owner,
    verify: Option<super::Verify<'_>>,
) -> Result<(), StoreError> {
    let target = dir.join(name);
    let failed = |what: &str, why: &io::Error| unavailable(what, &target, why);
    let unfinished = write_unfinished(dir, bytes, owner).map_err(|why| failed("cannot write", &why))?;
    let again = fs::read(unfinished.path()).map_err(|why| failed("cannot read back", &why))?;
    if again != bytes {
        return Err(StoreError::Unavailable(format!(
            "{} reads back other than it was written; nothing was changed",
            target.display()
        )));
    }
    if let Some(verify) = verify {
        verify(&again).map_err(|why| {
            StoreError::Unavailable(format!(
                "{} does not verify: {why}; nothing was changed",
                target.display()
            ))
        })?;
    }
    match fs::hard_link(unfinished.path(), &target) {
        Ok(()) => {}
        Err(why) if why.kind() == ErrorKind::AlreadyExists && verify.is_some() => {
            return Err(StoreError::Conflict(dir.display().to_string()));
        }
        // A damaged copy in the mirror is replaced by the good one.
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {
            fs::rename(unfinished.path(), &target).map_err(|why| failed("cannot write", &why))?;
        }
        Err(why) => return Err(failed("cannot write", &why)),
    }
    // The name must be durable before anybody relies on it.
    if let Err(why) = sync_directory(dir) {
        let _ = fs::remove_file(&target);
        return Err(failed("cannot make durable", &why));
    }
    Ok(())
}

fn write_unfinished(dir: &Path, bytes: &[u8], owner: Owner) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(dir)?;
    file.write_all(bytes)?;
    give(file.as_file(), owner)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Replaces the mark. Unlike a generation it has one name and may only grow, which its reader checks.
fn replace(dir: &Path, path: &Path, bytes: &[u8], owner: Owner) -> Result<(), StoreError> {
    let write = || {
        let file = write_unfinished(dir, bytes, owner)?;
        file.persist(path).map_err(|failed| failed.error)?;
        sync_directory(dir)
    };
    write().map_err(|why| unavailable("cannot write", path, &why))
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The lock is held, so an unfinished file belongs to a writer that died.
fn remove_unfinished(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// A place that was brought up to date keeps as many as the store does.
fn prune_place(dir: &Path) -> Result<(), StoreError> {
    let mut kept = names(dir)?.0;
    kept.sort_by_key(|name| std::cmp::Reverse(parse_name(name).map(|(number, _)| number)));
    for old in kept.iter().skip(super::KEPT) {
        let _ = fs::remove_file(dir.join(old));
    }
    Ok(())
}

fn unavailable(what: &str, path: &Path, why: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{what} {}: {why}", path.display()))
}
