//! A root that takes its time is called once, and one that refused is left in peace until something has changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kekring::custody::{Calls, Custody, Outcome};
use kekring::root::{RootError, RootKey, create_key_file};

use crate::bench::{Bench, NOW, file_root, put};
use crate::counted::Counted;
use crate::support::{PATIENCE, wait_until};

fn slow(bench: &Bench, name: &str) -> (Arc<dyn RootKey>, Arc<AtomicUsize>, Sender<()>) {
    let (let_go, until) = channel();
    let count = Arc::new(AtomicUsize::new(0));
    let root = Counted {
        root: file_root(&bench.path(name)),
        is_dear: false,
        asked: Arc::clone(&count),
        until: Some(Mutex::new(until)),
        refuses: None,
    };
    (Arc::new(root), count, let_go)
}

fn refusing(bench: &Bench, why: RootError) -> (Arc<dyn RootKey>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let root = Counted {
        root: file_root(&bench.path("root.key")),
        is_dear: false,
        asked: Arc::clone(&count),
        until: None,
        refuses: Some(why),
    };
    (Arc::new(root), count)
}

/// How often a root has been called, after one more opening that fails.
fn after_one_more(custody: &Custody, count: &AtomicUsize) -> usize {
    assert!(custody.open(None, NOW).is_err());
    count.load(Ordering::SeqCst)
}

/// A ring of which the newest generation opens with `root.key` alone, and an older one, under another ring key, with `second`.
fn of_two_ring_keys() -> Bench {
    let bench = Bench::new();
    let second = bench.path("second.key");
    create_key_file(&second, None).unwrap();
    let opened = bench.open();
    let roots = vec![file_root(&bench.path("root.key")), file_root(&second)];
    let both = bench.custody_with(roots);
    both.add_slots(&opened, &[file_root(&second)], NOW).unwrap();
    let older = bench.newest();
    let bytes = fs::read(&older).unwrap();
    let opened = both.open(None, NOW).unwrap();
    let slot = opened.head.header.slots.iter();
    let alone = bench.custody_with(vec![file_root(&second)]);
    let theirs: Vec<[u8; 16]> = slot
        .filter(|it| kekring::custody::opens(alone.roots[0].as_ref(), &opened.head.header, it).is_ok())
        .map(|it| it.id)
        .collect();
    let staying = file_root(&bench.path("root.key"));
    both.remove_slots(&opened, &theirs, &[staying.as_ref()], NOW)
        .unwrap();
    put(&older, &bytes);
    bench
}

#[test]
fn a_slow_root_is_called_once_and_what_it_brings_is_for_the_next_opening() {
    let bench = of_two_ring_keys();
    let (root, count, let_go) = slow(&bench, "root.key");
    let custody = bench.custody_with(vec![root, file_root(&bench.path("second.key"))]);

    let first = custody.open(None, NOW).unwrap();
    let again = custody.reopen(&first, NOW).unwrap();
    let calls = count.load(Ordering::SeqCst);
    drop(let_go);
    wait_until("the slow root to answer", PATIENCE, || custody.calls.has_news());
    let last = custody.reopen(&again, NOW).unwrap();

    assert_eq!(calls, 1, "the first call is still at work");
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert!(first.head.header.generation < last.head.header.generation);
    assert!(!custody.calls.has_news());
    let told = first.turns.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(matches!(first.turns[0].outcome, Outcome::AtWork(_)), "{told:?}");
    assert!(matches!(first.turns[1].outcome, Outcome::Opened(_)), "{told:?}");
}

#[test]
fn a_refusal_stands_until_the_file_changes_or_somebody_asks_for_it() {
    let bench = Bench::new();
    for why in [RootError::WrongRoot, RootError::Denied("its PIN is wrong".into())] {
        let (root, count) = refusing(&bench, why.clone());
        let custody = bench.custody_with(vec![root]);

        assert_eq!(after_one_more(&custody, &count), 1);
        assert_eq!(after_one_more(&custody, &count), 1, "nothing has changed: {why}");
        // Only the time of its last change tells it.
        fs::set_permissions(bench.path("root.key"), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(after_one_more(&custody, &count), 2, "{why}");
        assert_eq!(after_one_more(&custody, &count), 2, "{why}");
        custody.calls.forget();
        assert_eq!(after_one_more(&custody, &count), 3, "{why}");
    }
}

#[test]
fn a_refusal_is_told_again_and_the_root_is_asked_again_where_it_stood_long_enough() {
    let bench = Bench::new();
    let (root, count) = refusing(&bench, RootError::WrongRoot);
    let mut custody = bench.custody_with(vec![root]);

    let first = custody.open(None, NOW).map(drop).unwrap_err();
    let second = custody.open(None, NOW).map(drop).unwrap_err();
    custody.calls = Arc::new(Calls::remembering(Duration::ZERO));
    after_one_more(&custody, &count);

    assert_eq!(first.to_string(), second.to_string());
    assert_eq!(after_one_more(&custody, &count), 3);
}

#[test]
fn a_root_that_is_away_is_asked_at_every_opening() {
    let bench = Bench::new();
    let (root, count) = refusing(&bench, RootError::Unavailable("its token is not there".into()));
    let custody = bench.custody_with(vec![root]);

    assert_eq!(after_one_more(&custody, &count), 1);
    assert_eq!(after_one_more(&custody, &count), 2);
}

#[test]
fn a_root_that_was_denied_is_asked_again_for_a_slot_that_it_has_not_seen() {
    let bench = Bench::new();
    let (root, count) = refusing(&bench, RootError::Denied("not now".into()));
    let custody = bench.custody_with(vec![root]);
    assert_eq!(after_one_more(&custody, &count), 1);
    let third = bench.path("third.key");
    create_key_file(&third, None).unwrap();

    bench
        .custody()
        .add_slots(&bench.open(), &[file_root(&third)], NOW)
        .unwrap();

    assert_eq!(after_one_more(&custody, &count), 2);
    assert_eq!(after_one_more(&custody, &count), 2);
}
