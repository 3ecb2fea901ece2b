//! Backups put back: yesterday's, a second time, the wrong one.

use std::fs;

use crate::client::Client;
use crate::support::{PATIENCE, Plugin, wait_until};
use crate::tree::{refuses, tree};

/// A server, an object under each of two keys, and a backup from between: the second key was the next one then. The disk
/// is lost right after the rotation.
fn lost_after_a_rotation(plugin: &mut Plugin) -> [kekring::proto::kms::EncryptResponse; 2] {
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let first = client.encrypt(&[1; 32]).unwrap();
    let backup = plugin.dir.join("yesterday");
    assert!(
        plugin
            .verb(&["backup", backup.to_str().unwrap()])
            .status
            .success()
    );
    assert!(plugin.verb(&["rotate"]).status.success());
    assert_ne!(client.key_id(), first.key_id);
    let second = client.encrypt(&[2; 32]).unwrap();
    plugin.kill();
    fs::remove_dir_all(plugin.dir.join("ring")).unwrap();
    [first, second]
}

#[test]
fn a_disk_lost_right_after_a_rotation_and_yesterdays_backup_lose_no_object() {
    let mut plugin = Plugin::prepared("{}");
    let [first, second] = lost_after_a_rotation(&mut plugin);

    let restored = plugin.json(&["restore", plugin.dir.join("yesterday").to_str().unwrap()]);

    let message = restored["message"].to_string();
    assert!(message.contains("if the ring was rotated since"), "{message}");
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    assert_eq!(client.decrypt(&first).unwrap(), [1; 32]);
    assert_eq!(client.decrypt(&second).unwrap(), [2; 32]);
    // The next rotation makes the same key active again, and no other under its name.
    assert!(plugin.verb(&["rotate"]).status.success());
    assert_eq!(client.key_id(), second.key_id);
    let third = client.encrypt(&[3; 32]).unwrap();
    assert_eq!(client.decrypt(&third).unwrap(), [3; 32]);
    assert_eq!(client.decrypt(&second).unwrap(), [2; 32]);
}

#[test]
fn where_the_mirrors_mark_outlived_the_disk_yesterdays_backup_reports_no_older_key() {
    let mut plugin = Plugin::unmade("{}");
    plugin.configure_mirrored(&["root.key"]);
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
    let [first, second] = lost_after_a_rotation(&mut plugin);
    for generation in crate::bench::generations(&plugin.dir.join("mirror")) {
        fs::remove_file(generation).unwrap();
    }

    let backup = plugin.dir.join("yesterday");
    assert!(
        plugin
            .verb(&["restore", backup.to_str().unwrap()])
            .status
            .success()
    );

    plugin.spawn();
    wait_until("Status to say so", PATIENCE, || {
        String::from_utf8_lossy(&plugin.verb(&["probe"]).stderr).contains("below its mark")
    });
    let client = Client::connect(&plugin.socket);
    assert_eq!(client.decrypt(&first).unwrap(), [1; 32]);
    assert_eq!(client.decrypt(&second).unwrap(), [2; 32]);
    let newest = plugin
        .newest()
        .file_stem()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    assert!(plugin.verb(&["ring", "accept", &newest]).status.success());
    assert_eq!(
        client.key_id(),
        second.key_id,
        "it goes on with the key that was in use"
    );
}

#[test]
fn a_backup_that_is_older_damaged_another_rings_or_put_in_twice_changes_nothing() {
    let plugin = Plugin::prepared("{}");
    let path = |name: &str| plugin.dir.join(name).display().to_string();
    assert!(plugin.verb(&["backup", &path("older")]).status.success());
    assert!(plugin.verb(&["rotate"]).status.success());
    let other = Plugin::unmade("{}");
    fs::copy(plugin.dir.join("root.key"), other.dir.join("root.key")).unwrap();
    assert!(other.verb(&["init", "--no-recovery"]).status.success());
    assert!(other.verb(&["backup", &path("anothers")]).status.success());
    let mut bytes = fs::read(path("older")).unwrap();
    bytes[100] ^= 1;
    fs::write(path("damaged"), bytes).unwrap();
    let before = tree(&plugin.dir);

    for _ in 0..2 {
        assert!(plugin.verb(&["restore", &path("older")]).status.success());
        assert_eq!(tree(&plugin.dir), before);
    }

    refuses("damaged", &plugin, &["restore", &path("damaged")], 1, "corrupt");
    refuses(
        "another ring's",
        &plugin,
        &["restore", &path("anothers")],
        3,
        "it is a backup of ring",
    );
}

#[test]
fn a_backup_of_another_ring_does_not_get_in_where_only_a_mark_or_the_configuration_says_which_ring_it_is() {
    let plugin = Plugin::unmade("{}");
    plugin.configure_mirrored(&["root.key"]);
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
    let other = Plugin::unmade("{}");
    fs::copy(plugin.dir.join("root.key"), other.dir.join("root.key")).unwrap();
    assert!(other.verb(&["init", "--no-recovery"]).status.success());
    let backup = plugin.dir.join("anothers").display().to_string();
    assert!(other.verb(&["backup", &backup]).status.success());
    let id = plugin.json(&["status"])["ring"].as_str().unwrap().to_owned();

    for generation in crate::bench::generations(&plugin.dir.join("mirror")) {
        fs::remove_file(generation).unwrap();
    }
    fs::remove_dir_all(plugin.dir.join("ring")).unwrap();
    refuses(
        "the mirror's mark",
        &plugin,
        &["restore", &backup],
        3,
        "names ring",
    );

    fs::remove_dir_all(plugin.dir.join("mirror")).unwrap();
    plugin.configure(&format!("{{ring: {{id: {id}}}}}"));
    refuses("ring.id", &plugin, &["restore", &backup], 3, "names ring");
}
