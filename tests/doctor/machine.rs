//! The machine. What of it no test can change is judged in the unit tests beside the code.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::shown;
use crate::world::{Node, Seen};

#[test]
fn what_timedatectl_says_of_the_clock_counts_and_it_is_not_waited_for() {
    let node = Node::good();
    let bin = node.path("bin");
    fs::create_dir(&bin).unwrap();
    let with = |script: &str| {
        let path = bin.join("timedatectl");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut doctor = node.plugin.command(&["doctor", "-o", "json"]);
        doctor.arg("--manifest");
        Seen::of(
            doctor
                .arg(&node.files.manifest)
                .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
                .output()
                .unwrap(),
        )
    };
    let id = "machine/clock-synchronised";

    with("echo yes").finding("ok", id);
    let finding = with("echo no").finding("warning", id);
    assert!(finding.remedy.contains("`timedatectl set-ntp true`"));
    with("echo perhaps").finding("skipped", id);
    with("exit 1").finding("skipped", id);
    let started = Instant::now();
    with("exec sleep 300").finding("skipped", id);
    assert!(started.elapsed() < Duration::from_secs(60));

    let mut doctor = node.plugin.command(&["doctor", "-o", "json"]);
    doctor.arg("--manifest");
    let alone = Seen::of(
        doctor
            .arg(&node.files.manifest)
            .env("PATH", node.path("nowhere"))
            .output()
            .unwrap(),
    );
    assert!(
        alone
            .finding("skipped", id)
            .message
            .contains("cannot run timedatectl")
    );
}

#[test]
fn a_machine_without_a_machine_id_cannot_have_a_ring_in_files() {
    let node = Node::good();
    for (name, text) in [("empty", Some("\n")), ("nowhere", None)] {
        let path = node.path(name);
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        node.configure(json!({"node": {"machineIdFile": path}}));

        let finding = node.doctor().finding("failure", "machine/machine-id");

        assert!(finding.remedy.contains("systemd-machine-id-setup"), "{finding:?}");
    }
}

#[test]
fn a_ring_in_memory_is_gone_at_the_next_reboot() {
    let node = Node::good();
    let shm = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in("/dev/shm")
        .unwrap();
    node.configure(json!({"ring": {"store": {"file": {"dir": shm.path().join("ring")}}}}));
    fs::remove_dir_all(node.path("mirror")).unwrap();
    node.must(&["init", "--no-recovery"]);

    let finding = node.doctor().finding("failure", "machine/file-system");

    assert!(finding.message.contains("gone at the next reboot"), "{finding:?}");
}

#[test]
#[needs(mounting)]
fn a_disk_that_is_nearly_full_is_named_and_a_full_one_fails() {
    let node = Node::good();
    let disk = node.path("disk");
    fs::create_dir(&disk).unwrap();
    for (size, level) in [("size=32m", "warning"), ("size=1m", "failure")] {
        let _mounted = Mounted::tmpfs(&disk, size);
        let mirror = disk.join("mirror");
        fs::create_dir(&mirror).unwrap();
        fs::set_permissions(&mirror, fs::Permissions::from_mode(0o700)).unwrap();
        node.configure(json!({"ring": {"mirror": mirror}}));

        let finding = node.doctor().finding(level, "machine/disk-space");

        assert!(finding.message.contains("MiB are free"), "{finding:?}");
    }
    let _mounted = Mounted::tmpfs(&disk, "size=128m,nr_inodes=8");
    node.configure(json!({"ring": {"mirror": disk.join("mirror")}}));
    node.doctor().finding("failure", "machine/inodes");
}

/// A file system in memory, until this is dropped.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(at: &'a Path, options: &str) -> Self {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(at)
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        Self(at)
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let output = Command::new("umount").arg(self.0).output().unwrap();
        assert!(
            output.status.success() || std::thread::panicking(),
            "{}",
            shown(&output)
        );
    }
}
