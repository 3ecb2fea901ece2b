//! Root slots of a stored ring: added, removed for good, and what is left when that was interrupted.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use kekring::custody::{CommitError, Custody, Opened};
use kekring::format::generation::MAX_SLOTS;
use kekring::format::superseded::{self, Superseded};
use kekring::keyring::RingKeyId;
use kekring::keyring::ring::MAX_REMOVALS;
use kekring::root::RootKey;

use crate::bench::{Bench, NOW, file_root, generations, put};

fn key_file(bench: &Bench, name: &str, byte: u8) -> PathBuf {
    let path = bench.path(name);
    put(&path, &[byte; 32]);
    path
}

/// A mirrored ring of several generations with a second root.
fn with_two_roots() -> (Bench, PathBuf) {
    let bench = Bench::mirrored();
    let second = key_file(&bench, "second.key", 7);
    bench.rotate();
    let opened = bench.open();
    bench
        .custody()
        .add_slots(&opened, &[file_root(&second)], NOW)
        .unwrap();
    (bench, second)
}

/// Removes the slot of the first root, with both at hand.
fn remove_first(bench: &Bench, second: &std::path::Path) -> (Opened, Vec<String>) {
    let opened = bench.open();
    let roots = [file_root(&bench.path("root.key")), file_root(second)];
    let roots: Vec<&dyn RootKey> = roots.iter().map(AsRef::as_ref).collect();
    let gone = [opened.head.header.slots[0].id];
    bench.custody().remove_slots(&opened, &gone, &roots, NOW).unwrap()
}

#[test]
fn a_slot_that_was_added_opens_the_ring_alone() {
    let (bench, second) = with_two_roots();

    let opened = bench
        .custody_with(vec![file_root(&second)])
        .open(None, NOW)
        .unwrap();

    assert_eq!(opened.ring.generation, 3);
    assert_eq!(opened.head.header.slots.len(), 2);
}

#[test]
fn a_removed_root_opens_nothing_that_is_left_and_the_other_opens_all() {
    let (bench, second) = with_two_roots();
    let before = bench.open();

    let (_, left) = remove_first(&bench, &second);

    assert!(left.is_empty(), "{left:?}");
    assert!(bench.error().contains("wrong root"), "{}", bench.error());
    for place in ["ring", "mirror"] {
        assert_eq!(generations(&bench.path(place)).len(), 1, "{place}");
    }
    let after = bench
        .custody_with(vec![file_root(&second)])
        .open(None, NOW)
        .unwrap();
    assert_ne!(after.ring_key.expose(), before.ring_key.expose());
    assert!(before.ring.keys.iter().all(|key| after.keyring().holds(&key.id)));
    assert!(
        after.mark.is_some() && after.frozen.is_none(),
        "{:?}",
        after.warnings
    );
}

#[test]
fn a_slot_whose_root_is_not_at_hand_keeps_the_others_from_being_removed() {
    let (bench, _) = with_two_roots();
    let opened = bench.open();
    let first = file_root(&bench.path("root.key"));

    let refused =
        bench
            .custody()
            .remove_slots(&opened, &[opened.head.header.slots[0].id], &[first.as_ref()], NOW);

    let why = refused.map(drop).unwrap_err();
    assert!(matches!(why, CommitError::Slots(_)) && why.is_refusal());
    assert!(why.to_string().contains("second.key"), "{why}");
    assert_eq!(bench.open().ring.generation, 3);
}

#[test]
fn a_ring_has_as_many_slots_as_there_may_be_and_no_more() {
    let bench = Bench::new();
    let roots: Vec<Arc<dyn RootKey>> = (1..=MAX_SLOTS)
        .map(|number| {
            let byte = u8::try_from(number).unwrap();
            file_root(&key_file(&bench, &format!("{number}.key"), byte))
        })
        .collect();
    let (one_too_many, fitting) = roots.split_last().unwrap();
    assert_eq!(fitting.len() + 1, MAX_SLOTS, "the ring has one already");
    let add = |roots: &[Arc<dyn RootKey>]| bench.custody().add_slots(&bench.open(), roots, NOW).map(drop);

    assert!(matches!(add(&roots), Err(CommitError::Slots(_))), "all at once");
    add(fitting).unwrap();
    assert_eq!(bench.open().head.header.slots.len(), MAX_SLOTS);
    assert!(matches!(
        add(std::slice::from_ref(one_too_many)),
        Err(CommitError::Slots(_))
    ));
}

