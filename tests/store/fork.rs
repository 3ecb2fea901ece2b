//! Two histories in one directory: a restored backup, a copied disk, a VM rolled back.

use std::fs;

use kekring::custody::Reason;

use crate::bench::{Bench, NOW, put};

/// A ring whose directory holds two children of generation 1; returns both branches' active keys.
pub fn forked() -> (Bench, Vec<kekring::keyring::KeyId>) {
    let bench = Bench::new();
    let mut active = Vec::new();
    bench.rotate();
    active.push(bench.open().ring.active().unwrap().id.clone());
    active.push(bench.open().ring.pre_active().unwrap().id.clone());
    let aside = bench.path("aside.ring");
    let branch = bench.newest();
    let name = branch.file_name().unwrap().to_owned();
    fs::rename(&branch, &aside).unwrap();
    fs::remove_file(bench.path("ring/mark")).unwrap();
    // The rolled-back ring goes on, and makes another generation 2, and 3.
    bench.rotate();
    bench.rotate();
    active.push(bench.open().ring.active().unwrap().id.clone());
    fs::rename(aside, bench.path("ring").join(name)).unwrap();
    (bench, active)
}

#[test]
fn a_fork_is_joined_without_losing_a_key_and_stored_with_both_parents() {
    let (bench, keys) = forked();

    let opened = bench.open();
    let stored = bench.custody().commit(&opened, opened.ring.clone(), NOW).unwrap();
    let again = bench.open();

    assert!(opened.joined);
    let warnings = opened.warnings.join("\n");
    assert!(
        warnings.contains("two histories of the ring were joined: generation 3"),
        "{warnings}"
    );
    assert_eq!(stored.head.header.parents.len(), 2);
    assert!(!again.joined, "the join is stored and covers both");
    assert_eq!(again.ring.generation, 4);
    for key in &keys {
        assert!(again.keyring().holds(key), "{key}");
    }
    again.ring.check().unwrap();
    assert_eq!(
        again.ring.active().unwrap().id,
        *keys.last().unwrap(),
        "the highest that was ever active"
    );
    bench.rotate();
}

#[test]
fn an_older_generation_that_is_covered_is_no_fork() {
    let bench = Bench::new();
    for _ in 0..3 {
        bench.rotate();
    }
    // A hole in the chain of parents, as damage leaves it.
    fs::remove_file(&bench.generations()[1]).unwrap();

    let opened = bench.open();

    assert!(!opened.joined);
    assert_eq!(opened.ring.generation, 4);
}

#[test]
fn a_join_takes_old_generations_out_and_not_the_history_that_it_joined() {
    let bench = Bench::new();
    bench.rotate();
    let (place, other) = (bench.newest(), fs::read(bench.newest()).unwrap());
    fs::remove_file(&place).unwrap();
    fs::remove_file(bench.path("ring/mark")).unwrap();
    for _ in 0..5 {
        bench.rotate();
    }
    put(&place, &other);
    let before = bench.generations().len();

    bench.custody().store_join(bench.open(), NOW).unwrap();

    assert!(place.exists());
    assert!(
        bench.generations().len() <= before,
        "one came, and the oldest went"
    );
}

#[test]
fn histories_are_joined_for_what_they_hold_where_a_reported_key_is_in_neither() {
    let (bench, keys) = forked();
    let stored = bench.generations().into_iter();
    let stored: Vec<_> = stored.map(|path| (fs::read(&path).unwrap(), path)).collect();
    for _ in 0..4 {
        bench.rotate();
    }
    let reported = bench.open().ring.active().unwrap().id.clone();
    for path in bench.generations() {
        fs::remove_file(path).unwrap();
    }
    for (bytes, path) in stored {
        put(&path, &bytes);
    }

    let opened = bench.open();

    let reasons: Vec<_> = opened.frozen.iter().flat_map(|it| it.reasons()).collect();
    assert!(reasons.contains(&&Reason::Lost(reported)), "{reasons:?}");
    assert!(opened.joined);
    for key in &keys {
        assert!(opened.keyring().holds(key), "{key}");
    }
}
