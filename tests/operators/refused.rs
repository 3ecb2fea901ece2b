//! Worlds in which a ring must not be changed, and every verb that would change it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::forged::of_a_newer_kekring;
use crate::support::{PATIENCE, Plugin, wait_until};
use crate::tree::{refuses, tree};

/// What happened, how it is made, and how each verb ends.
type World = (&'static str, fn(&Plugin), i32, &'static str);
const WORLDS: [World; 8] = [
    (
        "the directory was copied to a second machine",
        |it| fs::write(it.dir.join("machine-id"), "another\n").unwrap(),
        3,
        "made on another machine",
    ),
    (
        "the machine has lost its id",
        |it| fs::remove_file(it.dir.join("machine-id")).unwrap(),
        3,
        "machine's id cannot be read",
    ),
    (
        "the newest generation is gone",
        |it| fs::remove_file(it.newest()).unwrap(),
        3,
        "",
    ),
    (
        "the newest generation is damaged",
        |it| fs::write(it.newest(), "rubbish").unwrap(),
        3,
        "",
    ),
    (
        "the program was downgraded",
        |it| {
            let newer = of_a_newer_kekring(&fs::read(it.newest()).unwrap());
            let path = it.dir.join("ring/gen-9-00112233.ring");
            fs::write(&path, newer).unwrap();
            chmod(&path, 0o600);
        },
        3,
        "needs a reader of version 2 or later",
    ),
    (
        "the configuration names another ring",
        |it| configure(it, json!({"ring": {"id": "00112233445566778899aabbccddeeff"}})),
        3,
        "is not the expected ring",
    ),
    (
        "the root is another one",
        |it| fs::write(it.dir.join("root.key"), [9; 32]).unwrap(),
        1,
        "wrong root",
    ),
    (
        "others can read the root",
        |it| chmod(&it.dir.join("root.key"), 0o644),
        3,
        "has mode 0644",
    ),
];

fn configure(plugin: &Plugin, over: serde_json::Value) {
    // The second root is configured and not made: `root add` would make it.
    let roots = ["root.key", "second.key"].map(|name| json!({"file": {"path": plugin.dir.join(name)}}));
    let mut config = json!({
        "node": {"machineIdFile": plugin.dir.join("machine-id")},
        "ring": {"roots": roots},
        "rotation": {"period": "1s", "allowShort": true},
    });
    crate::support::merge(&mut config, over);
    plugin.configure(&config.to_string());
}

/// A ring of two generations, with a second root in its configuration that has no slot.
fn ring() -> Plugin {
    let plugin = Plugin::unmade("{}");
    fs::write(plugin.dir.join("machine-id"), "one\n").unwrap();
    configure(&plugin, json!({}));
    let second = plugin.dir.join("second.key");
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
    let slots = plugin.json(&["root", "list"]);
    let slot = slots["slots"][1]["id"].as_str().unwrap();
    assert!(plugin.verb(&["root", "remove", slot]).status.success());
    fs::remove_file(second).unwrap();
    assert!(plugin.verb(&["rotate"]).status.success());
    plugin
}

#[test]
fn where_a_ring_must_not_be_changed_every_verb_refuses_and_changes_nothing() {
    for (world, make, code, says) in WORLDS {
        let plugin = ring();
        let next = plugin.json(&["status"])["next"].as_str().unwrap().to_owned();
        let slot = plugin.json(&["root", "list"])["slots"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        make(&plugin);

        for verb in [
            &["rotate"][..],
            &["rotate", "--fresh"],
            &["rotate", "--prepare"],
            &["keys", "suspend", &next],
            &["root", "add"],
            &["root", "remove", &slot],
        ] {
            refuses(world, &plugin, verb, code, says);
        }
    }
}

#[test]
fn where_a_ring_must_not_be_changed_a_server_whose_rotation_is_due_changes_nothing() {
    for (world, make, _, says) in WORLDS {
        let mut plugin = ring();
        make(&plugin);
        let before = tree(&plugin.dir);

        plugin.spawn();
        let cause = if says.is_empty() { "hint: " } else { says };
        wait_until(world, PATIENCE, || plugin.log().contains(cause));
        // The reloader has taken its step by now; one more is asked for.
        plugin.signal(rustix::process::Signal::HUP);
        wait_until(world, PATIENCE, || {
            plugin.log().contains("reading the ring again")
        });
        let log = plugin.log();
        assert!(plugin.stop().success());

        assert_eq!(tree(&plugin.dir), before, "{world}: {log}");
    }
}

#[test]
fn a_downgraded_program_says_which_version_it_needs_and_the_newer_one_finds_everything_in_place() {
    let mut plugin = ring();
    let newest = plugin.newest();
    let good = fs::read(&newest).unwrap();
    for entry in fs::read_dir(plugin.dir.join("ring")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "ring") {
            fs::write(&path, of_a_newer_kekring(&fs::read(&path).unwrap())).unwrap();
        }
    }
    let before = tree(&plugin.dir);

    plugin.spawn();
    let says = |says: &str| {
        let probe = plugin.verb(&["probe"]);
        String::from_utf8_lossy(&probe.stderr).contains(says)
    };
    wait_until("Status to say so", PATIENCE, || {
        says("needs a reader of version 2 or later")
    });

    assert_eq!(tree(&plugin.dir), before);
    fs::write(&newest, good).unwrap();
    wait_until("the ring to be served", PATIENCE, || {
        plugin.verb(&["probe", "--round-trip"]).status.success()
    });
}

fn chmod(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
