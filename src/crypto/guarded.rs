//! Memory that only this process can read: where keys lie between their uses.
//!
//! memfd_secret(2) where the kernel has it: out of swap, out of core files, and unmapped from the kernel itself, so that
//! neither ptrace nor /proc/PID/mem shows it, to root neither. Else locked memory (mlock(2)) that is left out of core
//! files. Where that is refused too, plain memory, and [`in_force`] says why.
//!
//! A mapping holds 2,048 keys and has a page without access on either side. It lives as long as the process: a key that
//! goes is wiped and its place used again. The only file with unsafe code: mapping memory is not safe in Rust.
#![allow(unsafe_code)]

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mm::{Advice, MapFlags, ProtFlags};
use zeroize::Zeroize;

/// Bytes of one mapping: a multiple of every page size that Linux has, and the smallest RLIMIT_MEMLOCK in use.
const MAPPING: usize = 64 * 1024;

/// What keeps the keys, from the best to the worst.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Guard {
    /// memfd_secret(2).
    Secret,
    /// mlock(2) and madvise(2), MADV_DONTDUMP; and why it is not memfd_secret.
    Locked(String),
    /// Nothing, and why.
    Plain(String),
}

/// Room for one key, wiped when dropped.
pub(super) struct Slot(Option<&'static mut [u8; 32]>);

/// The mapped memory that is in no key's use.
struct Region {
    /// Given back.
    free: Vec<&'static mut [u8; 32]>,
    /// Never used.
    fresh: &'static mut [[u8; 32]],
    /// The worst of all mappings.
    guard: Option<Guard>,
}

static REGION: Mutex<Region> = Mutex::new(Region {
    free: Vec::new(),
    fresh: &mut [],
    guard: None,
});

/// Maps memory unless that was done. Says what keeps it, or why nothing does.
pub fn in_force() -> Result<String, String> {
    drop(Slot::new());
    match &region().guard {
        Some(Guard::Secret) => Ok("memfd_secret".to_owned()),
        Some(Guard::Locked(why)) => Ok(format!("locked ({why})")),
        Some(Guard::Plain(why)) => Err(why.clone()),
        None => Err("nothing is mapped".to_owned()),
    }
}

/// Nothing that panics runs under the lock; a list of free places is whole at any time.
fn region() -> MutexGuard<'static, Region> {
    REGION.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Region {
    fn take(&mut self) -> &'static mut [u8; 32] {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        loop {
            if let Some((slot, rest)) = std::mem::take(&mut self.fresh).split_first_mut() {
                self.fresh = rest;
                return slot;
            }
            let (bytes, guard) = mapped();
            // The rest is empty: a mapping is a multiple of 32 bytes.
            self.fresh = bytes.as_chunks_mut().0;
            let worst = self
                .guard
                .take()
                .map_or(guard.clone(), |known| known.worse(guard));
            self.guard = Some(worst);
        }
    }
}

impl Guard {
    fn worse(self, other: Self) -> Self {
        let rank = |guard: &Self| match guard {
            Self::Secret => 0,
            Self::Locked(_) => 1,
            Self::Plain(_) => 2,
        };
        if rank(&other) > rank(&self) { other } else { self }
    }
}

impl Slot {
    /// All zero.
    pub(super) fn new() -> Self {
        Self(Some(region().take()))
    }
}

impl Deref for Slot {
    type Target = [u8; 32];

    fn deref(&self) -> &[u8; 32] {
        match &self.0 {
            Some(bytes) => bytes,
            None => unreachable!("only `drop` takes them out"),
        }
    }
}

impl DerefMut for Slot {
    fn deref_mut(&mut self) -> &mut [u8; 32] {
        match &mut self.0 {
            Some(bytes) => bytes,
            None => unreachable!("only `drop` takes them out"),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(bytes) = self.0.take() {
            bytes.zeroize();
            region().free.push(bytes);
        }
    }
}

/// The best that the kernel grants.
fn mapped() -> (&'static mut [u8], Guard) {
    let not_secret = match secret() {
        Ok(bytes) => return (bytes, Guard::Secret),
        Err(why) => why,
    };
    match locked() {
        Ok(bytes) => (bytes, Guard::Locked(format!("memfd_secret: {not_secret}"))),
        Err(why) => {
            let why = format!("memfd_secret: {not_secret}, mlock: {why}");
            (Box::leak(vec![0; MAPPING].into_boxed_slice()), Guard::Plain(why))
        }
    }
}

fn secret() -> io::Result<&'static mut [u8]> {
    // SAFETY: memfd_secret(2) takes flags and gives a descriptor, which nobody else owns.
    let file = unsafe {
        let descriptor = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
        match i32::try_from(descriptor) {
            Ok(descriptor) if descriptor >= 0 => OwnedFd::from_raw_fd(descriptor),
            _ => return Err(io::Error::last_os_error()),
        }
    };
    rustix::fs::ftruncate(&file, MAPPING.try_into().unwrap_or(u64::MAX))?;
    map(Some(&file))
}