#[test]
fn the_last_slot_is_not_removed() {
    let bench = Bench::new();
    let opened = bench.open();
    let root = file_root(&bench.path("root.key"));

    let refused =
        bench
            .custody()
            .remove_slots(&opened, &[opened.head.header.slots[0].id], &[root.as_ref()], NOW);

    let why = refused.map(drop).unwrap_err().to_string();
    assert!(why.contains("no slot would be left"), "{why}");
    assert_eq!(bench.open().ring.generation, 1);
}

#[test]
fn a_root_that_does_not_open_what_it_sealed_gets_no_slot() {
    struct Forgetful(Arc<dyn RootKey>);
    impl RootKey for Forgetful {
        fn kind(&self) -> kekring::format::generation::SlotKind {
            self.0.kind()
        }
        fn describe(&self) -> String {
            "a forgetful root".into()
        }
        fn seal(
            &self,
            _: &kekring::crypto::secret::Key32,
            context: &kekring::crypto::kdf::Context,
        ) -> Result<Vec<u8>, kekring::root::RootError> {
            self.0.seal(&crate::bench::key(), context)
        }
        fn open(
            &self,
            sealed: &[u8],
            context: &kekring::crypto::kdf::Context,
        ) -> Result<kekring::crypto::secret::Key32, kekring::root::RootError> {
            self.0.open(sealed, context)
        }
    }
    let bench = Bench::new();
    let opened = bench.open();
    let forgetful: Vec<Arc<dyn RootKey>> = vec![Arc::new(Forgetful(file_root(&bench.path("root.key"))))];

    let refused = bench.custody().add_slots(&opened, &forgetful, NOW);

    let why = refused.map(drop).unwrap_err().to_string();
    assert!(
        why.contains("a forgetful root") && why.contains("other bytes than it sealed"),
        "{why}"
    );
    assert_eq!(bench.open().head.header.slots.len(), 1);
}

#[test]
fn older_generations_that_a_crash_left_behind_are_kept_by_the_next_change_and_said_to_be_covered() {
    let (bench, second) = with_two_roots();
    let older = bench.generations();
    let kept: Vec<_> = older
        .iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    remove_first(&bench, &second);
    for (path, bytes) in &kept {
        put(path, bytes);
    }
    let custody = || bench.custody_with(vec![file_root(&second)]);

    let opened = custody().open(None, NOW).unwrap();
    assert_eq!(opened.ring.generation, 4);
    assert!(opened.frozen.is_none() && !opened.joined, "{:?}", opened.warnings);
    let next = kekring::keyring::lifecycle::activate(&opened.ring, crate::bench::key(), NOW).unwrap();
    custody().commit(&opened, next, NOW).unwrap();

    // The second root opens generation 3, and its ring key the two before.
    let numbers =
        |paths: Vec<PathBuf>| -> Vec<u64> { paths.iter().map(|path| crate::bench::number(path)).collect() };
    assert_eq!(numbers(bench.generations()), [1, 2, 3, 4, 5]);
    let opened = custody().open(None, NOW).unwrap();
    let spare = custody().leftovers(&opened).into_iter().map(|it| it.1.into());
    assert_eq!(numbers(spare.collect()), [3, 2, 1]);
}

#[test]
fn a_removal_that_broke_off_is_known_and_finished_in_store_and_mirror() {
    let (bench, second) = with_two_roots();
    let opened = bench.open();
    assert!(opened.half_removed().is_empty(), "a whole ring lacks no slot");
    let first = opened.head.header.slots[0].clone();
    let older: Vec<_> = ["ring", "mirror"]
        .iter()
        .flat_map(|place| generations(&bench.path(place)))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    remove_first(&bench, &second);
    for (path, bytes) in &older {
        put(path, bytes);
    }
    let custody = bench.custody_with(vec![file_root(&second)]);

    let opened = custody.open(None, NOW).unwrap();
    let ids: Vec<_> = opened.half_removed().iter().map(|slot| slot.id).collect();
    assert_eq!(ids, [first.id], "and the slot that stays is not named");
    assert!(custody.finish_removal(&opened, NOW).unwrap().is_empty());

    for place in ["ring", "mirror"] {
        let left = generations(&bench.path(place));
        assert_eq!(left.len(), 1, "{place}: {left:?}");
    }
    assert!(custody.open(None, NOW).unwrap().half_removed().is_empty());
}

