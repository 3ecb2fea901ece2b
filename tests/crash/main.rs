//! A verb killed at, or failed in, each of its file-related system calls: the ring always opens afterwards, and the next
//! run of the verb succeeds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "../support/mod.rs"]
mod support;

mod durable;
mod verbs;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{KEKRING, Plugin, ignored, shown};

/// Calls that a change of the ring makes on files.
const CALLS: [&str; 9] = [
    "openat", "write", "fsync", "linkat", "unlink", "rename", "mkdir", "fchmod", "flock",
];
/// At most so many points of one call; the first ones belong to the loader and to reading.
const POINTS: u32 = 60;

/// Whether strace can inject here; where every suite is required, it must.
fn can_inject() -> bool {
    let probe = Command::new("strace")
        .args([
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync",
            "-e",
            "inject=fsync:error=EIO",
            "true",
        ])
        .output();
    let works = probe.is_ok_and(|output| output.status.success());
    if !works {
        ignored("strace, and the right to trace");
    }
    works
}

/// Runs a verb with one fault; true when the fault was reached.
fn run_with_fault(plugin: &Plugin, verb: &[&str], call: &str, fault: &str, when: u32) -> bool {
    let log = plugin.dir.join("strace.log");
    let output = Command::new("strace")
        .arg("-f")
        .arg("-o")
        .arg(&log)
        .args([
            "-e",
            &format!("trace={call}"),
            "-e",
            &format!("inject={call}:{fault}:when={when}"),
        ])
        .arg(KEKRING)
        .args(verb)
        .arg("--config")
        .arg(&plugin.config)
        .output()
        .unwrap();
    let reached = fs::read_to_string(log).unwrap();
    let hit = reached.contains("(INJECTED)") || reached.contains("killed by SIGKILL");
    if fault.starts_with("signal") && hit {
        assert!(!output.status.success(), "{}", shown(&output));
    }
    hit
}

/// Keys by name and state, as an independent reader sees them.
fn keys(plugin: &Plugin) -> Vec<(String, String)> {
    let listing: Value = plugin.json(&["keys", "list"]);
    let text = |key: &Value, field: &str| key[field].as_str().unwrap().to_owned();
    listing["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (text(key, "id"), text(key, "state")))
        .collect()
}

fn check(plugin: &Plugin, before: &[(String, String)], at: &str) {
    let after = keys(plugin);
    for (id, _) in before {
        assert!(
            after.iter().any(|(known, _)| known == id),
            "{at}: key {id} is lost"
        );
    }
    for state in ["active", "pre-active"] {
        assert_eq!(
            after.iter().filter(|(_, it)| it == state).count(),
            1,
            "{at}: {state}"
        );
    }
    let active = |keys: &[(String, String)]| keys.iter().position(|(_, state)| state == "active").unwrap();
    assert!(active(&after) >= active(before), "{at}: the active key went back");
}

/// Every fault at every reached point of `verb`; returns how many points were tried.
fn sweep(verb: &[&str], fault: &str, next: &[&str]) -> u32 {
    let plugin = Plugin::prepared("{}");
    let mut tried = 0;
    for call in CALLS {
        for when in 1..=POINTS {
            let before = keys(&plugin);
            let at = format!("{verb:?} with {call}:{fault} at {when}");
            if !run_with_fault(&plugin, verb, call, fault, when) {
                break;
            }
            tried += 1;
            check(&plugin, &before, &at);
            let again = plugin.verb(next);
            assert!(again.status.success(), "{at}: {}", shown(&again));
            check(&plugin, &before, &at);
        }
    }
    assert!(
        no_unfinished_file(&plugin.dir.join("ring")),
        "the last good run removes what was left"
    );
    eprintln!("{verb:?} {fault}: {tried} points tried");
    tried
}

fn no_unfinished_file(dir: &Path) -> bool {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    !names
        .into_iter()
        .any(|name| name.to_string_lossy().starts_with(".tmp-"))
}

#[test]
fn a_rotation_killed_at_any_call_leaves_the_ring_whole() {
    if can_inject() {
        assert!(sweep(&["rotate"], "signal=SIGKILL", &["rotate"]) >= 30);
    }
}

#[test]
fn a_fresh_rotation_killed_at_any_call_is_resumed() {
    if can_inject() {
        assert!(sweep(&["rotate", "--fresh"], "signal=SIGKILL", &["rotate"]) >= 30);
    }
}

#[test]
fn a_rotation_that_meets_an_io_error_leaves_the_ring_whole() {
    if can_inject() {
        assert!(sweep(&["rotate"], "error=EIO", &["rotate"]) >= 20);
    }
}

#[test]
fn a_rotation_on_a_full_disk_leaves_the_ring_whole() {
    if can_inject() {
        assert!(sweep(&["rotate"], "error=ENOSPC", &["rotate"]) >= 20);
    }
}

#[test]
fn a_short_write_is_noticed_or_completed() {
    if can_inject() {
        assert!(sweep(&["rotate"], "retval=7", &["rotate"]) >= 1);
    }
}

#[test]
fn an_init_killed_at_any_call_leaves_no_ring_or_a_whole_one() {
    if !can_inject() {
        return;
    }
    let mut tried = 0;
    for call in CALLS {
        for when in 1..=POINTS {
            let plugin = Plugin::unmade("{}");
            if !run_with_fault(&plugin, &["init", "--no-recovery"], call, "signal=SIGKILL", when) {
                break;
            }
            tried += 1;
            let again = plugin.verb(&["init", "--no-recovery"]);
            let at = format!("{call} at {when}: {}", shown(&again));
            // Made now, or refused because the killed one had made it already: never a second ring over a first.
            assert!(matches!(again.status.code(), Some(0 | 3)), "{at}");
            let stored = fs::read_dir(plugin.dir.join("ring")).unwrap();
            let rings = stored.filter(|it| {
                it.as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|it| it == "ring")
            });
            assert_eq!(rings.count(), 1, "{at}");
            assert_eq!(keys(&plugin).len(), 2, "{at}");
            let rotate = plugin.verb(&["rotate"]);
            assert!(rotate.status.success(), "{at} {}", shown(&rotate));
        }
    }
    eprintln!("init SIGKILL: {tried} points tried");
    assert!(tried >= 20, "{tried}");
}
