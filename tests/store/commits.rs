//! What a commit proves before it counts, and what it leaves in the mark.

use std::fs;
use std::sync::{Arc, Mutex};

use kekring::crypto::secret::Key32;
use kekring::custody::{CommitError, Opened, Share, test_keys};
use kekring::format::mark::Mark;
use kekring::keyring::ring::{KeyState, UnixTime};
use kekring::keyring::{KeyId, lifecycle};
use kekring::store::RingStore;

use crate::bench::{Bench, NOW, file_root, key, put};
use crate::between::Between;
use crate::fork::forked;

fn later(seconds: u64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

fn next_mark(bench: &Bench, opened: &Opened, now: UnixTime) -> Mark {
    bench
        .custody()
        .next_mark(opened.mark.as_ref(), opened, now)
        .unwrap()
}

#[test]
fn what_is_read_back_must_be_sound_and_hold_every_key() {
    let bench = Bench::new();
    let older = fs::read(bench.newest()).unwrap();
    let said = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&said);
    let mut custody = bench.custody();
    custody.store = Box::new(Between {
        store: bench.store(),
        load: Box::new(RingStore::load),
        save: Box::new(move |new| {
            let mut spoilt = new.bytes.to_vec();
            *spoilt.last_mut().unwrap() ^= 1;
            let verdicts = [&spoilt, &older, new.bytes].map(|bytes| (new.verify)(bytes));
            heard.lock().unwrap().extend(verdicts);
            Ok(())
        }),
    });

    let opened = bench.open();
    let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
    custody.commit(&opened, next, NOW).unwrap();

    let said = said.lock().unwrap();
    assert!(said[0].is_err());
    assert_eq!(said[1], Err("it does not hold the keys that were written".into()));
    assert_eq!(said[2], Ok(()));
}

#[test]
fn a_key_that_does_not_open_what_its_namesake_sealed_is_named() {
    let ring = Bench::new().open().ring;
    let mut other = ring.clone();
    other.keys[1].material = Arc::new(Key32::generate().unwrap());

    assert_eq!(test_keys(&ring, &ring), Ok(()));
    assert!(test_keys(&ring, &other).is_err());
}

#[test]
fn a_join_is_stored_once_and_what_is_no_join_stays_as_it_is() {
    let (bench, _) = forked();
    let opened = bench.open();

    let stored = bench.custody().store_join(opened, NOW).unwrap();
    assert!(!stored.joined);
    assert_eq!(bench.open().ring.generation, stored.ring.generation);

    let again = bench.custody().store_join(bench.open(), NOW).unwrap();
    assert_eq!(again.ring.generation, stored.ring.generation);
    assert_eq!(bench.open().head.hash, stored.head.hash);
}

#[test]
fn a_join_that_is_not_stored_yet_is_marked_under_the_generation_that_was_marked() {
    let (bench, _) = forked();
    let opened = bench.open();
    let known = opened.mark.clone().unwrap();

    let next = next_mark(&bench, &opened, NOW);

    assert!(opened.joined && opened.frozen.is_none());
    assert_eq!((next.generation, next.hash), (known.generation, known.hash));
    assert_eq!(Some(&next.reported), opened.keyring().status().ok());
}

#[test]
fn the_mark_keeps_when_the_active_key_was_first_seen() {
    let bench = Bench::new();
    let opened = bench.open();

    assert_eq!(next_mark(&bench, &opened, later(9)).seen, NOW);
    let behind = UnixTime(NOW.0 - 9);
    assert_eq!(
        next_mark(&bench, &opened, behind).seen,
        behind,
        "a time to come is not believed"
    );

    let next = lifecycle::activate(&opened.ring, key(), later(9)).unwrap();
    let rotated = bench.custody().commit(&opened, next, later(9)).unwrap();
    assert_eq!(rotated.mark.unwrap().seen, later(9), "another key, another time");
}

#[test]
fn a_mark_that_would_lower_either_number_is_not_written() {
    let bench = Bench::new();
    bench.rotate();
    let opened = bench.open();
    let known = opened.mark.clone().unwrap();
    let stored = fs::read(bench.path("ring/mark")).unwrap();
    let [oldest, newest] = [&opened.ring.keys[0], &opened.ring.keys[2]].map(|key| key.id.clone());
    let (mut lower_key, mut lower_generation) = (known.clone(), known.clone());
    (lower_key.generation, lower_key.reported) = (known.generation + 1, oldest);
    (lower_generation.generation, lower_generation.reported) = (known.generation - 1, newest.clone());
    let mut higher = known;
    higher.reported = newest;

    for lower in [lower_key, lower_generation] {
        bench.custody().settle(&opened, Some(&lower)).unwrap();
        assert_eq!(fs::read(bench.path("ring/mark")).unwrap(), stored);
    }
    bench.custody().settle(&opened, Some(&higher)).unwrap();
    assert_ne!(fs::read(bench.path("ring/mark")).unwrap(), stored);
}

