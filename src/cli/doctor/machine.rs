//! The machine: its clock, its disks, and what its kernel can protect.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{statfs, statvfs};

use super::finding::Findings;
use crate::config::{Config, Store, shown_duration};
use crate::custody::Opened;
use crate::keyring::ring::UnixTime;
use crate::server::status_file::ServerStatus;
use crate::telemetry::{now, shown_time};

/// 2026-01-01, before which there was no kekring.
const OLDEST: UnixTime = UnixTime(1_767_225_600);
/// Clocks differ by less; the nodes of one ring allow each other as much.
const ASTRAY: u64 = 600;
/// How long `timedatectl` may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Two generations of the largest size: a change writes one beside the others.
const NEEDED: u64 = 2 << 20;
/// Less than that is soon gone.
const LITTLE: u64 = 64 << 20;
const FEW: u64 = 16;

pub(super) fn look(config: Option<&Config>, opened: Option<&Opened>, findings: &mut Findings) {
    let newest = opened.and_then(newest);
    clock(now(), newest, findings);
    synchronised(findings);
    kernel(findings);
    let Some(config) = config else { return };
    if let Store::File { .. } = config.ring.store {
        machine_id(&config.node.machine_id_file, findings);
    }
    let ring = config.ring.store.local();
    let mirror = Some(config.ring.mirror.as_path()).filter(|it| !it.as_os_str().is_empty());
    let run = config.socket.path.parent();
    for dir in [Some(ring), mirror, run].into_iter().flatten() {
        space(dir, findings);
    }
    for dir in [Some(ring), mirror].into_iter().flatten() {
        file_system(dir, config.development, findings);
    }
}

/// The latest time that the ring knows.
fn newest(opened: &Opened) -> Option<UnixTime> {
    let keys = opened.ring.keys.iter();
    keys.flat_map(|key| [Some(key.created), key.activated, key.deactivated])
        .flatten()
        .max()
}

fn clock(now: UnixTime, newest: Option<UnixTime>, findings: &mut Findings) {
    let id = "machine/clock";
    let what = match newest {
        _ if now < OLDEST => "which is before kekring was written".to_owned(),
        Some(newest) if newest.since(now) > ASTRAY => format!(
            "and the ring has a key of {}, {} later",
            shown_time(newest),
            shown_duration(Duration::from_secs(newest.since(now)))
        ),
        _ => return findings.ok(id, "clock", shown_time(now)),
    };
    findings.failure(
        id,
        "clock",
        format!(
            "it says {}, {what}: certificates and rotations go by it",
            shown_time(now)
        ),
        "mend the machine's time service, then `timedatectl` must show the right time",
    );
}

fn synchronised(findings: &mut Findings) {
    let id = "machine/clock-synchronised";
    match timedatectl() {
        Ok(true) => findings.ok(id, "clock", "it is synchronised"),
        Ok(false) => findings.warning(
            id,
            "clock",
            "it is not synchronised: one that is over ten minutes off rotates nothing, and certificates go by it",
            "`timedatectl set-ntp true`, or start the machine's time service",
        ),
        Err(why) => findings.skipped(id, "clock", why, "see that the machine's time service runs"),
    }
}

/// What the kernel was told by whichever time service there is.
fn timedatectl() -> Result<bool, String> {
    let mut child = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|why| format!("cannot run timedatectl: {why}"))?;
    let until = Instant::now() + PATIENCE;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= until {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("timedatectl did not end in {} s", PATIENCE.as_secs()));
        }
        pause();
    }
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        let _ = out.take(64).read_to_string(&mut said);
    }
    match said.trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("timedatectl does not say whether it is synchronised".into()),
    }
}

#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

fn kernel(findings: &mut Findings) {
    const REMEDY: &str = "the protections of a running server say it too";
    let path = "/sys/module/secretmem/parameters/enable";
    match fs::read_to_string(path) {
        Ok(said) => memfd_secret(path, &said, findings),
        Err(why) => findings.skipped(
            "machine/memfd-secret",
            path,
            format!("cannot tell whether the kernel has memfd_secret(2): {why}"),
            REMEDY,
        ),
    }
    let path = "/sys/kernel/security/lsm";
    match fs::read_to_string(path) {
        Ok(said) => landlock(path, &said, findings),
        Err(why) => findings.skipped(
            "machine/landlock",
            path,
            format!("cannot tell whether the kernel has Landlock: {why}"),
            REMEDY,
        ),
    }
}

