//! Ring keys that lie in one place and do not replace each other, and what lies beside them under one that was replaced.

use std::fs;

use kekring::custody::{Header, Opened};
use kekring::format::generation;
use kekring::keyring::{RingKeyId, SlotId, lifecycle};
use kekring::store::generation_name;

use crate::bench::{NOW, generations, put};
use crate::replaced::{Files, Removed, two_removals, write_all};

fn files_in(removed: &Removed, dir: &str) -> Files {
    let files = generations(&removed.bench.path(dir)).into_iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(path).unwrap())
    });
    files.collect()
}

fn forget_marks(removed: &Removed) {
    for place in ["ring/mark", "mirror/mark"] {
        fs::remove_file(removed.bench.path(place)).unwrap();
    }
}

/// How many generations an operator has to decide between.
fn heads(opened: &Opened) -> usize {
    opened.frozen.iter().flat_map(|it| it.heads()).count()
}

/// The generation after one, which names these ring keys replaced and these slots removed.
fn claiming(base: &Opened, replaced: &[RingKeyId], removed: &[SlotId]) -> (String, Vec<u8>) {
    let mut ring = base.ring.clone();
    ring.generation += 1;
    ring.replaced.extend_from_slice(replaced);
    ring.replaced.sort_unstable();
    ring.removed.extend_from_slice(removed);
    ring.removed.sort_unstable();
    let header = Header {
        generation: ring.generation,
        parents: vec![base.head.hash],
        ..base.head.header.clone()
    };
    let bytes = generation::encode(&header, &ring, &base.ring_key).unwrap();
    let hash = generation::parse(&bytes).unwrap().hash;
    (generation_name(ring.generation, &hash), bytes)
}

#[test]
fn of_two_undecided_ring_keys_the_newest_generation_is_the_head_and_what_either_holds_decrypts() {
    let (removed, _, other) = two_removals();
    // Each side has an active key that the other one lacks.
    removed.rotate();
    let ours = removed.rotate();
    write_all(&removed.bench.path("ring"), &files_in(&removed, "other"));
    forget_marks(&removed);

    let undecided = removed.open();

    assert_eq!(undecided.head.name, other.head.name);
    assert_eq!(heads(&undecided), 2, "{:?}", undecided.frozen);
    for side in [&ours, &other] {
        let (seed, id) = side.keyring().encrypt(None, &[4; 32]).unwrap();
        let plain = undecided.keyring().decrypt(id.as_str(), &seed).unwrap();
        assert_eq!(plain.expose(), [4; 32]);
    }
}

#[test]
fn a_decision_goes_above_every_generation_of_the_history_that_lost() {
    let (removed, _, other) = two_removals();
    removed.rotate();
    let ours = removed.rotate();
    write_all(&removed.bench.path("ring"), &files_in(&removed, "other"));
    forget_marks(&removed);
    let decided = removed
        .custody()
        .open_for(&removed.open(), &ours.head.name, NOW)
        .unwrap();

    let after = removed.custody().accept(&decided, NOW).unwrap();

    let active = after.ring.active().unwrap().id.sequence();
    assert!(active > other.ring.highest_sequence(), "{active}");
}

#[test]
fn an_operator_decides_for_no_ring_key_that_was_replaced() {
    let (removed, files, _) = two_removals();
    write_all(&removed.bench.path("ring"), &files);
    let old = generation::parse(&removed.old).unwrap();
    let name = generation_name(old.header.generation, &old.hash);
    put(&removed.bench.path("ring").join(&name), &removed.old);
    forget_marks(&removed);

    let asked = removed.custody().open_for(&removed.open(), &name, NOW).unwrap();

    assert_eq!(heads(&asked), 2, "{:?}", asked.frozen);
}

#[test]
fn what_is_under_a_replaced_ring_key_names_no_ring_key_replaced_and_no_slot_removed() {
    let removed = Removed::new();
    let before = removed.open();
    let (_, forged) = removed.forged(3);
    let slot = before.head.header.slots[0].id;
    let (name, bytes) = claiming(&forged, &[RingKeyId([7; 16])], &[slot]);
    put(&removed.bench.path("ring").join(name), &bytes);

    let opened = removed.open();

    assert!(!opened.joined);
    assert_eq!(opened.unfinished().count(), 0);
    assert_eq!(
        (&opened.ring.removed, &opened.ring.replaced),
        (&before.ring.removed, &before.ring.replaced)
    );
}

#[test]
fn a_ring_never_counts_its_own_ring_key_as_replaced_when_each_of_two_names_the_other() {
    let (removed, files, other) = two_removals();
    write_all(&removed.bench.path("ring"), &files);
    let ours = removed.custody().store_join(removed.open(), NOW).unwrap();
    let further = RingKeyId([7; 16]);
    let (name, bytes) = claiming(&other, &[ours.lineage(), further], &[]);
    put(&removed.bench.path("ring").join(name), &bytes);

    let opened = removed.open();

    assert_eq!(opened.lineage(), ours.lineage(), "this node's mark decides");
    assert!(!opened.ring.replaced.contains(&ours.lineage()));
    assert!(opened.ring.replaced.contains(&further));
}

