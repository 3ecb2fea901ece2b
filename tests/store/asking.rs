//! How often roots are asked, in which order, and what is told of those that open nothing. A key derivation takes a good part
//! of a second, and anybody who can write to the store can make a slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kekring::crypto::kdf::Context;
use kekring::crypto::secret::Key32;
use kekring::custody::OpenError;
use kekring::format::generation::SlotKind;
use kekring::root::{RootError, RootKey};

use crate::bench::{Bench, NOW, file_root, put};

/// Opens nothing: says one thing after the other, and then the last again. Counts how often it is asked.
struct Mute {
    name: &'static str,
    says: Vec<RootError>,
    asked: Arc<AtomicUsize>,
}

impl RootKey for Mute {
    fn kind(&self) -> SlotKind {
        SlotKind::File
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }

    fn seal(&self, _: &Key32, _: &Context) -> Result<Vec<u8>, RootError> {
        Err(RootError::WrongRoot)
    }

    fn open(&self, _: &[u8], _: &Context) -> Result<Key32, RootError> {
        let before = self.asked.fetch_add(1, Ordering::SeqCst);
        Err(self.says[before.min(self.says.len() - 1)].clone())
    }
}

fn away() -> RootError {
    RootError::Unavailable("away".into())
}

/// A ring of three generations, the last two with two slots of the same kind.
fn with_two_slots() -> Bench {
    let bench = Bench::new();
    let second = bench.path("second.key");
    kekring::root::create_key_file(&second, None).unwrap();
    let opened = bench.open();
    bench
        .custody()
        .add_slots(&opened, &[file_root(&second)], NOW)
        .unwrap();
    bench.rotate();
    bench
}

/// Opens the ring with such roots. Returns how often each was asked, and what is told of them.
fn ask(bench: &Bench, roots: &[(&'static str, &[RootError])]) -> (Vec<usize>, Vec<(String, RootError)>) {
    let (mut counters, mut mutes): (Vec<Arc<AtomicUsize>>, Vec<Arc<dyn RootKey>>) = Default::default();
    for (name, says) in roots {
        let asked = Arc::new(AtomicUsize::new(0));
        counters.push(Arc::clone(&asked));
        let says = says.to_vec();
        mutes.push(Arc::new(Mute { name, says, asked }));
    }
    let Err(OpenError::Roots { tried, .. }) = bench.custody_with(mutes).open(None, NOW).map(drop) else {
        panic!("they open nothing");
    };
    (
        counters.iter().map(|it| it.load(Ordering::SeqCst)).collect(),
        tried,
    )
}

#[test]
fn a_slot_that_stands_in_many_generations_is_tried_once() {
    let (asked, tried) = ask(&with_two_slots(), &[("one", &[RootError::WrongRoot])]);

    assert_eq!(asked, [2], "two slots, three generations");
    assert_eq!(tried, [("one".to_owned(), RootError::WrongRoot)], "and told once");
}

#[test]
fn a_root_that_is_away_is_asked_once_whatever_there_is_to_open() {
    let (asked, tried) = ask(
        &with_two_slots(),
        &[("one", &[away()]), ("other", &[RootError::WrongRoot])],
    );

    assert_eq!(asked, [1, 2]);
    let told = [
        ("one".to_owned(), away()),
        ("other".to_owned(), RootError::WrongRoot),
    ];
    assert_eq!(tried, told);
}

#[test]
fn each_thing_that_each_root_said_is_told() {
    let wrong = RootError::WrongRoot;
    let (_, tried) = ask(
        &with_two_slots(),
        &[
            ("one", &[wrong.clone(), away()]),
            ("other", std::slice::from_ref(&wrong)),
        ],
    );

    let [one, other] = ["one", "other"].map(str::to_owned);
    assert_eq!(
        tried,
        [(one.clone(), wrong.clone()), (one, away()), (other, wrong)]
    );
}

#[test]
fn what_is_older_than_all_that_a_ring_key_at_hand_opens_is_asked_for_of_no_root() {
    let bench = with_two_slots();
    let (older, bytes) = (bench.newest(), std::fs::read(bench.newest()).unwrap());
    let opened = bench.open();
    let second = file_root(&bench.path("second.key"));
    let gone = [opened.head.header.slots[0].id];
    let (after, _) = bench
        .custody()
        .remove_slots(&opened, &gone, &[second.as_ref()], NOW)
        .unwrap();
    put(&older, &bytes);
    let asked = Arc::new(AtomicUsize::new(0));
    let mute = Mute {
        name: "mute",
        says: vec![RootError::WrongRoot],
        asked: Arc::clone(&asked),
    };

    let again = bench
        .custody_with(vec![Arc::new(mute)])
        .open(Some(&after.ring_key), NOW)
        .unwrap();

    assert_eq!(again.head.hash, after.head.hash);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