fn memfd_secret(path: &str, said: &str, findings: &mut Findings) {
    let id = "machine/memfd-secret";
    match said.trim() {
        "Y" => findings.ok(id, path, "keys can lie in memory that no debugger reads"),
        _ => findings.warning(
            id,
            path,
            "memfd_secret(2) is off: keys lie in locked memory, which a debugger of root can read",
            "boot with `secretmem.enable=1`",
        ),
    }
}

fn landlock(path: &str, said: &str, findings: &mut Findings) {
    let id = "machine/landlock";
    match said.trim().split(',').any(|it| it == "landlock") {
        true => findings.ok(id, path, "a server can be confined to its own files"),
        false => findings.warning(
            id,
            path,
            "the kernel does not offer Landlock: a server is not confined to its own files",
            "add `landlock` to the kernel's `lsm=` parameter, from Linux 5.13 on",
        ),
    }
}

/// Keys that are in no guarded memory can be written to swap.
pub(super) fn swap(server: Option<&ServerStatus>, findings: &mut Findings) {
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let guarded = server.map(|it| {
        !it.protections
            .iter()
            .any(|it| it.starts_with("guarded memory: refused"))
    });
    swapped(&swaps, guarded, findings);
}

fn swapped(swaps: &str, guarded: Option<bool>, findings: &mut Findings) {
    let id = "machine/swap";
    // One line is the table's head.
    match (swaps.lines().nth(1), guarded) {
        (Some(_), Some(false)) => findings.warning(
            id,
            "/proc/swaps",
            "there is swap, and the server's keys are not in guarded memory: they may be written to it",
            "`swapoff -a`, or encrypt the swap; let the server lock memory (LimitMEMLOCK= of its unit)",
        ),
        (Some(_), _) => findings.ok(
            id,
            "/proc/swaps",
            "there is swap; keys lie in memory that is not written to it",
        ),
        (None, _) => findings.ok(id, "/proc/swaps", "there is no swap"),
    }
}

/// A ring in files is bound to it.
fn machine_id(path: &Path, findings: &mut Findings) {
    let (id, shown) = ("machine/machine-id", path.display());
    let why = match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return findings.ok(id, shown, "it is there"),
        Ok(_) => "it is empty".to_owned(),
        Err(why) => format!("cannot read it: {why}"),
    };
    findings.failure(
        id,
        shown,
        format!("{why}: a ring is bound to its machine by it, and is not changed without"),
        "`systemd-machine-id-setup`, or in a container mount the host's and name it in node.machineIdFile",
    );
}

/// The directory, or the nearest above it that is there.
fn space(dir: &Path, findings: &mut Findings) {
    let there = dir.ancestors().find(|it| it.exists()).unwrap_or(Path::new("/"));
    let shown = dir.display();
    match statvfs(there) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            // A file system that makes inodes as it needs them has none to count.
            let inodes = (disk.f_files > 0).then_some(disk.f_favail);
            room(&shown.to_string(), free, inodes, findings);
        }
        Err(why) => findings.skipped(
            "machine/disk-space",
            shown,
            format!("cannot look at its file system: {why}"),
            "mount it, or run this as root",
        ),
    }
}

fn room(dir: &str, free: u64, inodes: Option<u64>, findings: &mut Findings) {
    let mebibytes = free >> 20;
    let remedy = "make room on that file system, or give the directory one of its own";
    match free {
        0..NEEDED => findings.failure(
            "machine/disk-space",
            dir,
            format!("{mebibytes} MiB are free: a change of the ring may not be written"),
            remedy,
        ),
        NEEDED..LITTLE => findings.warning(
            "machine/disk-space",
            dir,
            format!("{mebibytes} MiB are free"),
            remedy,
        ),
        _ => findings.ok("machine/disk-space", dir, format!("{mebibytes} MiB are free")),
    }
    match inodes {
        Some(left) if left < FEW => findings.failure(
            "machine/inodes",
            dir,
            format!("{left} inodes are free: a change of the ring may not be written"),
            remedy,
        ),
        _ => findings.ok("machine/inodes", dir, "there are inodes for it"),
    }
}

