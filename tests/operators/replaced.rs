//! Removed roots, and what is under the ring key that their removal replaced: with a server that runs, and by verbs alone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kekring::proto::kms::EncryptResponse;
use kekring::proto::ring::Mark;
use prost::Message;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::attacker::opened_by;
use crate::bench::generations;
use crate::client::Client;
use crate::forged::of_a_newer_kekring;
use crate::support::{PATIENCE, Plugin, kekring, shown, wait_until};

/// A mirrored ring with two roots.
fn with_two_roots() -> Plugin {
    let plugin = Plugin::unmade("{}");
    plugin.configure_mirrored(&["root.key", "second.key"]);
    must(&plugin, &["init", "--no-recovery"]);
    plugin
}

#[track_caller]
fn must(plugin: &Plugin, args: &[&str]) {
    let output = plugin.verb(args);
    assert!(output.status.success(), "{args:?}: {}", shown(&output));
}

fn path(plugin: &Plugin, name: &str) -> String {
    plugin.dir.join(name).display().to_string()
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Copies the generations of a directory into another.
fn copy_all(from: &Path, to: &Path) {
    for path in generations(from) {
        copy(&path, &to.join(path.file_name().unwrap()));
    }
}

/// Removes the root that is called so, with a rotation after it where `further` says so.
fn remove(plugin: &Plugin, root: &str, further: &[&str]) {
    let slots = plugin.json(&["root", "list"])["slots"].clone();
    let called = |slot: &&Value| slot["name"].as_str().unwrap().ends_with(root);
    let id = slots.as_array().unwrap().iter().find(called).unwrap()["id"].clone();
    must(
        plugin,
        &[&["root", "remove", id.as_str().unwrap()], further].concat(),
    );
}

fn roots(plugin: &Plugin) -> Vec<String> {
    let slots = plugin.json(&["root", "list"])["slots"].clone();
    let name = |slot: &Value| slot["name"].as_str().unwrap().to_owned();
    slots.as_array().unwrap().iter().map(name).collect()
}

fn keys(plugin: &Plugin) -> Vec<String> {
    let keys = plugin.json(&["keys", "list"])["keys"].clone();
    let name = |key: &Value| key["id"].as_str().unwrap().to_owned();
    keys.as_array().unwrap().iter().map(name).collect()
}

/// The marks in the ring's directory and in the mirror are one again: whatever lay there was read and put right.
fn read_again(plugin: &Plugin) {
    plugin.signal(Signal::HUP);
    let mark = |dir| fs::read(plugin.dir.join(dir).join("mark")).unwrap_or_default();
    wait_until("the ring to be read again", PATIENCE, || {
        let mark = mark("ring");
        !mark.is_empty() && mark == fs::read(plugin.dir.join("mirror/mark")).unwrap_or_default()
    });
}

/// What the server decrypts.
#[track_caller]
fn all_decrypt(client: &Client, seeds: &[(EncryptResponse, Vec<u8>)]) {
    for (sealed, plain) in seeds {
        assert_eq!(client.decrypt(sealed).unwrap(), *plain, "{}", sealed.key_id);
    }
}

/// Seals something under the active key, rotates, and so on; the server runs meanwhile.
fn seal_and_rotate(plugin: &mut Plugin, rotations: u8) -> Vec<(EncryptResponse, Vec<u8>)> {
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let mut seeds = Vec::new();
    for at in 0..=rotations {
        if at > 0 {
            must(plugin, &["rotate"]);
        }
        seeds.push((client.encrypt(&[at; 32]).unwrap(), vec![at; 32]));
    }
    drop(client);
    assert!(plugin.stop().success());
    seeds
}

fn lose_the_disk(plugin: &Plugin) {
    fs::remove_dir_all(plugin.dir.join("ring")).unwrap();
    fs::rename(plugin.dir.join("mirror"), plugin.dir.join("unmounted")).unwrap();
}

/// The commands that the doctor tells for this finding, as it prints them.
fn remedies(plugin: &Plugin, id: &str) -> Vec<String> {
    let output = plugin.verb(&["doctor", "-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let told = findings.iter().filter(|it| it["id"] == id);
    told.map(|it| it["remedy"].as_str().unwrap().to_owned()).collect()
}

/// Does all that the doctor tells about what lies beside the ring, until it tells nothing new. A removal can end with what
/// it has left, which it tells of.
fn follow_the_doctor(plugin: &Plugin) -> BTreeSet<String> {
    let mut followed = BTreeSet::new();
    let told = || ["ring/half-removed", "ring/passed-over", "ring/unopened"].map(|id| remedies(plugin, id));
    while let Some(command) = told().concat().into_iter().find(|it| !followed.contains(it)) {
        let typed = command.split('`').nth(1).expect("a command");
        // The roots of the configuration are tried by themselves.
        let words = typed
            .split(' ')
            .skip(1)
            .filter(|it| !["--open-with", "-"].contains(it));
        let output = kekring(&words.collect::<Vec<_>>()).output().unwrap();
        let is_removal = typed.contains("root remove");
        assert!(
            output.status.success() || is_removal,
            "{typed}: {}",
            shown(&output)
        );
        followed.insert(command);
    }
    followed
}

/// Somebody who has kept a root of this ring and its newest generation, and goes on from there.
fn stolen(plugin: &Plugin) -> Plugin {
    let attacker = Plugin::unmade("{}");
    copy(&plugin.dir.join("root.key"), &attacker.dir.join("root.key"));
    fs::create_dir(attacker.dir.join("ring")).unwrap();
    fs::set_permissions(attacker.dir.join("ring"), fs::Permissions::from_mode(0o700)).unwrap();
    let newest = plugin.newest();
    copy(
        &newest,
        &attacker.dir.join("ring").join(newest.file_name().unwrap()),
    );
    attacker
}

#[test]
fn a_removed_root_with_the_mirror_in_its_hands_takes_nothing_back_from_a_server() {
    let mut plugin = with_two_roots();
    let attacker = stolen(&plugin);
    plugin.serve();
    remove(&plugin, "root.key", &["--rotate"]);
    assert!(plugin.stop().success());
    plugin.configure_mirrored(&["second.key"]);
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    for _ in 0..20 {
        must(&attacker, &["rotate"]);
    }
    let theirs = keys(&attacker);

    copy_all(&attacker.dir.join("ring"), &plugin.dir.join("mirror"));
    copy(&attacker.dir.join("ring/mark"), &plugin.dir.join("mirror/mark"));
    read_again(&plugin);

    let untouched = |client: &Client| {
        assert_eq!(client.key_id(), sealed.key_id);
        assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
        assert!(roots(&plugin).iter().all(|name| !name.ends_with("root.key")));
        let ours = keys(&plugin);
        let new: Vec<_> = theirs.iter().filter(|id| ours.contains(id)).collect();
        assert!(
            new.len() <= 2,
            "of his keys only those of before the removal: {new:?}"
        );
    };
    untouched(&client);
    drop(client);
    assert!(plugin.stop().success());
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    assert_eq!(client.key_id(), sealed.key_id);
    for _ in 0..2 {
        must(&plugin, &["rotate"]);
        assert_eq!(opened_by(&plugin.dir.join("root.key"), &plugin.newest()), None);
    }
    assert!(!theirs.contains(&client.key_id()));
    assert!(plugin.stop().success());
}

#[test]
fn a_restore_of_a_longer_backup_from_before_a_removal_brings_its_keys_back_and_not_the_root() {
    let mut plugin = with_two_roots();
    must(&plugin, &["backup", &path(&plugin, "low")]);
    let seeds = seal_and_rotate(&mut plugin, 6);
    must(&plugin, &["backup", &path(&plugin, "high")]);
    lose_the_disk(&plugin);
    must(&plugin, &["restore", &path(&plugin, "low")]);
    remove(&plugin, "root.key", &["--rotate"]);
    plugin.configure_mirrored(&["second.key"]);
    let active = plugin.json(&["status"])["active"].clone();

    must(&plugin, &["restore", &path(&plugin, "high")]);

    assert!(roots(&plugin).iter().all(|name| !name.ends_with("root.key")));
    assert_eq!(plugin.json(&["status"])["active"], active, "the active key stays");
    assert_eq!(opened_by(&plugin.dir.join("root.key"), &plugin.newest()), None);
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    assert_eq!(json!(client.key_id()), active);
    all_decrypt(&client, &seeds);
    assert!(plugin.stop().success());
}

/// A lost history with seeds under each of its keys, and the ring as it was made again from an older backup and then lost a
/// root.
fn made_again() -> (Plugin, Vec<(EncryptResponse, Vec<u8>)>) {
    let mut plugin = with_two_roots();
    must(&plugin, &["backup", &path(&plugin, "low")]);
    let seeds = seal_and_rotate(&mut plugin, 4);
    lose_the_disk(&plugin);
    must(&plugin, &["restore", &path(&plugin, "low")]);
    remove(&plugin, "root.key", &[]);
    (plugin, seeds)
}

#[test]
fn a_history_that_is_put_in_by_hand_after_a_removal_survives_whatever_the_doctor_tells() {
    let (mut plugin, seeds) = made_again();
    copy_all(&plugin.dir.join("unmounted"), &plugin.dir.join("ring"));

    let followed = follow_the_doctor(&plugin);
    assert!(followed.iter().any(|it| it.contains(" restore ")), "{followed:?}");

    plugin.serve();
    all_decrypt(&Client::connect(&plugin.socket), &seeds);
    assert!(plugin.stop().success());
}

#[test]
fn a_mirror_that_is_mounted_again_under_a_running_server_survives_whatever_the_doctor_tells() {
    let (mut plugin, seeds) = made_again();
    plugin.configure_mirrored(&["second.key"]);
    plugin.serve();
    must(&plugin, &["rotate"]);
    let lost: Vec<PathBuf> = generations(&plugin.dir.join("unmounted"));
    copy_all(&plugin.dir.join("unmounted"), &plugin.dir.join("mirror"));
    copy(
        &plugin.dir.join("unmounted/mark"),
        &plugin.dir.join("mirror/mark"),
    );
    read_again(&plugin);

    for _ in 0..5 {
        must(&plugin, &["rotate"]);
    }
    let newest = lost.last().unwrap().file_name().unwrap();
    assert!(plugin.dir.join("mirror").join(newest).exists());
    let followed = follow_the_doctor(&plugin);
    assert!(followed.iter().any(|it| it.contains(" restore ")), "{followed:?}");

    all_decrypt(&Client::connect(&plugin.socket), &seeds);
    assert!(plugin.stop().success());
}

#[test]
fn what_only_a_root_in_the_vault_opens_stays_in_the_mirror_until_it_is_brought() {
    let mut plugin = with_two_roots();
    must(&plugin, &["backup", &path(&plugin, "low")]);
    remove(&plugin, "second.key", &[]);
    plugin.configure_mirrored(&["root.key"]);
    let seeds = seal_and_rotate(&mut plugin, 4);
    lose_the_disk(&plugin);
    plugin.configure_mirrored(&["second.key"]);
    must(&plugin, &["restore", &path(&plugin, "low")]);
    plugin.configure_mirrored(&["root.key", "second.key"]);
    remove(&plugin, "root.key", &[]);
    plugin.configure_mirrored(&["second.key"]);
    copy_all(&plugin.dir.join("unmounted"), &plugin.dir.join("mirror"));

    for _ in 0..8 {
        must(&plugin, &["rotate"]);
    }

    let unopened = remedies(&plugin, "ring/unopened").join("\n");
    assert!(
        unopened.contains("delete nothing") && !unopened.contains("rm "),
        "{unopened}"
    );
    plugin.configure_mirrored(&["second.key", "root.key"]);
    let newest = generations(&plugin.dir.join("unmounted")).pop().unwrap();
    let there = plugin.dir.join("mirror").join(newest.file_name().unwrap());
    must(&plugin, &["restore", there.to_str().unwrap()]);
    plugin.serve();
    all_decrypt(&Client::connect(&plugin.socket), &seeds);
    assert!(plugin.stop().success());
}

#[test]
fn garbage_in_the_mirror_freezes_no_ring_whatever_number_its_name_has() {
    let plugin = with_two_roots();
    let garbage = plugin.dir.join("mirror/gen-18446744073709551614-00000000.ring");
    fs::write(&garbage, "garbage\n").unwrap();

    let status = plugin.json(&["status"]);
    must(&plugin, &["rotate"]);
    must(&plugin, &["rotate", "--fresh"]);

    assert_eq!(status["frozen"].as_str().unwrap_or_default(), "", "{status}");
    let accept = plugin.verb(&["ring", "accept"]);
    assert_eq!(accept.status.code(), Some(3), "{}", shown(&accept));
    assert!(garbage.exists());
}

#[test]
fn a_strangers_mark_or_a_newer_format_in_the_mirror_stops_no_start_and_no_rotation() {
    let other = Plugin::prepared("{}");
    for form in [
        "another ring's mark",
        "garbage for a mark",
        "a newer mark",
        "a newer format",
    ] {
        let mut plugin = with_two_roots();
        let mark = plugin.dir.join("mirror/mark");
        match form {
            "another ring's mark" => copy(&other.dir.join("ring/mark"), &mark),
            "garbage for a mark" => fs::write(&mark, "garbage").unwrap(),
            "a newer mark" => {
                let mut newer = Mark::decode(&*fs::read(&mark).unwrap()).unwrap();
                newer.version += 1;
                fs::write(&mark, newer.encode_to_vec()).unwrap();
            }
            _ => {
                let newer = of_a_newer_kekring(&fs::read(plugin.newest()).unwrap());
                let place = plugin.dir.join("mirror/gen-9-00000000.ring");
                fs::write(&place, newer).unwrap();
                fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
            }
        }

        plugin.serve();
        let client = Client::connect(&plugin.socket);
        let sealed = client.encrypt(&[3; 32]).unwrap();
        must(&plugin, &["rotate"]);

        assert_ne!(client.key_id(), sealed.key_id, "{form}");
        assert_eq!(client.decrypt(&sealed).unwrap(), [3; 32], "{form}");
        let marks = ["ring/mark", "mirror/mark"].map(|name| fs::read(plugin.dir.join(name)).unwrap());
        assert_eq!(marks[0], marks[1], "{form}");
        assert!(plugin.stop().success());
    }
}
