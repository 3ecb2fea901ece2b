//! Nothing is deleted but what the durable ring is proven to have: not by a removal, not in the mirror, not by number.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kekring::custody::{CommitError, Custody, Opened};
use kekring::format::covered::Durable;
use kekring::keyring::ring::Ring;
use kekring::keyring::{KeyId, RingKeyId, lifecycle};
use kekring::root::RootKey;
use kekring::store::{FileStore, RingStore};

use crate::bench::{Bench, NOW, file_root, generations, key, put};
use crate::between::Between;
use crate::forged::{HONEST, of_a_stranger};

/// Names and bytes of generations.
type Files = Vec<(String, Vec<u8>)>;

fn keys(opened: &Opened) -> BTreeSet<KeyId> {
    opened.ring.keys.iter().map(|key| key.id.clone()).collect()
}

fn second(bench: &Bench) -> PathBuf {
    let path = bench.path("second.key");
    put(&path, &[7; 32]);
    path
}

/// A mirrored ring with two roots, and a history of it that went on elsewhere before the first root was removed here.
fn parted() -> (Bench, Custody, Files, BTreeSet<KeyId>) {
    let bench = Bench::mirrored();
    let second = second(&bench);
    let both = bench
        .custody()
        .add_slots(&bench.open(), &[file_root(&second)], NOW)
        .unwrap();
    let elsewhere = bench.path("elsewhere");
    let store = FileStore::new(elsewhere.clone(), None);
    store.create_directories().unwrap();
    put(&elsewhere.join(&both.head.name), &both.head.bytes);
    let there = Custody {
        calls: Default::default(),
        store: Box::new(store),
        ..bench.custody()
    };
    let mut opened = there.open(None, NOW).unwrap();
    for _ in 0..5 {
        let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
        opened = there.commit(&opened, next, NOW).unwrap();
    }
    let files = generations(&elsewhere).into_iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap())
    });
    let files = files.collect();
    let here = bench.open();
    let roots = [file_root(&bench.path("root.key")), file_root(&second)];
    let roots: Vec<&dyn RootKey> = roots.iter().map(AsRef::as_ref).collect();
    let gone = [here.head.header.slots[0].id];
    bench.custody().remove_slots(&here, &gone, &roots, NOW).unwrap();
    let custody = bench.custody_with(vec![file_root(&second)]);
    (bench, custody, files, keys(&opened))
}

fn write_all(dir: &Path, files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        put(&dir.join(name), bytes);
    }
}

#[test]
fn finishing_a_removal_deletes_no_history_that_holds_keys_which_the_ring_lacks() {
    for place in ["ring", "mirror"] {
        let (bench, custody, files, theirs) = parted();
        write_all(&bench.path(place), &files);

        let opened = custody.open(None, NOW).unwrap();
        custody.finish_removal(&opened, NOW).unwrap();
        for _ in 0..8 {
            let opened = custody.open(None, NOW).unwrap();
            let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
            custody.commit(&opened, next, NOW).unwrap();
        }

        let left = keys_in(&bench.path(place), &custody);
        assert!(theirs.is_subset(&left), "{place}: {:?}", theirs.difference(&left));
    }
}

/// Every key in every generation of a directory that the roots open.
fn keys_in(dir: &Path, custody: &Custody) -> BTreeSet<KeyId> {
    let mut all = BTreeSet::new();
    for path in generations(dir) {
        let backup = kekring::store::Backup::read(&path).unwrap();
        if let Ok(opened) = custody.open_backup(&backup, None, NOW) {
            all.extend(keys(&opened));
        }
    }
    all
}

#[test]
fn a_join_that_is_in_memory_alone_deletes_nothing() {
    let bench = Bench::new();
    bench.rotate();
    let (place, other) = (bench.newest(), fs::read(bench.newest()).unwrap());
    fs::remove_file(&place).unwrap();
    fs::remove_file(bench.path("ring/mark")).unwrap();
    bench.rotate();
    put(&place, &other);
    let opened = bench.open();
    assert!(opened.joined);

    let refused = bench.custody().finish_removal(&opened, NOW).unwrap_err();

    assert!(matches!(refused, CommitError::NotStored), "{refused}");
    assert!(place.exists());
    // Nor is there a proof for it: the stored head does not say what the other history says.
    let durable = Durable::read(&opened.head.bytes, &opened.ring_key).unwrap();
    let theirs = kekring::format::generation::parse(&other).unwrap();
    let ring = theirs.open(&opened.ring_key).unwrap().ring;
    assert!(
        durable
            .covers("gen", theirs.hash, &ring, opened.lineage())
            .is_none()
    );
}

#[test]
fn what_does_not_open_here_stays_in_the_mirror_however_many_rotations_come() {
    let bench = Bench::mirrored();
    bench.rotate();
    let other = Bench::new();
    let strangers = fs::read(other.newest()).unwrap();
    let stays = [
        ("gen-1-aaaaaaaa.ring", strangers),
        ("gen-2-bbbbbbbb.ring", b"garbage".to_vec()),
    ];
    for (name, bytes) in &stays {
        put(&bench.path("mirror").join(name), bytes);
    }

    for _ in 0..8 {
        bench.rotate();
    }

    for (name, bytes) in &stays {
        assert_eq!(
            fs::read(bench.path("mirror").join(name)).unwrap(),
            *bytes,
            "{name}"
        );
    }
    let own = generations(&bench.path("mirror")).len();
    assert_eq!(own, stays.len() + 5, "and of what the ring wrote there, five");
}

