//! What slots cost that nobody has authenticated, and in which order roots are asked: anybody who can write to the mirror can
//! put a generation there.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use kekring::custody::{Derivations, MOST_DERIVATIONS, OpenError, Opened};
use kekring::root::{RootKey, create_key_file};

use crate::bench::{Bench, NOW, file_root, passphrase_root, put};
use crate::counted::Counted;
use crate::forged::{HIGHEST, HONEST, of_a_stranger};

/// A root that derives a key from what is in this file, and how often it was asked.
fn dear(bench: &Bench, name: &str) -> (Arc<dyn RootKey>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let root = Counted {
        root: file_root(&bench.path(name)),
        is_dear: true,
        asked: Arc::clone(&asked),
        until: None,
        refuses: None,
    };
    (Arc::new(root), asked)
}

/// A root that is cheap to ask and does not answer until what is returned beside it is dropped.
fn hanging(bench: &Bench) -> (Arc<dyn RootKey>, Sender<()>) {
    let (let_go, until) = channel();
    let root = Counted {
        root: file(bench),
        is_dear: false,
        asked: Arc::default(),
        until: Some(Mutex::new(until)),
        refuses: None,
    };
    (Arc::new(root), let_go)
}

fn file(bench: &Bench) -> Arc<dyn RootKey> {
    file_root(&bench.path("root.key"))
}

/// A mirrored ring with a slot of a root that is cheap to ask, and one of a root that is dear.
fn with_both() -> Bench {
    let bench = Bench::mirrored();
    for name in ["dear", "wrong"] {
        create_key_file(&bench.path(name), None).unwrap();
    }
    let opened = bench.open();
    let root = dear(&bench, "dear").0;
    bench.custody().add_slots(&opened, &[root], NOW).unwrap();
    bench
}

/// Puts a stranger's generation where whoever writes to `place` can.
fn intrude(bench: &Bench, place: &str, number: u64, cost: (u32, u32, u32)) {
    intrude_with(bench, place, number, 0, cost);
}

/// The same with the first slots of a genuine one.
fn intrude_with(bench: &Bench, place: &str, number: u64, kept: usize, cost: (u32, u32, u32)) {
    let (name, bytes) = of_a_stranger(&fs::read(bench.newest()).unwrap(), number, kept, cost);
    put(&bench.path(place).join(name), &bytes);
}

fn open(bench: &Bench, roots: Vec<Arc<dyn RootKey>>) -> Opened {
    bench.custody_with(roots).open(None, NOW).unwrap()
}

fn count(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::SeqCst)
}

#[test]
fn the_slots_of_strangers_cost_sixteen_derivations_and_the_ring_opens_by_the_first() {
    let bench = with_both();
    let number = bench.open().head.header.generation;
    (7..10).for_each(|number| intrude(&bench, "ring", number, HONEST));
    let (root, asked) = dear(&bench, "dear");

    let opened = open(&bench, vec![root]);

    assert_eq!(opened.head.header.generation, number);
    assert_eq!(count(&asked), MOST_DERIVATIONS);
    let told = opened.warnings.join("\n");
    assert!(told.contains("not tried: 16 key derivations were done"), "{told}");
}

#[test]
fn the_slots_of_strangers_in_the_mirror_cost_no_derivation() {
    let bench = with_both();
    (7..10).for_each(|number| intrude(&bench, "mirror", number, HONEST));
    let (root, asked) = dear(&bench, "dear");

    open(&bench, vec![root]);

    assert_eq!(count(&asked), 1, "the ring's own");
}

#[test]
fn where_nothing_opens_no_more_is_derived_either_and_it_is_told() {
    let bench = with_both();
    intrude(&bench, "ring", 9, HONEST);
    let (root, asked) = dear(&bench, "wrong");

    let why = bench
        .custody_with(vec![root])
        .open(None, NOW)
        .map(drop)
        .unwrap_err();

    assert_eq!(count(&asked), MOST_DERIVATIONS);
    assert!(
        why.to_string()
            .contains("not tried: 16 key derivations were done"),
        "{why}"
    );
    assert!(
        why.hint().contains("no honest ring has so many slots"),
        "{}",
        why.hint()
    );
}