fn file_system(dir: &Path, development: bool, findings: &mut Findings) {
    let id = "machine/file-system";
    let shown = dir.display();
    let Ok(disk) = statfs(dir) else {
        return findings.skipped(
            id,
            shown,
            "it is not there, or cannot be looked at",
            "see what is said of the configuration's directories",
        );
    };
    // statfs(2); the field's width differs between machines.
    let magic = i128::from(disk.f_type) & 0xffff_ffff;
    match magic {
        0x0102_1994 | 0x8584_58f6 if !development => findings.failure(
            id,
            shown,
            "it is a tmpfs, in memory: the ring would be gone at the next reboot",
            "name a directory on a disk, and copy the ring there before the next reboot",
        ),
        0x794c_7630 => findings.warning(
            id,
            shown,
            "it is an overlay, as a container has it: it goes with the container",
            "mount a directory of the node there",
        ),
        0x6969 | 0xff53_4d42 | 0xfe53_4d42 | 0x6573_5546 => findings.warning(
            id,
            shown,
            "it is a network's or a user's file system (NFS, SMB, FUSE): that may not be there at boot, and keeps fsync's promises or not",
            "name a directory on a local disk",
        ),
        _ => findings.ok(id, shown, "it is on a disk"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn level(look: impl FnOnce(&mut Findings), id: &str) -> Option<Level> {
        let mut findings = Findings::default();
        look(&mut findings);
        let found = findings.levels().into_iter().find(|(it, _)| *it == id);
        found.map(|(_, level)| level)
    }

    #[test]
    fn a_clock_before_the_ring_or_before_all_rings_is_wrong() {
        let day = |number: u64| UnixTime(OLDEST.0 + number * 86_400);
        let clock = |now, newest| level(|it| clock(now, newest, it), "machine/clock");

        assert_eq!(clock(UnixTime(0), None), Some(Level::Failure));
        assert_eq!(clock(day(1), None), Some(Level::Ok));
        assert_eq!(clock(day(1), Some(day(2))), Some(Level::Failure));
        assert_eq!(clock(day(2), Some(UnixTime(day(2).0 + ASTRAY))), Some(Level::Ok));
    }

    #[test]
    fn what_a_kernel_does_not_offer_is_worth_a_word() {
        let secret = |said| level(|it| memfd_secret("", said, it), "machine/memfd-secret");
        let confined = |said| level(|it| landlock("", said, it), "machine/landlock");

        assert_eq!(
            [secret("Y\n"), secret("N\n")],
            [Some(Level::Ok), Some(Level::Warning)]
        );
        assert_eq!(confined("lockdown,capability,landlock,yama\n"), Some(Level::Ok));
        assert_eq!(confined("capability,yama\n"), Some(Level::Warning));
    }

    #[test]
    fn swap_matters_where_keys_are_not_guarded() {
        let head = "Filename Type Size Used Priority\n";
        let swap = format!("{head}/dev/vdb partition 1 0 -2\n");
        let swapped = |swaps: &str, guarded| level(|it| swapped(swaps, guarded, it), "machine/swap");

        assert_eq!(swapped(&swap, Some(false)), Some(Level::Warning));
        assert_eq!(swapped(&swap, Some(true)), Some(Level::Ok));
        assert_eq!(swapped(head, Some(false)), Some(Level::Ok));
    }

    #[test]
    fn little_room_is_a_warning_and_none_a_failure() {
        let room = |free, inodes, id| level(|it| room("/ring", free, inodes, it), id);

        assert_eq!(room(NEEDED - 1, None, "machine/disk-space"), Some(Level::Failure));
        assert_eq!(room(NEEDED, None, "machine/disk-space"), Some(Level::Warning));
        assert_eq!(room(LITTLE, None, "machine/disk-space"), Some(Level::Ok));
        assert_eq!(room(LITTLE, Some(3), "machine/inodes"), Some(Level::Failure));
        assert_eq!(room(LITTLE, Some(FEW), "machine/inodes"), Some(Level::Ok));
    }
}
