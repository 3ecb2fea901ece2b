//! The mark and the mirror: what a node has said, it never takes back.

use std::fs;

use kekring::custody::CommitError;
use kekring::keyring::lifecycle;

use crate::bench::{Bench, NOW, generations, key, put};

#[test]
fn the_mark_follows_each_change_and_says_what_is_reported() {
    let bench = Bench::new();
    let before = bench.open().mark.unwrap();

    let after = bench.rotate();

    let mark = bench.open().mark.unwrap();
    assert_eq!(before.generation, 1);
    assert_eq!((mark.generation, mark.hash), (2, after.head.hash));
    assert_eq!(mark.reported, after.ring.active().unwrap().id);
}

#[test]
fn a_mark_that_is_missing_is_told_and_one_that_is_there_is_not() {
    let bench = Bench::new();
    let told = || bench.open().warnings.join("\n").contains("the mark is missing");
    assert!(!told());

    fs::remove_file(bench.path("ring/mark")).unwrap();

    assert!(told());
}

#[test]
fn an_older_mark_never_replaces_a_newer_one() {
    let bench = Bench::new();
    let old = bench.open();
    bench.rotate();

    bench.custody().settle(&old, old.mark.as_ref()).unwrap();

    assert_eq!(bench.open().mark.unwrap().generation, 2);
}

#[test]
fn a_ring_that_was_put_back_to_an_older_state_reports_nothing_and_stays_as_it_is() {
    let bench = Bench::new();
    bench.rotate();
    fs::remove_file(bench.newest()).unwrap();

    let opened = bench.open();

    let why = opened.keyring().status().unwrap_err().to_string();
    assert!(why.contains("below its mark"), "{why}");
    assert!(bench.try_rotate(&opened).is_err());
}

#[test]
fn a_mark_in_the_mirror_alone_is_enough() {
    let bench = Bench::mirrored();
    bench.rotate();
    fs::remove_file(bench.newest()).unwrap();
    fs::remove_file(generations(&bench.path("mirror")).pop().unwrap()).unwrap();
    fs::remove_file(bench.path("ring/mark")).unwrap();

    let why = bench.open().keyring().status().unwrap_err().to_string();

    assert!(why.contains("below its mark"), "{why}");
}

#[test]
fn of_two_marks_the_one_that_says_more_counts() {
    for place in ["ring", "mirror"] {
        let bench = Bench::mirrored();
        let older = fs::read(bench.path("ring/mark")).unwrap();
        bench.rotate();
        for dir in ["ring", "mirror"] {
            fs::remove_file(generations(&bench.path(dir)).pop().unwrap()).unwrap();
        }
        fs::write(bench.path(place).join("mark"), &older).unwrap();

        let opened = bench.open();

        assert_eq!(opened.mark.as_ref().unwrap().generation, 2);
        let why = opened.keyring().status().unwrap_err().to_string();
        assert!(why.contains("below its mark"), "{why}");
    }
}

#[test]
fn the_mirror_holds_each_generation_and_stands_in_for_a_damaged_one() {
    let bench = Bench::mirrored();
    bench.rotate();
    fs::write(bench.newest(), "damaged").unwrap();

    let opened = bench.open();

    assert_eq!(opened.ring.generation, 2);
    assert!(opened.keyring().status().is_ok());
    assert!(
        opened.warnings.iter().any(|it| it.contains("corrupt")),
        "{:?}",
        opened.warnings
    );
}

#[test]
fn a_damaged_copy_is_mended_from_the_mirror() {
    let bench = Bench::mirrored();
    bench.rotate();
    let whole = fs::read(bench.newest()).unwrap();
    fs::write(bench.newest(), "damaged").unwrap();
    let opened = bench.open();
    assert!(
        opened.frozen.is_none(),
        "its number is not newer than what opened"
    );

    bench.custody().settle(&opened, opened.mark.as_ref()).unwrap();

    assert_eq!(fs::read(bench.newest()).unwrap(), whole);
    assert!(bench.open().warnings.iter().all(|it| !it.contains("corrupt")));
}