#[test]
fn a_slot_of_the_highest_cost_that_was_ever_accepted_is_refused_unheard() {
    let bench = with_both();
    intrude(&bench, "ring", 9, HIGHEST);

    put(&bench.path("phrase"), b"correct horse battery staple\n");
    let opened = open(&bench, vec![file(&bench), passphrase_root(&bench.path("phrase"))]);

    let told = opened.warnings.join("\n");
    assert!(
        told.contains("asks for Argon2id with 1048576 KiB, 16 passes"),
        "{told}"
    );
}

#[test]
fn a_root_that_is_cheap_to_ask_opens_the_ring_before_any_derivation_wherever_it_stands() {
    let bench = with_both();
    bench.rotate();
    let (root, asked) = dear(&bench, "dear");

    open(&bench, vec![root, file(&bench)]);

    assert_eq!(count(&asked), 0);
}

#[test]
fn a_slot_in_many_generations_is_derived_for_once() {
    let bench = with_both();
    (0..3).for_each(|_| drop(bench.rotate()));
    let (root, asked) = dear(&bench, "wrong");

    let outcome = bench.custody_with(vec![root]).open(None, NOW);

    assert!(matches!(outcome.map(drop), Err(OpenError::Roots { .. })));
    assert_eq!(count(&asked), 1);
}

#[test]
fn roots_that_hang_hold_no_derivation_back() {
    let bench = with_both();
    let (one, _kept) = hanging(&bench);
    let (other, _kept_too) = hanging(&bench);

    open(&bench, vec![Arc::clone(&one), dear(&bench, "dear").0]);
    open(&bench, vec![one, other, dear(&bench, "dear").0]);
}

#[test]
fn a_root_that_hangs_holds_back_no_other_that_is_cheap_to_ask() {
    let bench = with_both();
    let (hung, _kept) = hanging(&bench);
    let (root, asked) = dear(&bench, "dear");

    open(&bench, vec![hung, root, file(&bench)]);

    assert_eq!(count(&asked), 0);
}

#[test]
fn a_root_that_hangs_is_not_waited_for_because_of_a_strangers_generation() {
    let bench = with_both();
    intrude_with(&bench, "ring", 9, 1, HONEST);
    let (root, _kept) = hanging(&bench);

    let opened = open(&bench, vec![root, dear(&bench, "dear").0]);

    let told = opened.warnings.join("\n");
    assert!(told.contains("it has not answered"), "{told}");
}

#[test]
fn where_nothing_else_opens_the_ring_a_slow_root_is_waited_for() {
    let bench = with_both();
    let (slow, let_go) = hanging(&bench);
    let (root, asked) = dear(&bench, "wrong");
    // It lets go after everything else was tried.
    let watched = Arc::clone(&asked);
    let letting_go = std::thread::spawn(move || {
        crate::support::wait_until("the derivation", crate::support::PATIENCE, || {
            count(&watched) == 1
        });
        drop(let_go);
    });

    open(&bench, vec![slow, root]);

    letting_go.join().unwrap();
}

#[test]
fn who_may_derive_nothing_opens_by_what_is_cheap_alone() {
    let bench = with_both();
    let bytes = fs::read(bench.newest()).unwrap();
    let (root, asked) = dear(&bench, "dear");
    let mut none = Derivations::at_most(0);

    let by_file = bench.custody_with(vec![Arc::clone(&root), file(&bench)]);
    let opened = by_file.open_one("here", "gen", &bytes, &[], &mut none);
    assert!(opened.is_ok() && !none.fell_short());

    let custody = bench.custody_with(vec![root]);
    let why = custody
        .open_one("here", "gen", &bytes, &[], &mut none)
        .map(drop)
        .unwrap_err();
    assert!(none.fell_short(), "{why}");
    assert_eq!((count(&asked), none.done()), (0, 0));

    let mut two = Derivations::at_most(2);
    assert!(custody.open_one("here", "gen", &bytes, &[], &mut two).is_ok());
    assert_eq!((count(&asked), two.done()), (1, 1));
}
