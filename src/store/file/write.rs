//! Writing into a directory of generations: the lock, and the steps that make a file durable.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::thread::CapabilitySet;

use super::inspect::{entries, unavailable};
use crate::format::generation;
use crate::store::{StoreError, Verify};

/// How long a writer waits for another one.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
pub(super) const LOCK: &str = "lock";
pub(super) const UNFINISHED: &str = ".tmp-";

pub(super) type Owner = (u32, u32);

/// Files get the owner of their directory, so that what root writes the service can read. Refused where that cannot be.
pub(super) fn may_write(dir: &Path) -> Result<Owner, StoreError> {
    let metadata = fs::metadata(dir).map_err(|why| unavailable("cannot use", dir, &why))?;
    let owner = (metadata.uid(), metadata.gid());
    if rustix::process::geteuid().as_raw() != owner.0 && !may_give_away() {
        return Err(StoreError::Denied(format!(
            "{} belongs to uid {}, and this process cannot give files to others: run it as that user, or with CAP_CHOWN",
            dir.display(),
            owner.0
        )));
    }
    Ok(owner)
}

fn may_give_away() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::CHOWN))
}

fn give(file: &File, owner: Owner) -> io::Result<()> {
    if rustix::process::geteuid().as_raw() == owner.0 {
        return Ok(());
    }
    std::os::unix::fs::fchown(file, Some(owner.0), Some(owner.1))
}

pub(super) fn lock(dir: &Path, owner: Owner) -> Result<File, StoreError> {
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
pub(super) fn publish(
    dir: &Path,
    name: &str,
    bytes: &[u8],
    owner: Owner,
    verify: Option<Verify<'_>>,
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
        Err(why) if why.kind() == ErrorKind::AlreadyExists && verify.is_some() && is_sound(&target) => {
            return Err(StoreError::Conflict(dir.display().to_string()));
        }
        // A damaged copy is replaced by the good one: the name holds the hash.
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

fn is_sound(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| generation::parse(&bytes).is_ok())
}

/// A new file outside the ring's directories, by the same steps. An existing one is never touched.
pub(in crate::store) fn publish_anywhere(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let (Some(name), Some(dir)) = (path.file_name().and_then(|name| name.to_str()), path.parent()) else {
        return Err(StoreError::Unavailable(format!(
            "{} names no file",
            path.display()
        )));
    };
    let exists = || StoreError::Denied(format!("{} exists already and is left as it is", path.display()));
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let ourselves = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    publish(dir, name, bytes, ourselves, Some(&|_| Ok(()))).map_err(|why| match why {
        StoreError::Conflict(_) => exists(),
        why => why,
    })
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
pub(super) fn replace(dir: &Path, path: &Path, bytes: &[u8], owner: Owner) -> Result<(), StoreError> {
    let write = || {
        let file = write_unfinished(dir, bytes, owner)?;
        if fs::read(file.path())? != bytes {
            return Err(io::Error::other("it reads back other than it was written"));
        }
        file.persist(path).map_err(|failed| failed.error)?;
        sync_directory(dir)
    };
    write().map_err(|why| unavailable("cannot write", path, &why))
}

/// Makes a directory, 0700, and those above it that are missing. A name is durable once its directory is synced.
pub(super) fn make_directory(dir: &Path) -> io::Result<()> {
    let above = match dir.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => Path::new("/"),
    };
    make_above(above)?;
    match rustix::fs::mkdir(dir, rustix::fs::Mode::RWXU) {
        Ok(()) => sync_directory(above),
        // A killed process may have made it; whoever may not read its directory cannot have.
        Err(rustix::io::Errno::EXIST) => sync_directory(above).or(Ok(())),
        Err(why) => Err(why.into()),
    }
}

fn make_above(dir: &Path) -> io::Result<()> {
    let Some(above) = dir.parent().filter(|_| !dir.exists()) else {
        return Ok(());
    };
    make_above(above)?;
    match fs::create_dir(dir) {
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {}
        other => other?,
    }
    if above.as_os_str().is_empty() {
        return sync_directory(Path::new("."));
    }
    sync_directory(above)
}

pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The lock is held, so an unfinished file belongs to a writer that died.
pub(super) fn remove_unfinished(dir: &Path) {
    for name in entries(dir).unwrap_or_default() {
        if name.starts_with(UNFINISHED) {
            let _ = fs::remove_file(dir.join(name));
        }
    }
}

/// Moves files into a directory beside them, which is made where it is not there. Both names of a file are durable after it.
pub(super) fn move_aside(dir: &Path, aside: &Path, owner: Owner, names: &[&str]) -> io::Result<Vec<String>> {
    make_directory(aside)?;
    give(&File::open(aside)?, owner)?;
    let mut moved = Vec::new();
    for name in names {
        let target = aside.join(name);
        fs::rename(dir.join(name), &target)?;
        moved.push(target.display().to_string());
    }
    sync_directory(aside)?;
    sync_directory(dir)?;
    Ok(moved)
}