#[test]
fn the_record_of_the_last_backup_outlives_a_rotation() {
    let bench = Bench::new();
    bench.custody().note_backup(&bench.open(), NOW).unwrap();
    let opened = bench.open();

    let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
    let rotated = bench.custody().commit(&opened, next, NOW).unwrap();

    assert!(rotated.backup.is_some());
}

#[test]
fn a_key_that_has_the_bytes_of_another_is_not_stored() {
    let bench = Bench::new();
    let opened = bench.open();
    let twin = Key32::from_slice(opened.ring.keys[0].material.expose()).unwrap();

    let next = lifecycle::activate(&opened.ring, twin, NOW).unwrap();
    let refused = bench.custody().commit(&opened, next, NOW).map(drop);

    assert!(matches!(refused, Err(CommitError::Repeated)), "{refused:?}");
    assert_eq!(bench.open().ring.generation, 1);
}

#[test]
fn no_step_of_a_rotation_is_taken_on_a_frozen_ring() {
    let bench = Bench::new();
    fs::write(bench.path("ring/mark"), "garbage").unwrap();
    let frozen = bench.open();
    let next = lifecycle::activate(&frozen.ring, key(), NOW).unwrap();

    let refused = bench.custody().rotate(&frozen, next, Share::All, NOW).map(drop);

    assert!(matches!(refused, Err(CommitError::Frozen(_))), "{refused:?}");
}

#[test]
fn a_generation_that_breaks_a_rule_is_refused_before_anything_is_written() {
    let bench = Bench::new();
    let opened = bench.open();
    let mut next = lifecycle::successor(&opened.ring).unwrap();
    next.keys[1].state = KeyState::Active;

    let refused = bench.custody().commit(&opened, next, NOW).map(drop).unwrap_err();

    let why = refused.to_string();
    assert!(why.contains("the next generation breaks a rule"), "{why}");
    assert_eq!(bench.generations().len(), 1);
}

#[test]
fn a_frozen_ring_that_would_report_less_leaves_what_the_mark_says() {
    let bench = Bench::new();
    bench.rotate();
    let known = bench.open().mark.unwrap();
    fs::remove_file(bench.newest()).unwrap();
    let frozen = bench.open();
    assert!(frozen.ring.active().unwrap().id < known.reported);
    let known = Mark {
        destroyed: Some([7; 16]),
        ..known
    };

    let next = bench.custody().next_mark(Some(&known), &frozen, NOW).unwrap();

    assert_eq!(
        (next.generation, next.hash, next.reported, next.destroyed),
        (known.generation, known.hash, known.reported, known.destroyed)
    );
}

#[test]
fn suspended_keys_that_were_given_up_stand_in_the_mark_in_their_order() {
    let bench = Bench::new();
    let mut opened = bench.open();
    opened.ring.keys[1].suspended = true;
    let ours = opened.ring.keys[1].id.clone();
    let [given_up, later] = [1, 9].map(|sequence| KeyId::derive(opened.ring.id, sequence, &key()));
    let mut known = opened.mark.clone().unwrap();
    known.suspended = vec![given_up.clone(), later.clone()];

    let next = bench.custody().next_mark(Some(&known), &opened, NOW).unwrap();

    assert_eq!(next.suspended, [given_up, ours, later]);
}

#[test]
fn what_was_opened_and_what_was_committed_are_told_alike() {
    let bench = Bench::new();
    for _ in 0..11 {
        bench.rotate();
    }
    let committed = bench.rotate();
    let opened = bench.open();

    for (warnings, told) in [
        (&committed.warnings, "after a commit"),
        (&opened.warnings, "opened"),
    ] {
        let warnings = warnings.join("\n");
        for word in ["no backup of this ring", "became active within a day"] {
            assert!(warnings.contains(word), "{told}: {warnings}");
        }
    }
    for it in [&committed, &opened] {
        assert_eq!(it.keys().len(), 1, "each ring key once");
    }
}

#[test]
fn the_record_of_a_backup_under_another_ring_key_counts_no_more() {
    let bench = Bench::new();
    let second = bench.path("second.key");
    put(&second, &[7; 32]);
    let root = file_root(&second);
    bench
        .custody()
        .add_slots(&bench.open(), &[Arc::clone(&root)], NOW)
        .unwrap();
    bench.custody().note_backup(&bench.open(), NOW).unwrap();
    let opened = bench.open();
    assert!(opened.backup.is_some());
    let gone = [opened.head.header.slots[0].id];

    let (after, _) = bench
        .custody()
        .remove_slots(&opened, &gone, &[root.as_ref()], NOW)
        .unwrap();

    assert!(after.backup.is_none());
}
