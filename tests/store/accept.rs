//! A frozen ring, and the decision that only an operator takes: what is missing is lost.

use std::fs;

use kekring::custody::{CommitError, Custody, Opened, Reason};
use kekring::keyring::KeyId;
use kekring::keyring::lifecycle;
use kekring::keyring::ring::{KeyState, Tombstone};
use kekring::root::RootKey;
use kekring::store::Backup;

use crate::bench::{Bench, NOW, file_root, put};

fn active(opened: &Opened) -> KeyId {
    opened.ring.active().unwrap().id.clone()
}

/// The newest generations are lost, their marks are not. Returns what they last reported.
fn lose_newest(bench: &Bench, rotations: usize, lost: usize) -> KeyId {
    for _ in 0..rotations {
        bench.rotate();
    }
    let reported = active(&bench.open());
    for path in bench.generations().iter().rev().take(lost) {
        fs::remove_file(path).unwrap();
    }
    reported
}

#[test]
fn the_key_that_was_prepared_takes_the_place_of_the_lost_generation() {
    let bench = Bench::new();
    let reported = lose_newest(&bench, 2, 1);
    let frozen = bench.open();
    assert!(frozen.refusing.is_some() && frozen.lost().is_none());
    assert!(matches!(bench.try_rotate(&frozen), Err(CommitError::Frozen(_))));

    bench.custody().accept(&frozen, NOW).unwrap();

    let after = bench.open();
    assert_eq!(active(&after), reported, "nothing that was encrypted is lost");
    assert!(
        after.refusing.is_none() && after.frozen.is_none(),
        "{:?}",
        after.warnings
    );
    assert!(after.ring.generation > 3);
    let next = after.ring.pre_active().unwrap().id.sequence();
    assert!(
        next > reported.sequence() + 1,
        "the lost generation had a next key of its own"
    );
    bench.rotate();
}

/// As a copy of the directory puts it back: this generation, and what the mark says now.
fn put_back(bench: &Bench, copy: &(std::path::PathBuf, Vec<u8>)) {
    for path in bench.generations() {
        fs::remove_file(path).unwrap();
    }
    put(&copy.0, &copy.1);
}

#[test]
fn a_suspended_key_that_was_given_up_is_suspended_when_it_comes_back() {
    let bench = Bench::new();
    let kept = || (bench.newest(), fs::read(bench.newest()).unwrap());
    bench.rotate();
    let without = kept();
    bench.rotate();
    bench.rotate();
    let with = kept();
    bench.rotate();
    let opened = bench.open();
    let gone = opened.ring.keys[3].id.clone();
    let suspended = lifecycle::suspend(&opened.ring, &gone, true).unwrap();
    bench.custody().commit(&opened, suspended, NOW).unwrap();
    put_back(&bench, &without);
    let accepted = bench.custody().accept(&bench.open(), NOW).unwrap();
    assert!(accepted.ring.key(&gone).is_none());

    put_back(&bench, &with);

    assert!(bench.open().ring.key(&gone).unwrap().suspended);
}

#[test]
fn where_the_key_is_lost_too_a_fresh_one_above_it_encrypts() {
    let bench = Bench::new();
    let reported = lose_newest(&bench, 3, 2);
    let frozen = bench.open();
    assert_eq!(frozen.lost(), Some(&reported));

    bench.custody().accept(&frozen, NOW).unwrap();

    let after = bench.open();
    assert!(active(&after).sequence() > reported.sequence());
    assert!(after.ring.key(&reported).is_none());
    let older = frozen.ring.keys.iter().all(|key| {
        let state = after.ring.key(&key.id).map(|key| key.state);
        state == Some(KeyState::Deactivated)
    });
    assert!(older, "every older key decrypts and none encrypts");
    after.keyring().status().unwrap();
    bench.rotate();
}