fn locked() -> io::Result<&'static mut [u8]> {
    let bytes = map(None)?;
    // SAFETY: both act on our own mapping, and neither changes what can be read in it.
    unsafe {
        rustix::mm::mlock(bytes.as_mut_ptr().cast(), bytes.len())?;
        rustix::mm::madvise(bytes.as_mut_ptr().cast(), bytes.len(), Advice::LinuxDontDump)?;
    }
    Ok(bytes)
}

/// Maps [`MAPPING`] bytes between two pages without access; a child of ours does not get them.
fn map(file: Option<&OwnedFd>) -> io::Result<&'static mut [u8]> {
    let page = rustix::param::page_size();
    let (all, access) = (MAPPING + 2 * page, ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: the first mapping is made where the kernel has room, the second within the first. Both stay for as long as
    // the process lives, and nobody else gets to know their address: the slice is the only way to the bytes.
    unsafe {
        let room = rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            all,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )?;
        let middle = room.byte_add(page);
        let start = match file {
            Some(file) => rustix::mm::mmap(
                middle,
                MAPPING,
                access,
                MapFlags::SHARED | MapFlags::FIXED,
                file,
                0,
            )?,
            None => rustix::mm::mmap_anonymous(middle, MAPPING, access, MapFlags::PRIVATE | MapFlags::FIXED)?,
        };
        rustix::mm::madvise(start, MAPPING, Advice::LinuxDontFork)?;
        Ok(std::slice::from_raw_parts_mut(start.cast(), MAPPING))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_wiped_and_used_again_and_never_shared() {
        let mut first = Slot::new();
        let mut second = Slot::new();
        first.fill(1);
        second.fill(2);
        assert_eq!((*first, *second), ([1; 32], [2; 32]));
        drop(first);

        let slots: Vec<Slot> = (0..5000).map(|_| Slot::new()).collect();

        assert!(slots.iter().all(|slot| **slot == [0; 32]));
        let mut places: Vec<*const u8> = slots.iter().map(|slot| slot.as_ptr()).collect();
        places.push(second.as_ptr());
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 5001);
    }

    #[test]
    fn the_worst_mapping_is_what_is_in_force() {
        let (locked, plain) = (Guard::Locked("why".into()), Guard::Plain("why".into()));

        assert_eq!(Guard::Secret.worse(locked.clone()), locked);
        assert_eq!(plain.clone().worse(Guard::Secret), plain);
        assert_eq!(locked.clone().worse(plain.clone()), plain);
        assert_eq!(locked.clone().worse(Guard::Locked("another".into())), locked);
    }

    /// What the kernel says of the mapping at an address: its first line, and its flags (proc_pid_smaps(5)).
    fn mapping_at(address: usize) -> (String, Vec<String>) {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut here = None;
        for line in smaps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let ends =
                range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
            if let Some((Ok(from), Ok(to))) = ends {
                here = (from..to).contains(&address).then(|| line.to_owned());
            }
            if let (Some(first), Some(flags)) = (&here, line.strip_prefix("VmFlags:")) {
                return (
                    first.clone(),
                    flags.split_whitespace().map(str::to_owned).collect(),
                );
            }
        }
        panic!("{address:x} is not mapped");
    }

    /// Whether it is memfd_secret's, or locked and left out of core files.
    fn is_guarded(address: usize) -> bool {
        let (first, flags) = mapping_at(address);
        let has = |flag: &str| flags.iter().any(|it| it == flag);
        first.contains("secretmem") || (has("lo") && has("dd"))
    }

    fn has_secret_memory() -> bool {
        // SAFETY: flags in, a descriptor or an error out; it is closed with the process.
        unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) >= 0 }
    }

    #[test]
    fn keys_lie_in_what_is_said_to_be_in_force() {
        let slot = Slot::new();
        let said = in_force().unwrap();

        assert!(
            is_guarded(slot.as_ptr().addr()),
            "{:?}",
            mapping_at(slot.as_ptr().addr())
        );
        match has_secret_memory() {
            true => assert_eq!(said, "memfd_secret"),
            false => assert!(said.starts_with("locked (memfd_secret: "), "{said}"),
        }
    }

    #[test]
    fn locked_memory_is_left_out_of_swap_core_files_and_children_and_lies_between_two_closed_pages() {
        let bytes = locked().unwrap();
        let (start, length) = (bytes.as_ptr().addr(), bytes.len());

        assert_eq!(length, 65_536);
        assert!(is_guarded(start) && is_guarded(start + length - 1));
        assert!(
            mapping_at(start).1.contains(&"dc".to_owned()),
            "{:?}",
            mapping_at(start)
        );
        for beside in [start - 1, start + length] {
            assert!(
                mapping_at(beside).0.contains(" ---p "),
                "{:?}",
                mapping_at(beside)
            );
        }
    }

    #[test]
    fn what_a_key_was_is_gone_when_it_is_dropped() {
        let pattern = [0xa7; 32];
        let mut slot = Slot::new();
        slot.copy_from_slice(&pattern);
        let place: *const [u8; 32] = &raw const *slot;

        drop(slot);

        // SAFETY: mappings stay for as long as the process lives; whoever has the place by now, it holds bytes.
        assert_ne!(unsafe { place.read_volatile() }, pattern);
    }
}
