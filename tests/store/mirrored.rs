//! What a mirror is good for: the very generation that a mark names, where the ring's own directory lacks it.

use std::fs;
use std::path::PathBuf;

use kekring::custody::{OpenError, Opened};
use kekring::keyring::{RingId, lifecycle};

use crate::bench::{Bench, NOW, generations, key, put};

/// A mirrored ring of generation 3.
fn rotated() -> (Bench, Opened) {
    let bench = Bench::mirrored();
    bench.rotate();
    bench.rotate();
    let opened = bench.open();
    (bench, opened)
}

/// Empties the ring's own directory.
fn lose(bench: &Bench) {
    for path in bench.generations() {
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(bench.path("ring/mark")).unwrap();
}

fn in_mirror(bench: &Bench, opened: &Opened) -> PathBuf {
    bench.path("mirror").join(&opened.head.name)
}

fn refusal(bench: &Bench) -> OpenError {
    bench.custody().open(None, NOW).map(drop).unwrap_err()
}

#[test]
fn a_lost_directory_is_brought_back_from_what_the_mirrors_mark_names() {
    let (bench, newest) = rotated();
    lose(&bench);

    let opened = bench.open();

    assert_eq!(opened.head.hash, newest.head.hash);
    assert_eq!(opened.mark.as_ref().unwrap().hash, newest.head.hash);
    assert!(
        opened.frozen.is_none() && opened.refusing.is_none(),
        "{:?}",
        opened.warnings
    );
}

#[test]
fn a_lost_directory_is_not_brought_back_by_a_mark_that_does_not_verify() {
    let (bench, newest) = rotated();
    let forged = newest.mark.unwrap().encode(&key());
    lose(&bench);
    put(&bench.path("mirror/mark"), &forged);

    let refused = refusal(&bench);

    assert!(matches!(refused, OpenError::RingGone(_)), "{refused}");
}

#[test]
fn a_lost_directory_whose_mirror_no_root_opens_says_which_roots_were_tried() {
    let (bench, _) = rotated();
    lose(&bench);
    put(&bench.path("root.key"), &[7; 32]);

    let refused = refusal(&bench);

    assert!(matches!(refused, OpenError::Roots { .. }), "{refused}");
}

/// A ring whose directory was put back to generation 2, with its mark then; the mirror was not.
fn put_back() -> (Bench, Opened) {
    let bench = Bench::mirrored();
    bench.rotate();
    let mark = fs::read(bench.path("ring/mark")).unwrap();
    let newest = bench.rotate();
    fs::remove_file(bench.newest()).unwrap();
    fs::write(bench.path("ring/mark"), mark).unwrap();
    (bench, newest)
}

#[test]
fn a_directory_that_was_put_back_goes_on_from_what_the_mirrors_mark_names() {
    let (bench, newest) = put_back();

    let opened = bench.open();

    assert_eq!(opened.head.hash, newest.head.hash);
    assert!(
        opened.frozen.is_none() && opened.refusing.is_none(),
        "{:?}",
        opened.warnings
    );
    assert_eq!(bench.rotate().ring.generation, 4);
}

#[test]
fn without_the_mirrors_mark_a_newer_generation_in_the_mirror_is_nobodys_word() {
    for forged in [false, true] {
        let (bench, newest) = put_back();
        match forged {
            true => put(&bench.path("mirror/mark"), &newest.mark.unwrap().encode(&key())),
            false => fs::remove_file(bench.path("mirror/mark")).unwrap(),
        }

        assert_eq!(bench.open().ring.generation, 2);
    }
}

#[test]
fn other_bytes_under_the_name_that_a_mark_gives_are_not_what_it_names() {
    let (bench, newest) = rotated();
    // A sound generation of the very ring, that nobody marked.
    let next = lifecycle::activate(&newest.ring, key(), NOW).unwrap();
    let other = Bench::mirrored();
    for dir in ["ring", "mirror"] {
        for path in generations(&other.path(dir)) {
            fs::remove_file(path).unwrap();
        }
    }
    for name in ["root.key", "ring/mark", "mirror/mark"] {
        fs::copy(bench.path(name), other.path(name)).unwrap();
    }
    for path in bench.generations() {
        let name = path.file_name().unwrap();
        put(&other.path("ring").join(name), &fs::read(&path).unwrap());
    }
    let elsewhere = other.custody().commit(&other.open(), next, NOW).unwrap();
    fs::remove_file(bench.newest()).unwrap();
    put(&in_mirror(&bench, &newest), &elsewhere.head.bytes);

    let opened = bench.open();

    assert_eq!(opened.ring.generation, 2);
    assert!(opened.frozen.is_some(), "this node has used generation 3");
}

#[test]
fn what_the_rings_own_mark_names_is_taken_from_a_mirror_without_a_mark() {
    let (bench, newest) = rotated();
    fs::remove_file(bench.newest()).unwrap();
    fs::remove_file(bench.path("mirror/mark")).unwrap();

    let opened = bench.open();

    assert_eq!(opened.head.hash, newest.head.hash);
    assert!(opened.frozen.is_none(), "{:?}", opened.frozen);
}

#[test]
fn another_rings_mark_brings_nothing_of_that_ring_out_of_the_mirror() {
    let (bench, ours) = rotated();
    let other = Bench::new();
    // One root opens both.
    fs::copy(bench.path("root.key"), other.path("root.key")).unwrap();
    for path in other.generations() {
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(other.path("ring/mark")).unwrap();
    let ring = lifecycle::create(RingId([9; 16]), key(), key(), NOW);
    let made = other.custody().create(ring, &[], NOW).unwrap();
    fs::copy(other.path("ring/mark"), bench.path("ring/mark")).unwrap();
    put(&in_mirror(&bench, &made), &made.head.bytes);

    let opened = bench.open();

    assert_eq!(opened.head.hash, ours.head.hash);
    assert!(!opened.keyring().holds(&made.ring.keys[0].id));
}
