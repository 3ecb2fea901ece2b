//! What a restore refuses, keeps and looks at.

use std::fs;

use kekring::custody::{CommitError, Custody, Opened, Restored};
use kekring::format::mark::Mark;
use kekring::keyring::lifecycle;
use kekring::keyring::members::{self, NodeName};
use kekring::store::{Backup, FileStore};

use crate::bench::{Bench, NOW, file_root, put};
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

/// What a restore of `bytes` does to a ring, and what it opens as then.
fn restored(bench: &Bench, bytes: &[u8]) -> (Restored, Opened) {
    let path = bench.path("a.backup");
    let _ = fs::remove_file(&path);
    Backup::write(&path, bytes).unwrap();
    let backup = Backup::read(&path).unwrap();
    let (custody, here) = (bench.custody(), bench.open());
    let copy = custody.open_backup(&backup, None, NOW).unwrap();
    let done = custody.restore(Some(&here), &copy, &backup, NOW).unwrap();
    (done, bench.open())
}

#[test]
fn a_backup_under_the_rings_own_ring_key_is_put_in_where_the_ring_lacks_any_of_it() {
    let bench = Bench::new();
    let first = bench.open().head.bytes;
    bench.rotate();
    let second = bench.open().head.bytes;

    // The ring has all of an older one, and of itself.
    for bytes in [&first, &second] {
        assert_eq!(restored(&bench, bytes).0, Restored::Nothing);
    }
    // What comes now is put back each time.
    let mark = fs::read(bench.path("ring/mark")).unwrap();
    let put_back = || {
        fs::remove_file(bench.newest()).unwrap();
        fs::write(bench.path("ring/mark"), &mark).unwrap();
    };
    let here = bench.open();
    let same = lifecycle::successor(&here.ring).unwrap();
    let same = bench.custody().commit(&here, same, NOW).unwrap().head;
    put_back();
    let other = bench.rotate().head;
    put_back();

    let (done, opened) = restored(&bench, &same.bytes);
    assert_eq!((done, opened.head.hash), (Restored::Put, same.hash));
    put_back();
    // Another history of the same number.
    bench.rotate();
    let (done, opened) = restored(&bench, &other.bytes);
    assert_eq!((done, opened.joined), (Restored::Put, true));
}

#[test]
fn a_suspension_outlives_that_a_ring_goes_over_to_a_backup() {
    let (here, over) = gone_over(|custody, here| {
        let first = here.ring.keys[0].id.clone();
        let next = lifecycle::suspend(&here.ring, &first, true).unwrap();
        custody.commit(&here, next, NOW).unwrap()
    });

    let [first, second] = [0, 1].map(|at: usize| over.ring.key(&here.ring.keys[at].id).unwrap());
    assert_eq!((first.suspended, first.suspension), (true, over.ring.generation));
    assert_eq!((second.suspended, second.suspension), (false, 0));
}

#[test]
fn the_ring_that_is_missing_is_named_by_its_own_mark_or_else_by_the_mirrors() {
    let bench = Bench::mirrored();
    let id = bench.open().ring.id;
    let other = Bench::new();
    fs::copy(other.path("ring/mark"), bench.path("ring/mark")).unwrap();
    let named = || bench.custody().marked_ring().unwrap();

    assert_eq!(named(), Some(other.open().ring.id));
    fs::remove_file(bench.path("ring/mark")).unwrap();
    assert_eq!(named(), Some(id));
    fs::remove_file(bench.path("mirror/mark")).unwrap();
    assert_eq!(named(), None);
}
