//! What a restore refuses, keeps and looks at.

use std::fs;

use kekring::custody::{CommitError, Custody, Opened};
use kekring::format::mark::Mark;
use kekring::keyring::members::{self, NodeName};
use kekring::store::FileStore;

use crate::bench::{NOW, file_root, put};
use crate::forged::{HONEST, of_a_stranger};
use crate::replaced::Removed;

#[test]
fn nothing_is_taken_into_a_frozen_ring() {
    let removed = Removed::new();
    let (files, _) = removed.forged(2);
    let custody = removed.custody();
    let (_, copy) = removed.copy_of(&custody, &files.last().unwrap().1);
    put(&removed.bench.path("ring/mark"), b"garbage");
    let frozen = removed.open();

    let refused = custody.take_in(&frozen, &copy, NOW).map(drop);

    assert!(matches!(refused, Err(CommitError::Frozen(_))), "{refused:?}");
}

/// The ring as it was before a removal, on this machine, and the backup from after it that it goes over to.
fn gone_over(change: impl FnOnce(&Custody, Opened) -> Opened) -> (Opened, Opened) {
    let removed = Removed::new();
    let newer = removed.open();
    let dir = removed.bench.path("before");
    let before = Custody {
        machine: Some("here".into()),
        ..removed.custody_of(&dir, &["second.key"])
    };
    FileStore::new(dir, None).create_directories().unwrap();
    before
        .put_backup(&removed.backup("old.backup", &removed.old))
        .unwrap();
    let adopted = before.adopt(&before.open(None, NOW).unwrap(), NOW).unwrap();
    let here = change(&before, adopted);
    let (_, copy) = removed.copy_of(&removed.custody(), &newer.head.bytes);
    let over = before.go_over(&here, &copy, NOW).unwrap();
    (here, over)
}

#[test]
fn a_ring_that_goes_over_to_a_backup_stays_on_its_machine() {
    let (here, over) = gone_over(|_, here| here);

    assert!(here.ring.machine.is_some());
    assert_eq!(over.ring.machine, here.ring.machine);
}

#[test]
fn a_ring_that_goes_over_to_a_backup_knows_its_nodes() {
    let name: NodeName = "cp-1".parse().unwrap();
    let (_, over) = gone_over(|custody, here| {
        let next = members::register(&here.ring, &name, [1; 16]).unwrap();
        custody.commit(&here, next, NOW).unwrap()
    });

    assert!(members::find(&over.ring.members, &name).is_some());
}

/// A mirrored ring from before a removal, as the removed root opens what newer ones lie there.
fn half_unreadable() -> (Removed, Custody, Opened) {
    let removed = Removed::new();
    removed.rotate();
    let custody = Custody {
        store: Box::new(removed.bench.store()),
        ..removed
            .bench
            .custody_with(vec![file_root(&removed.bench.path("root.key"))])
    };
    let (_, copy) = removed.copy_of(&custody, &removed.old);
    (removed, custody, copy)
}

#[test]
fn what_no_root_opens_in_the_mirror_is_not_the_rings_to_move() {
    let (removed, custody, copy) = half_unreadable();
    let before = custody.unreadable(&copy).unwrap();
    let newest = removed.open().head;
    let (name, bytes) = of_a_stranger(&newest.bytes, newest.header.generation + 1, 1, HONEST);
    put(&removed.bench.path("mirror").join(name), &bytes);

    assert_eq!(custody.unreadable(&copy).unwrap(), before);
}

#[test]
fn the_number_of_an_unreadable_generation_counts_unless_it_is_far_off() {
    let highest = |number: u64| {
        let (removed, custody, copy) = half_unreadable();
        let (name, bytes) = of_a_stranger(&removed.open().head.bytes, number, 1, HONEST);
        put(&removed.bench.path("ring").join(&name), &bytes);
        let unreadable = custody.unreadable(&copy).unwrap();
        assert!(unreadable.names.contains(&name), "{unreadable:?}");
        unreadable.highest
    };
    let (removed, _, copy) = half_unreadable();
    let far = copy.ring.generation + 1_000_000;

    assert_eq!(highest(far), far);
    assert_eq!(highest(far + 1), removed.open().ring.generation);
    assert_eq!(highest(2), removed.open().ring.generation);
}

#[test]
fn a_mark_is_unreadable_where_it_lies_in_the_rings_directory_under_another_ring_key() {
    let (removed, custody, copy) = half_unreadable();
    let unreadable = |bytes: Option<Vec<u8>>| {
        let path = removed.bench.path("ring/mark");
        match bytes {
            Some(bytes) => put(&path, &bytes),
            None => fs::remove_file(&path).unwrap(),
        }
        custody.unreadable(&copy).unwrap().mark
    };
    let ours = Mark::of(&copy.ring, copy.head.hash, NOW).unwrap();

    assert!(unreadable(Some(b"garbage".to_vec())));
    assert!(!unreadable(Some(ours.encode(&copy.ring_key))));
    // That of the mirror is under the later ring key all the while.
    assert!(!unreadable(None));
}