#[test]
fn a_deletion_takes_the_very_bytes_and_no_others_of_that_name() {
    let bench = Bench::new();
    bench.rotate();
    let opened = bench.open();
    let older = &bench.generations()[0];
    let stored = kekring::format::generation::parse(&fs::read(older).unwrap()).unwrap();
    let ring = stored.open(&opened.ring_key).unwrap().ring;
    let durable = Durable::read(&opened.head.bytes, &opened.ring_key).unwrap();
    let name = older.file_name().unwrap().to_str().unwrap();
    let proof = durable
        .covers(name, stored.hash, &ring, opened.lineage())
        .unwrap();
    fs::write(older, b"other bytes").unwrap();

    bench.store().remove(std::slice::from_ref(&proof), &[]).unwrap();

    assert_eq!(fs::read(older).unwrap(), b"other bytes");
}

#[test]
fn nothing_is_deleted_for_the_sake_of_a_head_that_is_not_there() {
    let bench = Bench::mirrored();
    let second = second(&bench);
    let both = bench
        .custody()
        .add_slots(&bench.open(), &[file_root(&second)], NOW)
        .unwrap();
    let root = file_root(&second);
    let gone = [both.head.header.slots[0].id];
    bench
        .custody()
        .remove_slots(&both, &gone, &[root.as_ref()], NOW)
        .unwrap();
    // The removal broke off: what the removed root opens is there yet, and the ring has all of it.
    let older = bench.path("ring").join(&both.head.name);
    put(&older, &both.head.bytes);
    let custody = bench.custody_with(vec![root]);
    let opened = custody.open(None, NOW).unwrap();
    let head = bench.path("ring").join(&opened.head.name);
    let without = Custody {
        store: Box::new(Between {
            store: bench.store(),
            load: Box::new(move |store| {
                let _ = fs::remove_file(&head);
                store.load()
            }),
            save: Box::new(|_| Ok(())),
        }),
        ..bench.custody_with(vec![file_root(&second)])
    };

    without.finish_removal(&opened, NOW).unwrap();
    assert!(older.exists());

    custody.finish_removal(&opened, NOW).unwrap();
    assert!(!older.exists());
}

#[test]
fn what_lies_beside_the_ring_is_told_by_what_it_is() {
    let (bench, custody, files, _) = parted();
    let head = custody.open(None, NOW).unwrap().head.bytes;
    let (stranger, bytes) = of_a_stranger(&head, 2, 1, HONEST);
    for place in ["ring", "mirror"] {
        put(&bench.path(place).join(&stranger), &bytes);
        put(&bench.path(place).join("gen-1-bbbbbbbb.ring"), b"garbage");
    }
    write_all(&bench.path("ring"), &files);
    let opened = custody.open(None, NOW).unwrap();

    let beside = custody.beside(&opened);

    let path = |place: &str, name: &str| bench.path(place).join(name).display().to_string();
    // Damage in the ring's own directory is told by an opening already.
    let mut unopened = beside.unopened;
    unopened.sort();
    assert_eq!(
        unopened,
        [
            path("mirror", "gen-1-bbbbbbbb.ring"),
            path("mirror", &stranger),
            path("ring", &stranger),
        ]
    );
    assert!(!beside.passed.is_empty());
    for (covered, place) in &beside.covered {
        assert!(place.ends_with(covered.name()), "{place}");
    }
}

#[test]
fn what_a_durable_head_covers_depends_on_the_ring_key_the_number_and_the_keys() {
    let (bench, custody, files, _) = parted();
    let head = custody.open(None, NOW).unwrap();
    let durable = Durable::read(&head.head.bytes, &head.ring_key).unwrap();
    let replaced = head.ring.replaced[0];
    let covers = |ring: &Ring, key: RingKeyId| durable.covers("a name", [9; 32], ring, key);

    // Under its own ring key: up to its own number.
    let same = covers(&head.ring, head.lineage()).unwrap();
    assert!(same.is_by(&head.head.bytes) && !same.is_by(b"other bytes"));
    let later = Ring {
        generation: head.ring.generation + 1,
        ..head.ring.clone()
    };
    assert!(covers(&later, head.lineage()).is_none());
    // Under one that it replaced: whatever the number, where it has every key.
    assert!(covers(&later, replaced).is_some());
    put(&bench.path("longer"), &files.last().unwrap().1);
    let backup = kekring::store::Backup::read(&bench.path("longer")).unwrap();
    let longer = custody.open_backup(&backup, None, NOW).unwrap();
    assert!(covers(&longer.ring, replaced).is_none());
    // Under any other one: never.
    assert!(covers(&head.ring, RingKeyId([9; 16])).is_none());
}

#[test]
fn what_a_change_broke_off_before_it_was_tidied_is_tidied_when_it_is_settled() {
    let bench = Bench::new();
    let first = (bench.newest(), fs::read(bench.newest()).unwrap());
    for _ in 0..5 {
        bench.rotate();
    }
    assert_eq!(bench.generations().len(), 5);
    put(&first.0, &first.1);
    let opened = bench.open();

    bench.custody().settle(&opened, None).unwrap();
    assert!(first.0.exists(), "nothing goes before the mark is there");
    bench.custody().settle(&opened, opened.mark.as_ref()).unwrap();

    assert!(!first.0.exists());
    assert_eq!(bench.generations().len(), 5);
}