#[test]
fn a_damaged_newest_generation_can_be_given_up_and_stays_where_it_is() {
    let bench = Bench::new();
    bench.rotate();
    let newest = bench.newest();
    fs::write(&newest, "rubbish").unwrap();
    let frozen = bench.open();
    let reasons: Vec<_> = frozen.frozen.iter().flat_map(|it| it.reasons()).collect();
    assert!(
        matches!(reasons[0], Reason::Damaged { generation: 2, .. }),
        "{reasons:?}"
    );

    let after = bench.custody().accept(&frozen, NOW).unwrap();

    assert_eq!(after.ring.generation, 3);
    assert_eq!(fs::read(newest).unwrap(), b"rubbish");
    assert!(bench.open().frozen.is_none());
}

#[test]
fn suspension_and_destruction_outlive_the_generation_that_made_them() {
    let bench = Bench::new();
    bench.rotate();
    let first = bench.open().ring.keys[0].id.clone();
    let opened = bench.open();
    let next = lifecycle::suspend(&opened.ring, &first, true).unwrap();
    bench.custody().commit(&opened, next, NOW).unwrap();
    fs::remove_file(bench.newest()).unwrap();

    let after = bench.custody().accept(&bench.open(), NOW).unwrap();

    assert!(after.ring.key(&first).unwrap().suspended);
    assert!(bench.open().ring.key(&first).unwrap().suspended);
}

#[test]
fn what_is_given_up_is_a_number_that_never_comes_back() {
    let bench = Bench::new();
    bench.rotate();
    let mark = fs::read(bench.path("ring/mark")).unwrap();
    bench.rotate();
    // Written and not used: the mark does not know it.
    fs::write(bench.newest(), "rubbish").unwrap();
    fs::write(bench.path("ring/mark"), mark).unwrap();

    let frozen = bench.open();
    assert_eq!(frozen.mark.as_ref().unwrap().generation, 2);
    let after = bench.custody().accept(&frozen, NOW).unwrap();

    assert_eq!(after.ring.generation, 4);
}

#[test]
fn a_number_that_only_a_mark_under_a_later_ring_key_names_never_comes_back() {
    let bench = Bench::new();
    let second = bench.path("second.key");
    put(&second, &[7; 32]);
    let opened = bench.open();
    let opened = bench
        .custody()
        .add_slots(&opened, &[file_root(&second)], NOW)
        .unwrap();
    let older = (bench.newest(), fs::read(bench.newest()).unwrap());
    let roots = [file_root(&bench.path("root.key")), file_root(&second)];
    let roots: Vec<&dyn RootKey> = roots.iter().map(AsRef::as_ref).collect();
    let gone = [opened.head.header.slots[1].id];
    bench
        .custody()
        .remove_slots(&bench.open(), &gone, &roots, NOW)
        .unwrap();
    fs::remove_file(bench.newest()).unwrap();
    put(&older.0, &older.1);

    let frozen = bench.open();
    let reasons: Vec<_> = frozen.frozen.iter().flat_map(|it| it.reasons()).collect();
    assert_eq!(reasons, [&Reason::BehindMark { used: 3, newest: 2 }]);
    let after = bench.custody().accept(&frozen, NOW).unwrap();

    assert_eq!(after.ring.generation, 4);
}

#[test]
fn a_decision_renews_the_suspensions_that_are_marked_and_no_other() {
    let bench = Bench::new();
    bench.rotate();
    let first = bench.open().ring.keys[0].id.clone();
    let unmarked = fs::read(bench.path("ring/mark")).unwrap();
    let opened = bench.open();
    let suspended = lifecycle::suspend(&opened.ring, &first, true).unwrap();
    bench.custody().commit(&opened, suspended, NOW).unwrap();
    bench.rotate();
    fs::write(bench.newest(), "rubbish").unwrap();
    fs::write(bench.path("ring/mark"), unmarked).unwrap();

    let after = bench.custody().accept(&bench.open(), NOW).unwrap();

    let key = after.ring.key(&first).unwrap();
    assert_eq!((key.suspended, key.suspension), (true, 3));
}

#[test]
fn what_nobody_can_decide_is_not_accepted() {
    let (bench, other) = (Bench::new(), Bench::new());
    fs::copy(other.path("ring/mark"), bench.path("ring/mark")).unwrap();
    let frozen = bench.open();

    let refused = bench.custody().accept(&frozen, NOW).map(drop).unwrap_err();

    assert!(matches!(&refused, CommitError::Frozen(_)) && refused.is_refusal());
    assert!(refused.hint().contains("another ring"), "{}", refused.hint());
}