#[test]
fn a_removal_that_is_finished_after_a_rotation_names_nothing_that_the_removed_root_does_not_open() {
    let (bench, second) = with_two_roots();
    let older: Vec<_> = bench
        .generations()
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let (removed, _) = remove_first(&bench, &second);
    let custody = bench.custody_with(vec![file_root(&second)]);
    let next = kekring::keyring::lifecycle::activate(&removed.ring, crate::bench::key(), NOW).unwrap();
    custody.commit(&removed, next, NOW).unwrap();
    for (path, bytes) in &older {
        put(path, bytes);
    }

    let opened = custody.open(None, NOW).unwrap();
    let left = custody.finish_removal(&opened, NOW).unwrap();

    assert_eq!(left, Vec::<String>::new());
    let kept: Vec<u64> = bench
        .generations()
        .iter()
        .map(|path| crate::bench::number(path))
        .collect();
    assert_eq!(kept, [4, 5]);
}

#[test]
fn what_a_finished_removal_cannot_take_out_is_named() {
    let (bench, second) = with_two_roots();
    let older = bench.generations();
    let copies: Vec<_> = older.iter().map(|path| fs::read(path).unwrap()).collect();
    remove_first(&bench, &second);
    for (path, bytes) in older.iter().zip(&copies) {
        put(path, bytes);
    }
    // Opens with nothing, so that nobody says what it is.
    fs::write(&older[0], b"damaged").unwrap();
    let custody = bench.custody_with(vec![file_root(&second)]);

    let opened = custody.open(None, NOW).unwrap();
    let left = custody.finish_removal(&opened, NOW).unwrap();

    assert_eq!(left, [older[0].display().to_string()]);
}

#[test]
fn a_generation_under_an_earlier_ring_key_alone_reports_no_key_that_may_be_an_old_one() {
    let (bench, second) = with_two_roots();
    let old = fs::read(bench.newest()).unwrap();
    let (sealed, id) = bench.open().keyring().encrypt(None, &[7; 32]).unwrap();
    let name = bench.newest();
    let (removed, _) = remove_first(&bench, &second);
    let custody = || bench.custody_with(vec![file_root(&second)]);
    let next = kekring::keyring::lifecycle::activate(&removed.ring, crate::bench::key(), NOW).unwrap();
    custody().commit(&removed, next, NOW).unwrap();
    for newer in [bench.generations(), generations(&bench.path("mirror"))].concat() {
        fs::remove_file(newer).unwrap();
    }
    put(&name, &old);

    let opened = custody().open(None, NOW).unwrap();

    let why = opened.keyring().status().unwrap_err().to_string();
    assert!(why.contains("generation 5 cannot be read here"), "{why}");
    let plain = opened.keyring().decrypt(id.as_str(), &sealed).unwrap();
    assert_eq!(plain.expose(), [7; 32]);
}

#[test]
fn a_server_that_holds_the_old_ring_key_asks_a_root_for_the_new_one() {
    let (bench, second) = with_two_roots();
    let held = bench.open().ring_key;
    remove_first(&bench, &second);

    let opened = bench
        .custody_with(vec![file_root(&second)])
        .open(Some(&held), NOW)
        .unwrap();
    let without = bench.custody_with(Vec::new()).open(Some(&held), NOW);

    assert_ne!(opened.ring_key.expose(), held.expose());
    assert!(without.is_err(), "nothing is left that the old key opens");
}

#[test]
fn the_slots_of_a_frozen_ring_stay_as_they_are() {
    let (bench, second) = with_two_roots();
    put(&bench.path("ring/mark"), b"garbage");
    let frozen = bench.open();
    assert!(frozen.frozen.is_some());
    let (custody, roots) = (bench.custody(), [file_root(&second)]);
    let removing: Vec<&dyn RootKey> = roots.iter().map(AsRef::as_ref).collect();
    let gone = [frozen.head.header.slots[0].id];

    let added = custody.add_slots(&frozen, &roots, NOW).map(drop);
    let removed = custody.remove_slots(&frozen, &gone, &removing, NOW).map(drop);
    let finished = custody.finish_removal(&frozen, NOW).map(drop);

    for refused in [added, removed, finished] {
        assert!(matches!(refused, Err(CommitError::Frozen(_))), "{refused:?}");
    }
}

#[test]
fn a_slot_for_a_root_that_has_one_names_the_one_whose_place_it_takes_and_goes_on_doing_so() {
    let (bench, second) = with_two_roots();
    let third = key_file(&bench, "third.key", 9);
    let before = bench.open().head.header.slots;
    let again = [file_root(&second), file_root(&third)];

    let opened = bench.custody().add_slots(&bench.open(), &again, NOW).unwrap();

    let replaces = |opened: &Opened| -> Vec<_> {
        let slots = opened.head.header.slots.iter();
        slots.map(|slot| slot.replaces).collect()
    };
    assert_eq!(replaces(&opened), [None, None, Some(before[1].id), None]);
    let gone = [before[0].id, before[1].id];
    let roots: Vec<&dyn RootKey> = again.iter().map(AsRef::as_ref).collect();
    let (after, _) = bench.custody().remove_slots(&opened, &gone, &roots, NOW).unwrap();
    assert_eq!(replaces(&after), [Some(before[1].id), None]);
}

