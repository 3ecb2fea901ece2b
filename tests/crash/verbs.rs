//! The rarer changes, killed at each of their file-related calls: slots, restores, backups, decisions.

use std::fs;

use crate::support::{Plugin, shown};
use crate::{CALLS, POINTS, can_inject, check, keys, run_with_fault};

/// One attempt at each point: a world of its own, the fault, and what must hold afterwards.
fn each_point(verb: &str, mut attempt: impl FnMut(&str, u32) -> bool) -> u32 {
    let mut tried = 0;
    for call in CALLS {
        for when in 1..=POINTS {
            if !attempt(call, when) {
                break;
            }
            tried += 1;
        }
    }
    eprintln!("{verb} SIGKILL: {tried} points tried");
    tried
}

#[track_caller]
fn must(plugin: &Plugin, args: &[&str], at: &str) {
    let output = plugin.verb(args);
    assert!(output.status.success(), "{at}: {args:?}: {}", shown(&output));
}

/// A mirrored ring of three generations with a slot for each of two roots.
fn with_two_roots() -> Plugin {
    let plugin = Plugin::unmade("{}");
    plugin.configure_mirrored(&["root.key", "second.key"]);
    must(&plugin, &["init", "--no-recovery"], "");
    must(&plugin, &["rotate"], "");
    must(&plugin, &["rotate"], "");
    plugin
}

#[test]
fn a_removal_of_a_root_killed_at_any_call_is_finished_by_the_next_change() {
    if !can_inject() {
        return;
    }
    let tried = each_point("root remove", |call, when| {
        let (plugin, at) = (with_two_roots(), format!("{call} at {when}"));
        let before = keys(&plugin);
        let slots = plugin.json(&["root", "list"]);
        let slot = slots["slots"][0]["id"].as_str().unwrap();
        if !run_with_fault(&plugin, &["root", "remove", slot], call, "signal=SIGKILL", when) {
            return false;
        }
        check(&plugin, &before, &at);
        let again = plugin.verb(&["root", "remove", slot]);
        // Removed now, or by the killed one already.
        assert!(
            matches!(again.status.code(), Some(0 | 2)),
            "{at}: {}",
            shown(&again)
        );
        plugin.configure_mirrored(&["second.key"]);
        must(&plugin, &["rotate"], &at);
        check(&plugin, &before, &at);
        plugin.configure_mirrored(&["root.key"]);
        let removed = plugin.verb(&["keys", "list"]);
        let text = String::from_utf8_lossy(&removed.stderr).into_owned();
        assert!(
            !removed.status.success() && text.contains("wrong root"),
            "{at}: {text}"
        );
        true
    });
    assert!(tried >= 30, "{tried}");
}

#[test]
fn a_restore_killed_at_any_call_is_finished_by_the_next_one() {
    if !can_inject() {
        return;
    }
    let tried = each_point("restore", |call, when| {
        let (plugin, at) = (Plugin::prepared("{}"), format!("{call} at {when}"));
        let backup = plugin.dir.join("backup").display().to_string();
        must(&plugin, &["rotate"], &at);
        must(&plugin, &["backup", &backup], &at);
        let before = keys(&plugin);
        fs::remove_file(plugin.newest()).unwrap();
        if !run_with_fault(&plugin, &["restore", &backup], call, "signal=SIGKILL", when) {
            return false;
        }
        must(&plugin, &["restore", &backup], &at);
        check(&plugin, &before, &at);
        must(&plugin, &["rotate"], &at);
        true
    });
    assert!(tried >= 20, "{tried}");
}

#[test]
fn an_acceptance_killed_at_any_call_is_decided_or_is_not() {
    if !can_inject() {
        return;
    }
    let tried = each_point("ring accept", |call, when| {
        let (plugin, at) = (Plugin::prepared("{}"), format!("{call} at {when}"));
        must(&plugin, &["rotate"], &at);
        fs::remove_file(plugin.newest()).unwrap();
        let before = keys(&plugin);
        let from = plugin.newest().file_stem().unwrap().to_str().unwrap().to_owned();
        if !run_with_fault(&plugin, &["ring", "accept", &from], call, "signal=SIGKILL", when) {
            return false;
        }
        let again = plugin.verb(&["ring", "accept", &from]);
        assert!(
            matches!(again.status.code(), Some(0 | 3)),
            "{at}: {}",
            shown(&again)
        );
        must(&plugin, &["rotate"], &at);
        check(&plugin, &before, &at);
        true
    });
    assert!(tried >= 20, "{tried}");
}

#[test]
fn a_backup_killed_at_any_call_leaves_a_whole_one_or_none() {
    if !can_inject() {
        return;
    }
    let tried = each_point("backup", |call, when| {
        let (plugin, at) = (Plugin::prepared("{}"), format!("{call} at {when}"));
        let backup = plugin.dir.join("backup");
        let path = backup.display().to_string();
        if !run_with_fault(&plugin, &["backup", &path], call, "signal=SIGKILL", when) {
            return false;
        }
        must(&plugin, &["backup", &path], &at);
        must(&plugin, &["backup", "verify", &path], &at);
        true
    });
    assert!(tried >= 20, "{tried}");
}
