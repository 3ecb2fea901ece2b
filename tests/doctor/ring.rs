//! The ring.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kekring::crypto::secret::Key32;
use kekring::custody::Custody;
use kekring::keyring::ring::{Key, Ring};
use kekring::keyring::{KeyId, lifecycle};
use kekring::root::{PathConfig, RootConfig};
use kekring::store::FileStore;
use kekring::telemetry::now;
use serde_json::json;

use crate::support::shown;
use crate::world::{Node, mode};

#[test]
fn one_slot_is_one_way_back_and_the_remedy_makes_a_second() {
    let node = Node::good();
    let good = node.doctor();
    let one = Node::good();
    fs::remove_dir_all(one.path("ring")).unwrap();
    fs::remove_dir_all(one.path("mirror")).unwrap();
    one.configure(json!({"ring": {"roots": [{"file": {"path": one.path("root.key")}}]}}));
    one.must(&["init", "--no-recovery"]);
    one.must(&["backup", one.path("backup-2").to_str().unwrap()]);

    let finding = one.doctor().only(&good, "warning", "ring/slots");
    one.follow(&finding, one.path("code").to_str().unwrap());

    one.doctor().no_worse(&good);
}

#[test]
fn a_ring_without_a_backup_gets_one_by_the_remedy() {
    let node = Node::good();
    let good = node.doctor();
    fs::remove_file(node.path("ring/backup")).unwrap();
    let finding = node.doctor().only(&good, "warning", "ring/backup");

    node.follow(&finding, node.path("another-backup").to_str().unwrap());

    node.doctor().no_worse(&good);
    node.must(&["rotate", "--timeout", "0s"]);
    let finding = node.doctor().only(&good, "warning", "ring/backup");
    assert!(finding.message.contains("lacks key"), "{finding:?}");
}

#[test]
fn what_lies_among_its_files_is_listed_by_its_kind() {
    let node = Node::good();
    let good = node.doctor();
    let cases = [
        ("ring/.tmp-abc", "ring/unfinished"),
        ("mirror/.tmp-abc", "ring/unfinished"),
        ("ring/GEN-1-00000000.RING", "ring/lookalike"),
        ("ring/gen-01-00000000.ring", "ring/lookalike"),
        ("ring/gen-1-0000000.ring", "ring/lookalike"),
        ("ring/gen-1-00000000.ring.bak", "ring/lookalike"),
        ("mirror/Mark", "ring/lookalike"),
        ("ring/notes.txt", "ring/foreign"),
        ("ring/lost+found", "ring/foreign"),
    ];

    for (name, id) in cases {
        fs::write(node.path(name), "").unwrap();
        mode(&node.path(name), 0o600);
        let finding = node.doctor().only(&good, "warning", id);
        assert_eq!(finding.subject, node.path(name).display().to_string());
        fs::remove_file(node.path(name)).unwrap();
    }

    // As the remedy has it, the next change takes away what one before left.
    for place in ["ring", "mirror"] {
        fs::write(node.path(place).join(".tmp-abc"), "").unwrap();
    }
    node.must(&["rotate", "--timeout", "0s"]);
    node.must(&["backup", node.path("backup-2").to_str().unwrap()]);
    node.doctor().no_worse(&good);
}

#[test]
fn a_root_that_opens_nothing_is_named_and_the_remedy_gives_it_a_slot() {
    let node = Node::good();
    let good = node.doctor();
    fs::write(node.path("third.key"), [7; 32]).unwrap();
    mode(&node.path("third.key"), 0o600);
    let roots =
        ["root.key", "second.key", "third.key"].map(|name| json!({"file": {"path": node.path(name)}}));
    node.configure(json!({"ring": {"roots": roots}}));
    let finding = node.doctor().only(&good, "failure", "ring/root");
    assert!(finding.subject.ends_with("third.key"), "{finding:?}");

    node.follow(&finding, "");

    node.doctor().no_worse(&good);
}