#[test]
fn what_a_ring_remembers_of_removals_is_not_outgrown() {
    let (bench, second) = with_two_roots();
    let remove = |replaced: usize, removed: usize| {
        let mut opened = bench.open();
        let id = |number: usize| u128::try_from(number).unwrap().to_be_bytes();
        opened.ring.replaced = (0..replaced).map(|it| RingKeyId(id(it))).collect();
        opened.ring.removed = (0..removed).map(id).collect();
        let roots = [file_root(&second)];
        let roots: Vec<&dyn RootKey> = roots.iter().map(AsRef::as_ref).collect();
        let gone = [opened.head.header.slots[0].id];
        let outcome = bench.custody().remove_slots(&opened, &gone, &roots, NOW);
        outcome.map(drop).map_err(|why| why.to_string())
    };

    for (replaced, removed) in [(MAX_REMOVALS, 0), (0, MAX_REMOVALS), (0, MAX_REMOVALS - 1)] {
        let why = remove(replaced, removed).unwrap_err();
        assert!(why.contains("the most that a ring remembers"), "{why}");
    }
    remove(MAX_REMOVALS - 1, MAX_REMOVALS - 2).unwrap();
}

#[test]
fn where_several_nodes_keep_the_ring_a_removal_leaves_a_record_under_the_old_ring_key_and_deletes_nothing() {
    let (bench, second) = with_two_roots();
    let shared = Custody {
        shared: true,
        ..bench.custody()
    };
    let mut opened = shared.open(None, NOW).unwrap();
    let later = Superseded {
        ring_id: opened.ring.id,
        generation: 1 << 20,
    };
    opened.ring.superseding = vec![later.encode(&opened.ring_key)];
    let roots = [file_root(&second)];
    let roots: Vec<&dyn RootKey> = roots.iter().map(AsRef::as_ref).collect();
    let gone = [opened.head.header.slots[0].id];
    let before = bench.generations();

    let (after, left) = shared.remove_slots(&opened, &gone, &roots, NOW).unwrap();

    assert!(left.is_empty(), "{left:?}");
    assert_eq!(bench.generations().len(), before.len() + 1);
    let records = after.ring.superseding.iter();
    let numbers: Vec<u64> = records
        .map(|it| superseded::decode(it, &opened.ring_key).unwrap().generation)
        .collect();
    let [ours, theirs] = numbers.as_slice() else {
        panic!("{numbers:?}");
    };
    assert_eq!((*ours).min(*theirs), after.ring.generation);
    // In files nobody reads such a record.
    let (bench, second) = with_two_roots();
    assert!(remove_first(&bench, &second).0.ring.superseding.is_empty());
}

#[test]
fn a_removal_that_is_finished_brings_the_mirror_and_its_mark_up_to_the_ring() {
    let (bench, second) = with_two_roots();
    remove_first(&bench, &second);
    for path in generations(&bench.path("mirror")) {
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(bench.path("mirror/mark")).unwrap();
    let custody = bench.custody_with(vec![file_root(&second)]);

    custody
        .finish_removal(&custody.open(None, NOW).unwrap(), NOW)
        .unwrap();

    assert_eq!(generations(&bench.path("mirror")).len(), 1);
    assert!(bench.path("mirror/mark").exists());
}

#[test]
fn what_is_left_after_a_removal_is_named_up_to_the_number_of_the_ring_where_its_ring_key_opens_it_not() {
    let (bench, second) = with_two_roots();
    remove_first(&bench, &second);
    let custody = bench.custody_with(vec![file_root(&second)]);
    let stranger = fs::read(Bench::new().newest()).unwrap();
    let garbage = |number: u64| format!("gen-{number}-00000000.ring");
    put(&bench.path("mirror/gen-1-aaaaaaaa.ring"), &stranger);
    for number in [4, 5] {
        put(&bench.path("mirror").join(garbage(number)), b"garbage");
    }

    let left = custody
        .finish_removal(&custody.open(None, NOW).unwrap(), NOW)
        .unwrap();

    let mut names: Vec<_> = left.iter().map(|it| it.rsplit('/').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["gen-1-aaaaaaaa.ring", garbage(4).as_str()]);
}
