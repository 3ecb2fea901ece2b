//! Marks that cannot be verified, and what other generations say beside a mark.

use std::fs;
use std::path::PathBuf;

use kekring::custody::Reason;
use kekring::format::mark::Mark;
use kekring::keyring::lifecycle;
use kekring::keyring::{KeyId, NotServing};

use crate::bench::{Bench, NOW, key, put};

/// Writes the mark anew, under a key that nothing here has, so that it claims and proves nothing.
fn claim(bench: &Bench, change: impl FnOnce(&mut Mark)) {
    let mut mark = bench.open().mark.unwrap();
    change(&mut mark);
    fs::write(bench.path("ring/mark"), mark.encode(&key())).unwrap();
}

fn suspend(bench: &Bench, id: &KeyId, suspended: bool) -> (PathBuf, Vec<u8>) {
    let opened = bench.open();
    let next = lifecycle::suspend(&opened.ring, id, suspended).unwrap();
    bench.custody().commit(&opened, next, NOW).unwrap();
    (bench.newest(), fs::read(bench.newest()).unwrap())
}

#[test]
fn only_a_claim_of_a_newer_generation_that_is_not_here_freezes_the_ring() {
    let claims = |generation: u64, known: bool| {
        let bench = Bench::new();
        bench.rotate();
        claim(&bench, |mark| {
            mark.generation = generation;
            if !known {
                mark.hash = [9; 32];
            }
        });
        bench.open()
    };

    let frozen = claims(3, false);
    let reasons: Vec<_> = frozen.frozen.iter().flat_map(|it| it.reasons()).collect();
    assert_eq!(reasons, [&Reason::BehindMark { used: 3, newest: 2 }]);
    assert!(matches!(
        frozen.refusing,
        Some(NotServing::Unmarked { unread: 3, .. })
    ));
    let named = claims(2, true);
    assert!(named.frozen.is_none() && named.refusing.is_none());
    // What it was cannot be known: it is kept until somebody says that nothing is missing.
    for generation in [2, 1] {
        let strange = claims(generation, false);
        let reasons: Vec<_> = strange.frozen.iter().flat_map(|it| it.reasons()).collect();
        assert_eq!(reasons, [&Reason::StrangeMark], "{generation}");
        assert!(strange.refusing.is_none(), "{generation}");
    }
}

#[test]
fn an_unreadable_generation_counts_where_no_mark_does_and_it_is_newer() {
    let damaged = |number: usize| {
        let bench = Bench::new();
        bench.rotate();
        bench.rotate();
        fs::remove_file(bench.path("ring/mark")).unwrap();
        fs::write(&bench.generations()[number], "rubbish").unwrap();
        bench.open()
    };

    let opened = damaged(2);
    assert!(matches!(
        opened.refusing,
        Some(NotServing::Unmarked { unread: 3, .. })
    ));
    assert!(damaged(0).refusing.is_none() && damaged(1).refusing.is_none());
}

#[test]
fn a_key_that_another_history_resumed_later_is_not_suspended_by_what_the_marked_one_says() {
    let bench = Bench::new();
    bench.rotate();
    let first = bench.open().ring.keys[0].id.clone();
    suspend(&bench, &first, true);
    let mark = fs::read(bench.path("ring/mark")).unwrap();
    let (place, resumed) = suspend(&bench, &first, false);
    fs::remove_file(&place).unwrap();
    fs::write(bench.path("ring/mark"), mark).unwrap();
    bench.rotate();
    bench.rotate();
    assert!(bench.open().mark.unwrap().suspended.contains(&first));
    put(&place, &resumed);

    let opened = bench.open();

    assert!(opened.joined && opened.frozen.is_none(), "{:?}", opened.warnings);
    assert!(!opened.ring.key(&first).unwrap().suspended);
}

#[test]
fn a_key_that_was_resumed_after_the_mark_is_not_suspended_by_it_and_one_of_the_same_generation_is() {
    let resumed = |marked: u64| {
        let bench = Bench::new();
        let first = bench.open().ring.keys[1].id.clone();
        let (gone, _) = suspend(&bench, &first, true);
        suspend(&bench, &first, false);
        fs::remove_file(gone).unwrap();
        fs::remove_file(bench.path("ring/mark")).unwrap();
        let opened = bench.open();
        let mut mark = bench.custody().next_mark(None, &opened, NOW).unwrap();
        (mark.generation, mark.hash, mark.suspended) = (marked, [9; 32], vec![first.clone()]);
        bench.custody().settle(&opened, Some(&mark)).unwrap();
        bench.open().ring.key(&first).unwrap().suspended
    };

    assert!(!resumed(2), "generation 3 has resumed it");
    assert!(resumed(3), "another generation 3 has suspended it");
}