#[test]
fn a_ring_of_another_machine_is_named_and_the_remedy_adopts_it() {
    let node = Node::good();
    let good = node.doctor();
    fs::write(node.path("machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    node.configure(json!({"node": {"machineIdFile": node.path("machine-id")}}));
    let finding = node.doctor().only(&good, "failure", "ring/machine");

    node.follow(&finding, "");
    node.must(&["backup", node.path("backup-2").to_str().unwrap()]);

    node.doctor().no_worse(&good);
}

#[test]
fn a_suspended_key_is_named_and_the_remedy_resumes_it() {
    let node = Node::good();
    let first = node.plugin.json(&["status"])["active"]
        .as_str()
        .unwrap()
        .to_owned();
    node.must(&["rotate", "--timeout", "0s"]);
    node.must(&["backup", node.path("backup-2").to_str().unwrap()]);
    let good = node.doctor();
    node.must(&["keys", "suspend", &first]);
    let finding = node.doctor().only(&good, "warning", "ring/suspended");
    assert_eq!(finding.subject, first);

    node.follow(&finding, "");

    node.doctor().no_worse(&good);
}

#[test]
fn a_rotation_that_waits_for_an_operator_is_named_and_the_remedy_finishes_it() {
    let node = Node::good();
    node.must(&["rotate", "--prepare"]);
    node.must(&["backup", node.path("backup-2").to_str().unwrap()]);
    let finding = node.doctor().finding("warning", "ring/rotation");

    node.follow(&finding, "");

    node.doctor().finding("ok", "ring/rotation");
}

#[test]
fn a_ring_that_does_not_open_or_is_frozen_is_a_failure_with_what_to_do() {
    let node = Node::good();
    node.configure(json!({"ring": {"mirror": null}}));
    node.must(&["rotate", "--timeout", "0s"]);
    let good = node.doctor();
    let newest = node.plugin.newest();
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();

    let seen = node.doctor();

    let frozen = seen.finding("failure", "ring/frozen");
    assert!(frozen.remedy.contains("restore") && seen.code == 1, "{frozen:?}");
    seen.finding("failure", "ring/serves");
    seen.finding("warning", "ring/copies");
    fs::write(&newest, &bytes).unwrap();
    node.doctor().no_worse(&good);
    fs::remove_file(node.path("root.key")).unwrap();
    fs::remove_file(node.path("second.key")).unwrap();
    let seen = node.doctor();
    let closed = seen.finding("failure", "ring/opens");
    assert!(closed.remedy.contains("recovery code"), "{closed:?}");
}

#[test]
fn a_mark_that_is_missing_is_worth_a_word() {
    let node = Node::good();
    let good = node.doctor();
    fs::remove_file(node.path("ring/mark")).unwrap();
    fs::remove_file(node.path("mirror/mark")).unwrap();

    let finding = node.doctor().only(&good, "warning", "ring/copies");

    assert!(finding.message.contains("the mark is missing"), "{finding:?}");
}

#[test]
fn a_ring_that_grows_too_fast_is_named() {
    let node = Node::good();
    for _ in 0..11 {
        node.must(&["rotate", "--timeout", "0s"]);
    }

    let finding = node.doctor().finding("warning", "ring/growth");

    assert!(finding.message.contains("within a day"), "{finding:?}");
}

/// A ring with so many keys, the newest among them.
fn fill(node: &Node, keys: u64) {
    let path = node.path("root.key");
    let custody = Custody {
        calls: Arc::default(),
        store: Box::new(FileStore::new(node.path("ring"), Some(node.path("mirror")))),
        roots: vec![RootConfig::File(PathConfig { path }).build()],
        machine: fs::read_to_string("/etc/machine-id").ok(),
        shared: false,
        development: false,
        expected: None,
        writer: [9; 16],
    };
    let opened = custody.open(None, now()).unwrap();
    let mut next = lifecycle::activate(&opened.ring, Key32::generate().unwrap(), now()).unwrap();
    let newest = next.keys.split_off(1);
    for sequence in 2..keys {
        next.keys.push(renamed(&next, &next.keys[0], sequence));
    }
    for (sequence, key) in (keys..).zip(&newest) {
        let material = Arc::clone(&key.material);
        next.keys.push(Key {
            id: KeyId::derive(next.id, sequence, &material),
            ..key.clone()
        });
    }
    custody.commit(&opened, next, now()).unwrap();
}

fn renamed(ring: &Ring, like: &Key, sequence: u64) -> Key {
    let material = Arc::new(Key32::generate().unwrap());
    Key {
        id: KeyId::derive(ring.id, sequence, &material),
        material,
        ..like.clone()
    }
}

#[test]
fn a_ring_that_becomes_full_is_named_with_the_time_that_is_left() {
    let node = Node::good();
    let good = node.doctor();
    assert!(good.finding("ok", "ring/room").message.contains("less than half"));
    fill(&node, 9000);

    let finding = node.doctor().finding("warning", "ring/room");
    let status = node.plugin.json(&["status"])["warnings"].to_string();

    for said in [finding.message, status] {
        assert!(said.contains("% of what rotations may use, with 900"), "{said}");
        assert!(said.contains("they end in"), "{said}");
    }
}

#[test]
fn a_removal_that_broke_off_is_named_and_the_remedy_finishes_it() {
    let node = Node::good();
    let roots = |name: &str| json!({"ring": {"roots": [{"file": {"path": node.path(name)}}]}});
    let slots = node.plugin.json(&["root", "list"])["slots"].clone();
    let second = slots
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"].as_str().unwrap().ends_with("second.key"))
        .unwrap();
    let older = node.plugin.newest();
    let bytes = fs::read(&older).unwrap();
    node.configure(roots("root.key"));
    node.must(&["root", "remove", second["id"].as_str().unwrap()]);
    node.must(&["backup", node.path("backup-2").to_str().unwrap()]);
    let good = node.doctor();
    // It was cut off before the older generation was taken away.
    fs::write(&older, bytes).unwrap();
    mode(&older, 0o600);
    node.configure(json!({}));
    let seen = node.doctor();
    let finding = seen.finding("warning", "ring/half-removed");
    node.configure(roots("root.key"));

    node.follow(&finding, "");

    assert!(!older.exists());
    node.doctor().no_worse(&good);
}

/// A node whose second root was removed, and a history that went on under the ring key of before with that root.
fn with_a_history_under_the_replaced_ring_key() -> (Node, PathBuf) {
    let node = Node::good();
    let second = node.plugin.json(&["root", "list"])["slots"][1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let other = node.path("other");
    fs::create_dir(&other).unwrap();
    mode(&other, 0o700);
    let older = node.plugin.newest();
    let copy = other.join(older.file_name().unwrap());
    fs::copy(&older, &copy).unwrap();
    mode(&copy, 0o600);
    node.must(&["root", "remove", &second]);
    node.must(&["backup", node.path("backup-2").to_str().unwrap()]);
    let roots = |name: &str| json!([{"file": {"path": node.path(name)}}]);
    node.configure(
        json!({"ring": {"store": {"file": {"dir": other}}, "mirror": "", "roots": roots("second.key")}}),
    );
    node.must(&["rotate"]);
    node.must(&["rotate"]);
    node.configure(json!({"ring": {"roots": roots("root.key")}}));
    let newest = newest_in(&other);
    let place = node.path("ring").join(newest.file_name().unwrap());
    fs::copy(&newest, &place).unwrap();
    mode(&place, 0o600);
    (node, place)
}

fn newest_in(dir: &Path) -> PathBuf {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path());
    let mut generations: Vec<PathBuf> = names
        .filter(|path| path.extension().is_some_and(|it| it == "ring"))
        .collect();
    generations.sort();
    generations.pop().unwrap()
}

#[test]
fn a_generation_under_a_replaced_ring_key_is_named_and_the_remedies_take_it_in_and_then_away() {
    let (node, place) = with_a_history_under_the_replaced_ring_key();
    let seen = node.doctor();
    let finding = seen.finding("warning", "ring/passed-over");
    assert!(
        finding.message.contains("was active there"),
        "{}",
        finding.message
    );
    let status = node.plugin.json(&["status"])["warnings"].to_string();
    assert!(status.contains("only it has keys"), "{status}");
    assert!(!seen.findings.iter().any(|it| it.id == "ring/half-removed"));

    node.follow(&finding, "");

    assert!(place.exists(), "what was taken in is not deleted");
    let keys = node.plugin.json(&["keys", "list"]);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 4);
    let seen = node.doctor();
    assert!(!seen.findings.iter().any(|it| it.id == "ring/passed-over"));
    node.follow(&seen.finding("warning", "ring/leftover"), "");
    assert!(!place.exists());
    assert!(!node.doctor().findings.iter().any(|it| it.id == "ring/leftover"));
}

#[test]
fn what_opens_with_no_ring_key_at_hand_is_named_and_never_said_to_be_spare() {
    let node = Node::good();
    let place = node.path("mirror/gen-1-00112233.ring");
    fs::write(&place, "nobody knows").unwrap();
    mode(&place, 0o600);

    let finding = node.doctor().finding("warning", "ring/unopened");

    assert!(finding.remedy.contains("delete nothing"), "{}", finding.remedy);
    assert!(!finding.remedy.contains("rm "), "{}", finding.remedy);
}

#[test]
fn a_slot_that_another_history_removed_is_named_and_the_remedy_removes_it() {
    let node = Node::good();
    let roots = |names: &[&str]| -> serde_json::Value {
        names
            .iter()
            .map(|name| json!({"file": {"path": node.path(name)}}))
            .collect()
    };
    node.configure(json!({"ring": {"roots": roots(&["root.key", "second.key", "third.key"])}}));
    node.must(&["root", "add"]);
    let slots = node.plugin.json(&["root", "list"])["slots"].clone();
    let slot = |at: usize| slots[at]["id"].as_str().unwrap().to_owned();
    let other = node.path("other");
    fs::create_dir(&other).unwrap();
    mode(&other, 0o700);
    let older = node.plugin.newest();
    for path in [older.clone(), node.path("ring/mark")] {
        let copy = other.join(path.file_name().unwrap());
        fs::copy(&path, &copy).unwrap();
        mode(&copy, 0o600);
    }
    node.must(&["root", "remove", &slot(1)]);
    let there = json!({"store": {"file": {"dir": other}}, "mirror": "",
        "roots": roots(&["root.key", "second.key", "third.key"])});
    node.configure(json!({"ring": there}));
    node.must(&["root", "remove", &slot(0)]);
    node.configure(json!({"ring": {"roots": roots(&["root.key", "third.key"])}}));
    let newest = newest_in(&other);
    let place = node.path("ring").join(newest.file_name().unwrap());
    fs::copy(&newest, &place).unwrap();
    mode(&place, 0o600);
    let finding = node.doctor().finding("failure", "ring/removal");
    let refused = node.plugin.verb(&["rotate"]);
    assert_eq!(refused.status.code(), Some(3), "{}", shown(&refused));
    node.configure(json!({"ring": {"roots": roots(&["third.key"])}}));

    node.follow(&finding, "");

    assert!(!node.doctor().findings.iter().any(|it| it.id == "ring/removal"));
    node.must(&["rotate"]);
}