#[test]
fn a_suspension_that_was_accepted_is_not_lifted_by_an_older_backup() {
    let bench = Bench::new();
    bench.rotate();
    let first = bench.open().ring.keys[0].id.clone();
    let set = |suspended| {
        let opened = bench.open();
        let next = lifecycle::suspend(&opened.ring, &first, suspended).unwrap();
        bench.custody().commit(&opened, next, NOW).unwrap()
    };
    set(true);
    let resumed = set(false).head.bytes;
    set(true);
    for path in bench.generations().iter().skip(3) {
        fs::remove_file(path).unwrap();
    }
    bench.custody().accept(&bench.open(), NOW).unwrap();
    Backup::write(&bench.path("backup"), &resumed).unwrap();
    let backup = Backup::read(&bench.path("backup")).unwrap();
    bench.custody().put_backup(&backup).unwrap();

    let both = bench.open();

    assert!(both.ring.key(&first).unwrap().suspended);
}

#[test]
fn a_reported_key_that_only_another_history_outlived_is_for_people_to_decide_on() {
    let bench = Bench::new();
    let aside = bench.newest();
    let whole = fs::read(&aside).unwrap();
    bench.rotate();
    bench.rotate();
    let reported = active(&bench.open());
    let mark = fs::read(bench.path("ring/mark")).unwrap();
    for path in bench.generations() {
        fs::remove_file(path).unwrap();
    }
    put(&aside, &whole);
    fs::remove_file(bench.path("ring/mark")).unwrap();
    for _ in 0..4 {
        bench.rotate();
    }
    fs::write(bench.path("ring/mark"), mark).unwrap();

    let opened = bench.open();

    let reasons: Vec<_> = opened.frozen.iter().flat_map(|it| it.reasons()).collect();
    assert_eq!(reasons, [&Reason::Lost(reported)]);
    opened.keyring().status().unwrap();
    bench.custody().accept(&opened, NOW).unwrap();
    assert!(bench.open().frozen.is_none());
}

#[test]
fn a_reported_key_is_lost_where_no_copy_has_it_and_it_was_not_destroyed() {
    let mut opened = Bench::new().open();
    let [reported, other] = [0, 1].map(|at: usize| opened.ring.keys[at].id.clone());
    let tomb = |id: &KeyId| Tombstone {
        id: id.clone(),
        destroyed: NOW,
        evidence: [0; 16],
    };
    assert_eq!(opened.lost(), None);

    opened.ring.keys.retain(|key| key.id != reported);
    assert_eq!(opened.lost(), Some(&reported));
    opened.ring.tombstones.push(tomb(&other));
    assert_eq!(opened.lost(), Some(&reported));
    opened.ring.tombstones.push(tomb(&reported));
    assert_eq!(opened.lost(), None);
}

#[test]
fn a_decision_is_told_the_number_that_it_will_make() {
    let bench = Bench::new();
    lose_newest(&bench, 3, 2);
    let frozen = bench.open();

    let told = Custody::accepted_generation(&frozen);
    let after = bench.custody().accept(&frozen, NOW).unwrap();

    assert_eq!((told, after.ring.generation), (5, 5));
    assert_eq!(Custody::accepted_generation(&bench.open()), 6);
}

#[test]
fn a_destruction_is_lost_where_a_later_generation_that_is_marked_had_destroyed_other_keys() {
    let mut opened = Bench::new().open();
    let mut lost = |generation: u64, destroyed: Option<[u8; 16]>| {
        let mark = opened.mark.as_mut().unwrap();
        (mark.generation, mark.destroyed) = (generation, destroyed);
        opened.destruction_is_lost()
    };

    assert!(lost(2, Some([7; 16])));
    assert!(!lost(2, None), "it destroyed none");
    assert!(!lost(1, Some([7; 16])) && !lost(0, Some([7; 16])));
    opened.mark = None;
    assert!(!opened.destruction_is_lost());
}
