//! Who holds one root of several, or can write the ring's files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kekring::custody::Custody;
use kekring::keyring::KeyId;
use kekring::proto::ring::Header;
use kekring::store::{Backup, FileStore};

use crate::bench::{NOW, file_root};
use crate::forged::forged;
use crate::support::Plugin;
use crate::tree::refuses;

fn header(plugin: &Plugin) -> Header {
    let bytes = fs::read(plugin.newest()).unwrap();
    let mut found = Header::default();
    forged(&bytes, |_, header| found = header.clone());
    found
}

/// Two rings, made under one root.
fn two_rings() -> (Plugin, Plugin) {
    let one = Plugin::prepared("{}");
    let other = Plugin::unmade("{}");
    fs::copy(one.dir.join("root.key"), other.dir.join("root.key")).unwrap();
    assert!(other.verb(&["init", "--no-recovery"]).status.success());
    (one, other)
}

#[test]
fn a_slot_of_another_ring_under_the_same_root_does_not_open_this_one() {
    let (one, other) = two_rings();
    let (theirs, newest) = (header(&one), other.newest());
    let good = fs::read(&newest).unwrap();
    type Change<'a> = (&'a str, Box<dyn Fn(&mut Header)>, &'a str);
    let changes: [Change; 4] = [
        (
            "in its place",
            boxed(&theirs, |mine, it| mine.slots = it.slots),
            "wrong root",
        ),
        (
            "under the id of its own",
            boxed(&theirs, |mine, it| {
                mine.slots[0].sealed.clone_from(&it.slots[0].sealed);
            }),
            "wrong root",
        ),
        (
            "before its own",
            boxed(&theirs, |mine, it| mine.slots.insert(0, it.slots[0].clone())),
            "tampered",
        ),
        (
            "with its ring's name",
            boxed(&theirs, |mine, it| {
                (mine.slots, mine.ring_id) = (it.slots, it.ring_id);
            }),
            "tampered: its root slots hold another ring key",
        ),
    ];

    for (form, change, says) in changes {
        fs::write(&newest, forged(&good, |_, header| change(header))).unwrap();

        refuses(form, &other, &["rotate"], 1, says);
    }

    fs::write(&newest, good).unwrap();
    assert!(other.verb(&["rotate"]).status.success());
}

fn boxed(theirs: &Header, change: fn(&mut Header, Header)) -> Box<dyn Fn(&mut Header)> {
    let theirs = theirs.clone();
    Box::new(move |mine| change(mine, theirs.clone()))
}

/// The keys of a generation that this root opens by itself.
pub fn opened_by(root: &Path, file: &Path) -> Option<Vec<KeyId>> {
    let custody = Custody {
        calls: Default::default(),
        store: Box::new(FileStore::new(PathBuf::from("/nowhere"), None)),
        roots: vec![file_root(root)],
        machine: None,
        shared: false,
        development: false,
        expected: None,
        writer: [3; 16],
    };
    let opened = custody.open_backup(&Backup::read(file).ok()?, None, NOW).ok()?;
    Some(opened.ring.keys.iter().map(|key| key.id.clone()).collect())
}

#[test]
fn everything_that_a_removed_root_still_opens_is_on_the_list() {
    let plugin = Plugin::unmade("{}");
    fs::create_dir(plugin.dir.join("mirror")).unwrap();
    fs::set_permissions(plugin.dir.join("mirror"), fs::Permissions::from_mode(0o700)).unwrap();
    plugin.configure_mirrored(&["root.key", "second.key"]);
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
    let path = |name: &str| plugin.dir.join(name);
    let back_up = |name: &str| {
        assert!(
            plugin
                .verb(&["backup", path(name).to_str().unwrap()])
                .status
                .success()
        );
    };
    back_up("backup-1");
    assert!(plugin.verb(&["rotate"]).status.success());
    back_up("backup-2");
    assert!(plugin.verb(&["rotate"]).status.success());
    fs::create_dir(path("snapshot")).unwrap();
    fs::copy(plugin.newest(), path("snapshot/newest")).unwrap();
    let slot = plugin.json(&["root", "list"])["slots"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();

    let removed = plugin.json(&["root", "remove", &slot, "--rotate"]);

    let (mut opens, mut keys) = (Vec::new(), BTreeSet::new());
    for below in crate::tree::tree(&plugin.dir).keys() {
        if let Some(held) = opened_by(&path("root.key"), &path(below)) {
            opens.push(below.clone());
            keys.extend(held);
        }
    }
    assert_eq!(opens, ["backup-1", "backup-2", "snapshot/newest"]);
    let list: Vec<&str> = removed["unreachable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    assert!(
        list[0].starts_with("the backup of generation 2, made "),
        "{list:?}"
    );
    let range = format!("{} to {}", keys.first().unwrap(), keys.last().unwrap());
    assert!(
        list[1].starts_with("every other backup") && list[1].ends_with(&range),
        "{range}: {list:?}"
    );
    assert!(list[2].starts_with("snapshots of the disks"), "{list:?}");
    let active = removed["generation"].as_u64().unwrap();
    assert!(
        active > 4,
        "the active key was replaced by one that the root never saw"
    );
    let now = plugin.json(&["status"])["active"].as_str().unwrap().to_owned();
    assert!(keys.iter().all(|key| key.as_str() != now), "{now}");
}