#[test]
fn a_restore_never_makes_the_ring_key_that_stays_a_replaced_one() {
    let (removed, _, other) = two_removals();
    let custody = removed.custody();
    let ours = removed.open();
    let further = RingKeyId([7; 16]);
    let (_, bytes) = claiming(&other, &[ours.lineage(), further], &[]);
    let (_, copy) = removed.copy_of(&custody, &bytes);

    let taken = custody.take_in(&ours, &copy, NOW).unwrap();
    let replaced = &taken.ring.replaced;
    assert!(replaced.contains(&other.lineage()) && replaced.contains(&further));
    assert!(!replaced.contains(&ours.lineage()));

    // The ring that knows the other one's ring key replaced goes over to it all the same.
    let (_, copy) = removed.copy_of(&custody, &other.head.bytes);
    let over = custody.go_over(&taken, &copy, NOW).unwrap();
    let replaced = &over.ring.replaced;
    assert_eq!(over.lineage(), other.lineage());
    assert!(replaced.contains(&ours.lineage()) && replaced.contains(&further));
    assert!(!replaced.contains(&other.lineage()));
}

#[test]
fn a_mark_in_the_mirror_decides_nothing_between_two_ring_keys_and_is_left_as_it_is() {
    let (removed, files, _) = two_removals();
    write_all(&removed.bench.path("ring"), &files);
    fs::remove_file(removed.bench.path("ring/mark")).unwrap();

    let undecided = removed.open();

    assert_eq!(heads(&undecided), 2, "{:?}", undecided.frozen);
    let warnings = undecided.warnings.join("\n");
    assert!(
        warnings.contains("the mark in the mirror is under another ring key, and is left as it is"),
        "{warnings}"
    );
}

#[test]
fn what_a_mark_under_the_replaced_ring_key_suspends_is_suspended_unless_it_was_resumed_since() {
    let removed = Removed::new();
    // They have higher numbers than the ring.
    let (files, before) = removed.forged(6);
    let [first, second] = [0, 1].map(|at: usize| before.ring.keys[at].id.clone());
    let there = removed.custody_of(&removed.bench.path("attacker"), &["root.key"]);
    let mut mark = there.next_mark(None, &before, NOW).unwrap();
    mark.suspended = vec![first.clone()];
    let mut suspended = |generation: u64| {
        mark.generation = generation;
        write_all(&removed.bench.path("ring"), &files);
        put(&removed.bench.path("ring/mark"), &mark.encode(&before.ring_key));
        let opened = removed.open();
        assert!(opened.frozen.is_none(), "{:?}", opened.frozen);
        assert!(!opened.ring.key(&second).unwrap().suspended);
        opened.ring.key(&first).unwrap().suspended
    };
    assert!(suspended(3));

    // What is suspended in memory is stored by a change, and then resumed.
    let opened = removed.open();
    let next = lifecycle::suspend(&opened.ring, &first, false).unwrap();
    let resumed = removed
        .custody()
        .commit(&opened, next, NOW)
        .unwrap()
        .ring
        .generation;

    assert!(!suspended(resumed - 1));
    assert!(suspended(resumed));
}

#[test]
fn the_mirrors_mark_is_heard_under_the_rings_own_ring_key_whatever_is_newer_under_a_replaced_one() {
    let removed = Removed::new();
    let mark = fs::read(removed.bench.path("ring/mark")).unwrap();
    let newest = removed.rotate();
    let (files, _) = removed.forged(20);
    fs::remove_file(removed.bench.path("ring").join(&newest.head.name)).unwrap();
    fs::write(removed.bench.path("ring/mark"), mark).unwrap();
    write_all(&removed.bench.path("ring"), &files);

    assert_eq!(removed.open().head.hash, newest.head.hash);
}

#[test]
fn the_active_key_of_a_generation_that_is_passed_over_is_told_where_the_ring_lacks_it() {
    let told = |rotations: usize| {
        let removed = Removed::new();
        let (files, forged) = removed.forged(rotations);
        let (name, bytes) = files.last().unwrap();
        put(&removed.bench.path("ring").join(name), bytes);
        let passed = removed.open().passed.remove(0);
        let active = forged.ring.active().unwrap().id.clone();
        (
            passed.keys.len(),
            passed.active == Some(active),
            passed.active.is_none(),
        )
    };

    // The first rotation makes the key active that both sides had prepared.
    assert_eq!(told(1), (1, false, true));
    assert_eq!(told(2), (2, true, false));
}
