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

#[test]
fn a_claim_counts_near_the_ring_and_in_its_own_directory() {
    let frozen = |place: &str, generation: u64| {
        let bench = Bench::mirrored();
        bench.rotate();
        let mut mark = bench.open().mark.unwrap();
        (mark.generation, mark.hash) = (generation, [9; 32]);
        for there in ["ring", "mirror"] {
            fs::remove_file(bench.path(there).join("mark")).unwrap();
        }
        put(&bench.path(place).join("mark"), &mark.encode(&key()));
        let behind = |it: &&Reason| matches!(it, Reason::BehindMark { .. });
        let opened = bench.open();
        opened
            .frozen
            .iter()
            .flat_map(|it| it.reasons())
            .filter(behind)
            .count()
            == 1
    };

    assert!(frozen("ring", 3) && frozen("ring", 1_000_002));
    assert!(!frozen("ring", 1_000_003));
    assert!(!frozen("mirror", 3));
}

#[test]
fn of_several_unreadable_generations_and_no_mark_the_highest_near_one_is_told() {
    let unread = |numbers: &[u64]| {
        let bench = Bench::new();
        fs::remove_file(bench.path("ring/mark")).unwrap();
        for number in numbers {
            let name = format!("gen-{number}-00000000.ring");
            put(&bench.path("ring").join(name), b"rubbish");
        }
        match bench.open().refusing {
            Some(NotServing::Unmarked { unread, .. }) => Some(unread),
            _ => None,
        }
    };

    assert_eq!(unread(&[3, 2]), Some(3));
    assert_eq!(unread(&[2, 1_000_001]), Some(1_000_001));
    assert_eq!(unread(&[2, 1_000_002]), Some(2));
    assert_eq!(unread(&[1_000_002]), None);
}

#[test]
fn what_any_valid_mark_names_is_authenticated_and_unreadable_generations_near_it_count() {
    let bench = Bench::mirrored();
    bench.rotate();
    let opened = bench.open();
    let mut mark = opened.mark.clone().unwrap();
    mark.generation = 500_000;
    put(&bench.path("mirror/mark"), &mark.encode(&opened.ring_key));
    put(&bench.path("ring/gen-1500000-00000000.ring"), b"rubbish");
    put(&bench.path("ring/gen-1500001-00000000.ring"), b"rubbish");

    let frozen = bench.open().frozen.unwrap();

    let damaged = frozen.reasons().filter_map(|it| match it {
        Reason::Damaged { generation, .. } => Some(*generation),
        _ => None,
    });
    assert_eq!(damaged.collect::<Vec<_>>(), [1_500_000]);
}

#[test]
fn a_strange_mark_is_told_beside_a_generation_that_cannot_be_read() {
    let bench = Bench::new();
    bench.rotate();
    claim(&bench, |mark| mark.hash = [9; 32]);
    put(&bench.path("ring/gen-3-00000000.ring"), b"rubbish");

    let frozen = bench.open().frozen.unwrap();

    let reasons: Vec<_> = frozen.reasons().collect();
    assert!(
        matches!(
            reasons[..],
            [Reason::Damaged { generation: 3, .. }, Reason::StrangeMark]
        ),
        "{reasons:?}"
    );
}

#[test]
fn a_damaged_mark_that_names_the_parent_of_what_is_here_is_no_strangers() {
    let bench = Bench::new();
    bench.rotate();
    let before = fs::read(bench.path("ring/mark")).unwrap();
    bench.rotate();
    fs::write(bench.path("ring/mark"), &before).unwrap();
    claim(&bench, |_| {});
    // The generation that it names is gone, and stands in the newest one's header alone.
    fs::remove_file(&bench.generations()[1]).unwrap();

    assert!(bench.open().frozen.is_none());
}

#[test]
fn what_the_marked_generation_says_itself_is_suspended_can_be_resumed_by_another_history_of_lower_numbers() {
    let bench = Bench::new();
    bench.rotate();
    let first = bench.open().ring.keys[0].id.clone();
    let (place, common) = suspend(&bench, &first, true);
    for _ in 0..3 {
        bench.rotate();
    }
    let (marked, mark) = (bench.newest(), fs::read(bench.path("ring/mark")).unwrap());
    let bytes = fs::read(&marked).unwrap();
    for path in bench.generations() {
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(bench.path("ring/mark")).unwrap();
    put(&place, &common);
    suspend(&bench, &first, false);
    for _ in 0..3 {
        bench.rotate();
    }
    put(&marked, &bytes);
    fs::write(bench.path("ring/mark"), mark).unwrap();

    let opened = bench.open();

    let mark = opened.mark.as_ref().unwrap();
    assert!(mark.generation == 6 && mark.suspended.contains(&first));
    assert!(opened.joined && opened.frozen.is_none(), "{:?}", opened.frozen);
    assert!(!opened.ring.key(&first).unwrap().suspended);
}
