//! What a running server takes from its store, and what it does not.

use std::fs;
use std::path::{Path, PathBuf};

use kekring::custody::Custody;
use kekring::keyring::lifecycle;
use kekring::keyring::ring::UnixTime;
use rustix::process::Signal;

use crate::client::Client;
use crate::ring::{commit_rotation, custody, sealed_under};
use crate::support::{PATIENCE, Plugin, wait_until};

fn generations(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|it| it == "ring"))
        .collect()
}

fn remove_generations(plugin: &Plugin) {
    for path in generations(&plugin.dir.join("ring")) {
        fs::remove_file(path).unwrap();
    }
}

/// Has the server read its ring again, and waits for what it says of it.
fn read_again(plugin: &Plugin, says: &str) {
    plugin.signal(Signal::HUP);
    wait_until(says, PATIENCE, || plugin.log().contains(says));
}

/// Another generation with the same keys.
fn commit_successor(custody: &Custody) {
    let opened = custody.open(None, UnixTime(1)).unwrap();
    let next = lifecycle::successor(&opened.ring).unwrap();
    custody.commit(&opened, next, UnixTime(1)).unwrap();
}

#[test]
fn an_older_generation_never_replaces_a_newer_one() {
    let mut plugin = Plugin::prepared("{}");
    let first = generations(&plugin.dir.join("ring")).remove(0);
    commit_successor(&custody(&plugin));
    plugin.serve();

    for path in generations(&plugin.dir.join("ring")) {
        if path != first {
            fs::remove_file(path).unwrap();
        }
    }

    read_again(
        &plugin,
        "the ring in memory is kept: the store went back to generation 1 from 2",
    );
    assert!(plugin.verb(&["probe", "--round-trip"]).status.success());
}

#[test]
fn a_ring_that_lacks_a_key_never_replaces_one_that_has_it() {
    let mut plugin = Plugin::prepared("{}");
    let custody = custody(&plugin);
    let before = commit_rotation(&custody);
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let sealed = sealed_under(&before, &before.keys[0]);

    let opened = custody.open(None, UnixTime(1)).unwrap();
    let mut next = lifecycle::successor(&opened.ring).unwrap();
    next.keys.remove(0);
    custody.commit(&opened, next, UnixTime(1)).unwrap();
    for path in generations(&plugin.dir.join("ring")) {
        if !path.to_str().unwrap().contains("gen-3-") {
            fs::remove_file(path).unwrap();
        }
    }

    read_again(&plugin, &format!("the store's ring lacks key {}", sealed.key_id));
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
}

#[test]
fn another_ring_in_the_same_place_never_replaces_the_one_that_is_served() {
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let key_id = client.key_id();
    let other = Plugin::unmade("{}");
    fs::copy(plugin.dir.join("root.key"), other.dir.join("root.key")).unwrap();
    assert!(other.verb(&["init", "--no-recovery"]).status.success());

    remove_generations(&plugin);
    for path in generations(&other.dir.join("ring")) {
        let name = path.file_name().unwrap();
        fs::copy(&path, plugin.dir.join("ring").join(name)).unwrap();
    }

    read_again(&plugin, "the ring in memory is kept: the store now holds ring");
    assert_eq!(client.key_id(), key_id);
    assert!(plugin.verb(&["probe", "--round-trip"]).status.success());
}

#[test]
fn what_another_process_wrote_is_used_only_once_the_mirror_holds_it() {
    let mut plugin = Plugin::unmade("{}");
    let (mirror, away) = (plugin.dir.join("mirror"), plugin.dir.join("away"));
    plugin.configure(&format!("{{ring: {{mirror: {}}}}}", mirror.display()));
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let key_id = client.key_id();
    fs::rename(&mirror, &away).unwrap();

    // This writer knows of no mirror.
    let next = commit_rotation(&custody(&plugin))
        .active()
        .unwrap()
        .id
        .to_string();
    read_again(&plugin, "the ring in memory is kept: ");
    assert_eq!(client.key_id(), key_id);

    fs::rename(&away, &mirror).unwrap();
    plugin.signal(Signal::HUP);
    wait_until("the new key", PATIENCE, || client.key_id() == next);
    assert_eq!(generations(&mirror).len(), 2);
}

#[test]
fn a_mark_that_is_missing_is_written_at_the_start() {
    let mut plugin = Plugin::prepared("{}");
    let mark = plugin.dir.join("ring/mark");
    fs::remove_file(&mark).unwrap();

    plugin.serve();

    assert!(mark.exists(), "before the key is reported");
}

#[test]
fn two_histories_are_joined_and_the_join_is_stored() {
    let mut plugin = Plugin::prepared("{}");
    let custody = custody(&plugin);
    let one = commit_rotation(&custody);
    let branch = generations(&plugin.dir.join("ring"))
        .into_iter()
        .find(|path| path.to_str().unwrap().contains("gen-2-"))
        .unwrap();
    let aside = plugin.dir.join("aside");
    fs::rename(&branch, &aside).unwrap();
    fs::remove_file(plugin.dir.join("ring/mark")).unwrap();
    commit_rotation(&custody);
    let other = commit_rotation(&custody);
    fs::rename(&aside, &branch).unwrap();

    plugin.serve();

    let client = Client::connect(&plugin.socket);
    wait_until("the join to be stored", PATIENCE, || {
        let opened = custody.open(None, UnixTime(1)).unwrap();
        !opened.joined && opened.ring.generation == 4
    });
    for (ring, key) in [(&one, one.active().unwrap()), (&other, other.active().unwrap())] {
        assert_eq!(client.decrypt(&sealed_under(ring, key)).unwrap(), [7; 32]);
    }
}