#[test]
fn a_mirror_that_is_away_stops_a_change_and_not_the_opening() {
    let bench = Bench::mirrored();
    let away = bench.path("away");
    fs::rename(bench.path("mirror"), &away).unwrap();
    let opened = bench.open();

    let refused = bench.try_rotate(&opened).err().unwrap().to_string();

    assert!(opened.keyring().status().is_ok());
    assert!(
        refused.contains("cannot change the ring") && refused.contains("mirror"),
        "{refused}"
    );
    assert_eq!(bench.generations().len(), 1, "nothing was written");
    fs::rename(&away, bench.path("mirror")).unwrap();
    assert_eq!(bench.rotate().ring.generation, 2);
}

#[test]
fn a_mirror_that_fails_in_the_middle_leaves_a_generation_that_is_durable_and_not_used() {
    let bench = Bench::mirrored();
    let opened = bench.open();
    let lock = bench.path("mirror/lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();

    let refused = bench.try_rotate(&opened).err().unwrap().to_string();

    assert!(refused.contains("is durable, and is not used yet"), "{refused}");
    assert_eq!(bench.open().mark.unwrap().generation, 1);
    fs::remove_dir(&lock).unwrap();
    assert_eq!(bench.rotate().ring.generation, 3);
    assert_eq!(bench.open().mark.unwrap().generation, 3);
}

#[test]
fn a_tampered_mark_is_noticed_and_does_not_count() {
    let bench = Bench::new();
    let path = bench.path("ring/mark");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();

    let opened = bench.open();

    assert!(opened.mark.is_none());
    assert!(
        opened
            .warnings
            .iter()
            .any(|it| it.contains("the mark cannot be used")),
        "{:?}",
        opened.warnings
    );
    assert!(opened.keyring().status().is_ok());
}

#[test]
fn a_ring_that_was_put_back_to_an_older_state_lifts_no_suspension() {
    let bench = Bench::new();
    let opened = bench.open();
    let mut ring = lifecycle::successor(&opened.ring).unwrap();
    (ring.keys[0].suspended, ring.keys[0].suspension) = (true, ring.generation);
    bench.custody().commit(&opened, ring, NOW).unwrap();
    fs::remove_file(bench.newest()).unwrap();

    let older = bench.open();

    assert_eq!(older.ring.generation, 1);
    assert_eq!(older.ring.check(), Ok(()));
    assert!(older.ring.keys[0].suspended);
    let why = older.keyring().status().unwrap_err().to_string();
    assert!(why.contains("is suspended"), "{why}");
}

#[test]
fn without_a_mark_an_unreadable_newest_generation_keeps_an_older_one_from_reporting() {
    let bench = Bench::new();
    let (sealed, id) = bench.open().keyring().encrypt(None, &[7; 32]).unwrap();
    bench.rotate();
    fs::write(bench.newest(), "rubbish").unwrap();
    fs::remove_file(bench.path("ring/mark")).unwrap();

    let opened = bench.open();

    let why = opened.keyring().status().unwrap_err().to_string();
    assert!(why.contains("generation 2 cannot be read"), "{why}");
    let plain = opened.keyring().decrypt(id.as_str(), &sealed).unwrap();
    assert_eq!(plain.expose(), [7; 32]);
    assert!(bench.try_rotate(&opened).is_err());
}

#[test]
fn what_a_frozen_ring_reports_is_marked_and_is_not_taken_back() {
    let bench = Bench::new();
    let mark = fs::read(bench.path("ring/mark")).unwrap();
    bench.rotate();
    bench.rotate();
    let (place, longer) = (bench.newest(), fs::read(bench.newest()).unwrap());
    for path in bench.generations().iter().skip(1) {
        fs::remove_file(path).unwrap();
    }
    fs::write(bench.path("ring/mark"), mark).unwrap();
    bench.rotate();
    for suspended in [true, false] {
        let opened = bench.open();
        let key = opened.ring.keys[0].id.clone();
        let next = lifecycle::suspend(&opened.ring, &key, suspended).unwrap();
        bench.custody().commit(&opened, next, NOW).unwrap();
    }
    for path in bench.generations().iter().skip(2) {
        fs::remove_file(path).unwrap();
    }
    put(&place, &longer);

    let opened = bench.open();
    let reported = opened.keyring().status().unwrap().clone();
    let mark = bench.custody().next_mark(opened.mark.as_ref(), &opened, NOW);
    bench.custody().settle(&opened, mark.as_ref()).unwrap();
    fs::remove_file(&place).unwrap();

    assert!(opened.frozen.is_some());
    assert_eq!(reported.sequence(), 3);
    let after = bench.open();
    let known = opened.mark.unwrap();
    let marked = after.mark.as_ref().unwrap();
    assert_eq!((marked.generation, marked.hash), (4, known.hash));
    let why = after.keyring().status().unwrap_err().to_string();
    assert!(why.contains(&format!("has already reported {reported}")), "{why}");
}

#[test]
fn another_history_of_the_same_age_that_would_report_an_older_key_is_not_changed_and_lowers_no_mark() {
    let bench = Bench::new();
    bench.rotate();
    let opened = bench.open();
    let [first, active, _] = [0, 1, 2].map(|at: usize| opened.ring.keys[at].id.clone());
    let before = fs::read(bench.path("ring/mark")).unwrap();
    let suspended = lifecycle::suspend(&opened.ring, &first, true).unwrap();
    bench.custody().commit(&opened, suspended, NOW).unwrap();
    let (place, other) = (bench.newest(), fs::read(bench.newest()).unwrap());
    fs::remove_file(&place).unwrap();
    fs::write(bench.path("ring/mark"), before).unwrap();
    bench.rotate();
    let marked = fs::read(bench.path("ring/mark")).unwrap();
    fs::remove_file(bench.newest()).unwrap();
    put(&place, &other);

    let opened = bench.open();
    let resumed = lifecycle::suspend(&opened.ring, &first, false).unwrap();
    let refused = bench.custody().commit(&opened, resumed, NOW).map(drop);

    let why = opened.keyring().status().unwrap_err().to_string();
    assert!(why.contains(&format!("it would report {active}")), "{why}");
    assert!(matches!(refused, Err(CommitError::Frozen(_))), "{refused:?}");
    assert_eq!(fs::read(bench.path("ring/mark")).unwrap(), marked);
    let accepted = bench.custody().accept(&opened, NOW).unwrap();
    assert!(accepted.ring.active().unwrap().id.sequence() >= 3);
}

#[test]
fn another_history_of_the_same_age_lifts_no_suspension_when_the_one_that_made_it_is_damaged() {
    let bench = Bench::new();
    let elsewhere = lifecycle::activate(&bench.open().ring, key(), NOW).unwrap();
    let opened = bench.open();
    let next = opened.ring.keys[1].id.clone();
    let suspended = lifecycle::suspend(&opened.ring, &next, true).unwrap();
    bench.custody().commit(&opened, suspended, NOW).unwrap();
    let lost = bench.newest();
    let marked = fs::read(bench.path("ring/mark")).unwrap();
    fs::remove_file(&lost).unwrap();
    fs::remove_file(bench.path("ring/mark")).unwrap();
    bench.custody().commit(&bench.open(), elsewhere, NOW).unwrap();
    fs::write(bench.path("ring/mark"), marked).unwrap();

    let after = bench.open();

    assert_eq!(after.ring.generation, 2);
    assert!(after.ring.key(&next).unwrap().suspended);
    // A server writes its mark of what it opened, which no generation says.
    let mark = bench.custody().next_mark(after.mark.as_ref(), &after, NOW);
    bench.custody().settle(&after, mark.as_ref()).unwrap();
    assert!(bench.open().ring.key(&next).unwrap().suspended);
    assert_eq!(after.ring.check(), Ok(()));
}
