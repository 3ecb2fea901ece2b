//! Ring keys that were replaced stay replaced: whoever holds a removed root and an old generation makes as many new ones as he
//! likes, and none of them decides anything. What honest people have under such a key comes back by their word alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kekring::crypto::secret::Key32;
use kekring::custody::{Custody, Header, Opened, Reason, Relation, Restored};
use kekring::format::generation;
use kekring::format::superseded::Superseded;
use kekring::format::wrapped_seed;
use kekring::keyring::ring::KeyState;
use kekring::keyring::{DecryptError, KeyId, NotServing, RingId, RingKeyId, lifecycle};
use kekring::root::RootKey;
use kekring::store::{Backup, FileStore};

use crate::bench::{Bench, NOW, file_root, generations, key, put};

/// Names and bytes of generations.
pub type Files = Vec<(String, Vec<u8>)>;

/// A mirrored ring that had a second root before the first one was removed.
pub struct Removed {
    pub bench: Bench,
    pub second: PathBuf,
    /// The generation from before the removal: the first root opens it, and the second too.
    pub old: Vec<u8>,
    /// A seed that was sealed before it.
    sealed: (Vec<u8>, KeyId),
}

impl Removed {
    pub fn new() -> Self {
        let bench = Bench::mirrored();
        let second = bench.path("second.key");
        put(&second, &[7; 32]);
        bench.rotate();
        let both = bench
            .custody()
            .add_slots(&bench.open(), &[file_root(&second)], NOW)
            .unwrap();
        let it = Self {
            old: both.head.bytes.clone(),
            sealed: both.keyring().encrypt(None, &[7; 32]).unwrap(),
            second,
            bench,
        };
        Self::remove_first(&it.bench.custody_with(it.roots()));
        it
    }

    fn roots(&self) -> Vec<Arc<dyn RootKey>> {
        vec![file_root(&self.bench.path("root.key")), file_root(&self.second)]
    }

    /// Removes the first root from a ring.
    pub fn remove_first(custody: &Custody) -> Opened {
        let opened = custody.open(None, NOW).unwrap();
        let roots: Vec<&dyn RootKey> = custody.roots.iter().map(AsRef::as_ref).collect();
        let gone = [opened.head.header.slots[0].id];
        custody.remove_slots(&opened, &gone, &roots, NOW).unwrap().0
    }

    /// The ring as its nodes open it: by the root that stays.
    pub fn custody(&self) -> Custody {
        self.bench.custody_with(vec![file_root(&self.second)])
    }

    pub fn open(&self) -> Opened {
        self.custody().open(None, NOW).unwrap()
    }

    pub fn rotate(&self) -> Opened {
        let opened = self.open();
        let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
        self.custody().commit(&opened, next, NOW).unwrap()
    }

    pub fn custody_of(&self, dir: &Path, roots: &[&str]) -> Custody {
        let roots = roots.iter().map(|name| file_root(&self.bench.path(name)));
        Custody {
            calls: Arc::default(),
            store: Box::new(FileStore::new(dir.to_owned(), None)),
            ..self.bench.custody_with(roots.collect())
        }
    }

    /// A history of so many rotations that goes on from the old generation under the old ring key, made with the removed root.
    pub fn forged(&self, rotations: usize) -> (Files, Opened) {
        let dir = self.bench.path("attacker");
        let custody = self.custody_of(&dir, &["root.key"]);
        FileStore::new(dir.clone(), None).create_directories().unwrap();
        let backup = self.backup("attacker.backup", &self.old);
        if custody.store.stamp().unwrap().0.is_empty() {
            custody.put_backup(&backup).unwrap();
        }
        let mut opened = custody.open(None, NOW).unwrap();
        for _ in 0..rotations {
            let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
            opened = custody.commit(&opened, next, NOW).unwrap();
        }
        let files = generations(&dir).into_iter().map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        });
        (files.collect(), opened)
    }

    pub fn backup(&self, name: &str, bytes: &[u8]) -> Backup {
        let path = self.bench.path(name);
        let _ = fs::remove_file(&path);
        fs::write(&path, bytes).unwrap();
        Backup::read(&path).unwrap()
    }

    pub fn copy_of(&self, custody: &Custody, bytes: &[u8]) -> (Backup, Opened) {
        let backup = self.backup("a.backup", bytes);
        let copy = custody.open_backup(&backup, None, NOW).unwrap();
        (backup, copy)
    }

    /// Sees that nothing of a forged history has got in.
    fn is_untouched_by(&self, forged: &Opened, before: &Opened) {
        let opened = self.open();
        assert_eq!(opened.ring_key.expose(), before.ring_key.expose());
        assert_eq!(opened.head.header.slots.len(), 1, "the removed root has no slot");
        let active = |it: &Opened| it.ring.active().unwrap().id.clone();
        assert_eq!(active(&opened), active(before));
        let theirs = forged
            .ring
            .keys
            .iter()
            .filter(|key| before.ring.key(&key.id).is_none());
        for key in theirs {
            assert!(opened.ring.key(&key.id).is_none(), "{} got in", key.id);
        }
        assert!(
            opened.frozen.is_none() && opened.refusing.is_none(),
            "{:?}",
            opened.warnings
        );
        let plain = opened
            .keyring()
            .decrypt(self.sealed.1.as_str(), &self.sealed.0)
            .unwrap();
        assert_eq!(plain.expose(), [7; 32]);
    }
}

pub fn write_all(dir: &Path, files: &Files) {
    for (name, bytes) in files {
        put(&dir.join(name), bytes);
    }
}

#[test]
fn what_a_removed_root_seals_never_becomes_the_ring_in_the_mirror_or_in_the_rings_own_directory() {
    for (place, mark) in [("mirror", false), ("mirror", true), ("ring", false)] {
        let removed = Removed::new();
        let before = removed.open();
        let (files, forged) = removed.forged(20);

        write_all(&removed.bench.path(place), &files);
        if mark {
            fs::copy(
                removed.bench.path("attacker/mark"),
                removed.bench.path(place).join("mark"),
            )
            .unwrap();
        }

        removed.is_untouched_by(&forged, &before);
        // Nor in anything that is written from then on.
        let after = removed.rotate();
        removed.rotate();
        removed.is_untouched_by(&forged, &removed.open());
        assert_eq!(after.ring.generation, before.ring.generation + 1);
        let by_the_removed = removed.custody_of(&removed.bench.path("ring"), &["root.key"]);
        if let Ok(opened) = by_the_removed.open(None, NOW) {
            // What was prepared before the removal it knows; what was made since, it does not.
            assert!(opened.ring.key(&after.ring.keys.last().unwrap().id).is_none());
        }
    }
}

#[test]
fn a_generation_under_a_replaced_ring_key_is_kept_and_told_of_with_the_keys_that_only_it_has() {
    let removed = Removed::new();
    let (files, forged) = removed.forged(3);
    write_all(&removed.bench.path("ring"), &files);
    let newest = files.last().unwrap();

    let opened = removed.open();

    let told = opened.passed.iter().find(|it| it.name == newest.0).unwrap();
    assert_eq!(told.active.as_ref(), forged.ring.active().map(|key| &key.id));
    let warnings = opened.warnings.join("\n");
    assert!(
        warnings.contains(&format!("kekring restore {}", told.place)),
        "{warnings}"
    );
    let told = |opened: Opened| opened.passed.iter().any(|it| it.name == newest.0);
    for _ in 0..8 {
        assert!(told(removed.rotate()), "what a commit returns tells of it too");
    }
    let place = removed.bench.path("ring").join(&newest.0);
    assert_eq!(fs::read(place).unwrap(), newest.1, "no rotation deletes it");
}

#[test]
fn a_restore_of_an_older_and_longer_backup_takes_its_keys_in_to_decrypt_and_undoes_no_removal() {
    let removed = Removed::new();
    let before = removed.open();
    // Nobody malicious: six more rotations of the same ring elsewhere, before the removal reached it.
    let (files, longer) = removed.forged(6);
    let custody = removed.custody();
    let (backup, copy) = removed.copy_of(&custody, &files.last().unwrap().1);
    assert_eq!(Relation::of(&before, &copy), Relation::Replaced);

    let restored = custody.restore(Some(&before), &copy, &backup, NOW).unwrap();

    assert_eq!(restored, Restored::TakenIn);
    let opened = removed.open();
    assert_eq!(opened.ring_key.expose(), before.ring_key.expose());
    assert_eq!(opened.head.header.slots.len(), 1);
    assert_eq!(
        opened.ring.active().unwrap().id,
        before.ring.active().unwrap().id,
        "the active key stays"
    );
    let (seed, id) = longer.keyring().encrypt(None, &[9; 32]).unwrap();
    assert_eq!(
        opened.keyring().decrypt(id.as_str(), &seed).unwrap().expose(),
        [9; 32]
    );
    for key in longer
        .ring
        .keys
        .iter()
        .filter(|key| before.ring.key(&key.id).is_none())
    {
        let taken = opened.ring.key(&key.id).unwrap();
        assert!(
            taken.decrypt_only && taken.state == KeyState::Deactivated,
            "{taken:?}"
        );
    }
    // Nor does a rotation ever use one of them.
    let after = removed.rotate();
    assert!(!after.ring.active().unwrap().decrypt_only);
    let again = custody.restore(Some(&after), &copy, &backup, NOW).unwrap();
    assert_eq!(again, Restored::Nothing);
}

#[test]
fn a_restore_takes_keys_and_nothing_else_from_under_a_replaced_ring_key() {
    let removed = Removed::new();
    let before = removed.open();
    let (_, forged) = removed.forged(3);
    // Its holder names the slot that stays removed, and a ring key of his own replaced.
    let mut ring = forged.ring.clone();
    ring.generation += 1;
    ring.removed = vec![before.head.header.slots[0].id];
    ring.replaced = vec![RingKeyId([7; 16])];
    ring.keys.iter_mut().for_each(|key| key.created = NOW);
    let header = Header {
        generation: ring.generation,
        parents: vec![forged.head.hash],
        ..forged.head.header.clone()
    };
    let bytes = generation::encode(&header, &ring, &forged.ring_key).unwrap();
    let custody = removed.custody();
    let (backup, copy) = removed.copy_of(&custody, &bytes);

    let restored = custody.restore(Some(&before), &copy, &backup, NOW).unwrap();

    assert_eq!(restored, Restored::TakenIn);
    let opened = removed.open();
    assert_eq!(opened.unfinished().count(), 0);
    assert!(opened.frozen.is_none(), "{:?}", opened.frozen);
    assert_eq!(
        (&opened.ring.removed, &opened.ring.replaced),
        (&before.ring.removed, &before.ring.replaced)
    );
}

#[test]
fn a_suspension_or_a_resumption_under_a_replaced_ring_key_changes_nothing() {
    let removed = Removed::new();
    let first = removed.open().ring.keys[0].id.clone();
    let (_, forged) = removed.forged(1);
    let attacker = removed.custody_of(&removed.bench.path("attacker"), &["root.key"]);
    let suspended = lifecycle::suspend(&forged.ring, &first, true).unwrap();
    attacker.commit(&forged, suspended, NOW).unwrap();
    let (files, _) = removed.forged(0);

    write_all(&removed.bench.path("ring"), &files);
    write_all(&removed.bench.path("mirror"), &files);

    assert!(!removed.open().ring.key(&first).unwrap().suspended);
}

#[test]
fn a_disk_that_was_rolled_back_to_before_a_removal_goes_over_to_what_the_mirror_holds_by_a_restore() {
    let removed = Removed::new();
    let ring = removed.bench.path("ring");
    for newer in generations(&ring) {
        fs::remove_file(newer).unwrap();
    }
    let (files, _) = removed.forged(0);
    write_all(&ring, &files);
    let attacker = removed.custody_of(&removed.bench.path("attacker"), &["root.key"]);
    let then = attacker.open(None, NOW).unwrap();
    let mark = attacker.next_mark(None, &then, NOW).unwrap();
    put(&ring.join("mark"), &mark.encode(&then.ring_key));

    // Nothing under the later ring key is in its own place, and what lies in the mirror is nobody's word.
    let opened = removed.open();
    assert_eq!(opened.ring_key.expose(), then.ring_key.expose());
    let newest = generations(&removed.bench.path("mirror")).pop().unwrap();
    let custody = removed.custody();
    let (backup, copy) = removed.copy_of(&custody, &fs::read(newest).unwrap());
    assert_eq!(Relation::of(&opened, &copy), Relation::Newer);
    let restored = custody.restore(Some(&opened), &copy, &backup, NOW).unwrap();

    assert!(matches!(restored, Restored::WentOver(_)));
    assert_eq!(removed.open().head.header.slots.len(), 1);
}

#[test]
fn a_restore_of_what_names_the_running_ring_key_replaced_loses_no_key_and_makes_a_fresh_one_active() {
    let removed = Removed::new();
    let newer = removed.open();
    let dir = removed.bench.path("running");
    FileStore::new(dir.clone(), None).create_directories().unwrap();
    let running = removed.custody_of(&dir, &["second.key"]);
    running
        .put_backup(&removed.backup("old.backup", &removed.old))
        .unwrap();
    let mut here = running.open(None, NOW).unwrap();
    for _ in 0..4 {
        let next = lifecycle::activate(&here.ring, key(), NOW).unwrap();
        here = running.commit(&here, next, NOW).unwrap();
    }
    let sealed = here.keyring().encrypt(None, &[5; 32]).unwrap();
    let (backup, copy) = removed.copy_of(&running, &newer.head.bytes);

    let restored = running.restore(Some(&here), &copy, &backup, NOW).unwrap();

    let opened = running.open(None, NOW).unwrap();
    let active = opened.ring.active().unwrap();
    assert_eq!(restored, Restored::WentOver(active.id.clone()));
    assert!(opened.ring.generation > here.ring.generation.max(newer.ring.generation));
    let mut parents = vec![here.head.hash, newer.head.hash];
    parents.sort_unstable();
    assert_eq!(opened.head.header.parents, parents);
    assert_eq!(opened.ring_key.expose(), newer.ring_key.expose());
    assert!(
        opened.frozen.is_none() && opened.refusing.is_none(),
        "{:?}",
        opened.warnings
    );
    let reported = here.ring.active().unwrap().id.sequence();
    let highest = [&here.ring, &newer.ring].map(|ring| ring.highest_sequence());
    assert!(active.id.sequence() > highest[0].max(highest[1]).max(reported));
    for ours in &here.ring.keys {
        assert!(opened.ring.key(&ours.id).unwrap().decrypt_only, "{}", ours.id);
    }
    let plain = opened.keyring().decrypt(sealed.1.as_str(), &sealed.0).unwrap();
    assert_eq!(plain.expose(), [5; 32]);
    assert!(
        opened.passed.is_empty(),
        "everything of the old ring key is taken in"
    );
}

/// Two removals in histories that had parted: the ring's own, and one that happened in a copy.
pub fn two_removals() -> (Removed, Files, Opened) {
    let removed = Removed::new();
    let dir = removed.bench.path("other");
    FileStore::new(dir.clone(), None).create_directories().unwrap();
    let other = removed.custody_of(&dir, &["second.key"]);
    other
        .put_backup(&removed.backup("old.backup", &removed.old))
        .unwrap();
    let first = other.open(None, NOW).unwrap();
    let mark = other.next_mark(None, &first, NOW);
    other.settle(&first, mark.as_ref()).unwrap();
    Removed::remove_first(&removed.custody_of(&dir, &["root.key", "second.key"]));
    let mut opened = other.open(None, NOW).unwrap();
    for _ in 0..5 {
        let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
        opened = other.commit(&opened, next, NOW).unwrap();
    }
    let bytes = fs::read(generations(&dir).pop().unwrap()).unwrap();
    (removed, vec![(opened.head.name.clone(), bytes)], opened)
}

#[test]
fn of_two_removals_that_do_not_know_each_other_this_nodes_mark_decides() {
    let (removed, files, other) = two_removals();
    let before = removed.open();
    write_all(&removed.bench.path("ring"), &files);

    let opened = removed.open();

    assert_eq!(opened.ring_key.expose(), before.ring_key.expose());
    assert!(opened.frozen.is_none(), "{:?}", opened.frozen);
    let lost = RingKeyId::of(other.ring.id, &other.ring_key);
    assert!(opened.ring.replaced.contains(&lost) && !opened.ring.replaced.contains(&opened.lineage()));
    let told = opened.passed.iter().find(|it| it.name == files[0].0).unwrap();
    assert_eq!(told.active.as_ref(), other.ring.active().map(|key| &key.id));
    let stored = removed.custody().store_join(opened, NOW).unwrap();
    assert!(stored.ring.replaced.contains(&lost), "for ever from now on");
    fs::remove_file(removed.bench.path("ring").join(&files[0].0)).unwrap();
    assert!(removed.open().ring.replaced.contains(&lost));
}

#[test]
fn of_two_removals_and_no_mark_no_key_is_reported_until_somebody_decides() {
    let (removed, files, other) = two_removals();
    let ours = removed.open();
    write_all(&removed.bench.path("ring"), &files);
    for place in ["ring/mark", "mirror/mark"] {
        fs::remove_file(removed.bench.path(place)).unwrap();
    }

    let undecided = removed.open();
    let heads: Vec<String> = undecided
        .frozen
        .iter()
        .flat_map(|it| it.heads())
        .cloned()
        .collect();
    assert_eq!(heads.len(), 2, "{:?}", undecided.frozen);
    assert!(matches!(undecided.refusing, Some(NotServing::TwoRingKeys(_))));
    // Everything decrypts meanwhile.
    for side in [&ours, &other] {
        let (seed, id) = side.keyring().encrypt(None, &[4; 32]).unwrap();
        let plain = undecided.keyring().decrypt(id.as_str(), &seed).unwrap();
        assert_eq!(plain.expose(), [4; 32]);
    }
    let name = ours.head.name.trim_end_matches(".ring");
    let decided = removed.custody().open_for(&undecided, name, NOW).unwrap();
    let after = removed.custody().accept(&decided, NOW).unwrap();

    assert_eq!(after.ring_key.expose(), ours.ring_key.expose());
    let opened = removed.open();
    assert!(
        opened.frozen.is_none() && opened.refusing.is_none(),
        "{:?}",
        opened.warnings
    );
    let active = opened.ring.active().unwrap().id.clone();
    assert!(
        active > other.ring.active().unwrap().id,
        "what was reported there never comes after it"
    );
    assert!(
        opened.passed.iter().any(|it| it.name == files[0].0),
        "its keys wait for a restore"
    );
}

#[test]
fn of_two_removals_and_no_mark_what_either_history_suspended_is_suspended() {
    for here in [true, false] {
        let (removed, mut files, other) = two_removals();
        let (custody, opened) = match here {
            true => (removed.custody(), removed.open()),
            false => (
                removed.custody_of(&removed.bench.path("other"), &["second.key"]),
                other,
            ),
        };
        let first = &opened.ring.keys[0].id;
        let suspended = lifecycle::suspend(&opened.ring, first, true).unwrap();
        let (material, ring) = (&opened.ring.keys[0].material, opened.ring.id);
        let seed = wrapped_seed::wrap(ring, first, material, &[6; 32]).unwrap();
        let after = custody.commit(&opened, suspended, NOW).unwrap();
        if !here {
            files = vec![(after.head.name.clone(), after.head.bytes.clone())];
        }
        write_all(&removed.bench.path("ring"), &files);
        for place in ["ring/mark", "mirror/mark"] {
            fs::remove_file(removed.bench.path(place)).unwrap();
        }

        let undecided = removed.open();

        assert!(matches!(undecided.refusing, Some(NotServing::TwoRingKeys(_))));
        let outcome = undecided.keyring().decrypt(first.as_str(), &seed);
        assert!(
            matches!(outcome, Err(DecryptError::Suspended(_))),
            "suspended here: {here}"
        );
    }
}

#[test]
fn a_restore_that_goes_over_forgets_no_removal_that_the_running_ring_knew_of() {
    let (removed, _, other) = two_removals();
    // From the ring of today somebody went on elsewhere and removed the second root too.
    let dir = removed.bench.path("later");
    FileStore::new(dir.clone(), None).create_directories().unwrap();
    let third = removed.bench.path("third.key");
    put(&third, &[9; 32]);
    let today = removed.open();
    put(&dir.join(&today.head.name), &today.head.bytes);
    let later = removed.custody_of(&dir, &["second.key", "third.key"]);
    let added = later
        .add_slots(&later.open(None, NOW).unwrap(), &[file_root(&third)], NOW)
        .unwrap();
    let roots: Vec<&dyn RootKey> = later.roots.iter().map(AsRef::as_ref).collect();
    let gone = [added.head.header.slots[0].id];
    let (newer, _) = later.remove_slots(&added, &gone, &roots, NOW).unwrap();
    // The ring itself took in what another history had, and so knows that its ring key was replaced.
    let wide = removed
        .bench
        .custody_with(vec![file_root(&removed.second), file_root(&third)]);
    let (_, theirs) = removed.copy_of(&wide, &other.head.bytes);
    let here = wide
        .take_in(&wide.open(None, NOW).unwrap(), &theirs, NOW)
        .unwrap();
    let (backup, copy) = removed.copy_of(&wide, &newer.head.bytes);
    assert_eq!(Relation::of(&here, &copy), Relation::Newer);

    wide.restore(Some(&here), &copy, &backup, NOW).unwrap();

    let after = wide.open(None, NOW).unwrap().ring;
    for name in here
        .ring
        .replaced
        .iter()
        .chain([&here.lineage(), &other.lineage()])
    {
        assert!(after.replaced.contains(name), "{name:?}");
    }
    let slots = here.ring.removed.iter();
    assert!(slots.clone().all(|slot| after.removed.contains(slot)));
}

#[test]
fn a_slot_that_another_history_removed_stops_rotations_until_it_is_removed_here_too() {
    let (removed, files, other) = two_removals();
    // There both roots were removed one after the other, and a third one came; here the second one stays.
    let third = removed.bench.path("third.key");
    put(&third, &[9; 32]);
    let dir = removed.bench.path("other");
    let custody = removed.custody_of(&dir, &["second.key", "third.key"]);
    let added = custody
        .add_slots(&custody.open(None, NOW).unwrap(), &[file_root(&third)], NOW)
        .unwrap();
    let gone = [added.head.header.slots[0].id];
    let roots: Vec<&dyn RootKey> = custody.roots.iter().map(AsRef::as_ref).collect();
    let (there, _) = custody.remove_slots(&added, &gone, &roots, NOW).unwrap();
    drop((files, other));
    put(
        &removed.bench.path("ring").join(&there.head.name),
        &there.head.bytes,
    );
    let wide = removed
        .bench
        .custody_with(vec![file_root(&removed.second), file_root(&third)]);

    let opened = wide.open(None, NOW).unwrap();
    let reasons: Vec<_> = opened.frozen.iter().flat_map(|it| it.reasons()).collect();
    assert_eq!(reasons, [&Reason::NoSlot], "the only slot here was removed there");
    let opened = wide.add_slots(&opened, &[file_root(&third)], NOW).unwrap();
    let opened = wide.reopen(&opened, NOW).unwrap();
    assert!(opened.frozen.is_none(), "{:?}", opened.frozen);
    assert!(
        opened.warnings.join("\n").contains("removal unfinished"),
        "{:?}",
        opened.warnings
    );
    let next = || lifecycle::activate(&opened.ring, key(), NOW).unwrap();
    let refused = wide.rotate(&opened, next(), kekring::custody::Share::Rotation, NOW);
    let refused = refused.map(drop).unwrap_err().to_string();
    assert!(
        refused.contains("another history of the ring removed the slot"),
        "{refused}"
    );
    let gone: Vec<_> = opened.unfinished().map(|slot| slot.id).collect();
    let roots: Vec<&dyn RootKey> = wide.roots.iter().map(AsRef::as_ref).collect();
    wide.remove_slots(&opened, &gone, &roots, NOW).unwrap();

    let opened = wide.open(None, NOW).unwrap();
    assert_eq!(opened.unfinished().count(), 0);
    let next = lifecycle::activate(&opened.ring, key(), NOW).unwrap();
    wide.rotate(&opened, next, kekring::custody::Share::Rotation, NOW)
        .unwrap();
}

#[test]
fn a_lone_backup_under_a_replaced_ring_key_on_an_empty_store_opens_and_serves() {
    let removed = Removed::new();
    let dir = removed.bench.path("fresh");
    FileStore::new(dir.clone(), None).create_directories().unwrap();
    let custody = removed.custody_of(&dir, &["root.key"]);
    let (backup, copy) = removed.copy_of(&custody, &removed.old);

    custody.restore(None, &copy, &backup, NOW).unwrap();

    let opened = custody.open(None, NOW).unwrap();
    assert!(opened.keyring().status().is_ok());
    let plain = opened
        .keyring()
        .decrypt(removed.sealed.1.as_str(), &removed.sealed.0)
        .unwrap();
    assert_eq!(plain.expose(), [7; 32]);
}

#[test]
fn what_no_root_opens_is_moved_aside_by_word_and_comes_back_as_a_stranger() {
    let removed = Removed::new();
    removed.rotate();
    let newest = removed.open();
    // The second root is lost; the first one and a backup from its time are there.
    let ring = removed.bench.path("ring");
    let custody = removed.custody_of(&ring, &["root.key"]);
    assert!(custody.open(None, NOW).is_err());
    let (_, copy) = removed.copy_of(&custody, &removed.old);
    let unreadable = custody.unreadable(&copy).unwrap();
    assert!(unreadable.mark, "{unreadable:?}");
    assert!(unreadable.names.contains(&newest.head.name), "{unreadable:?}");
    assert_eq!(unreadable.highest, newest.ring.generation);

    let abandoned = custody.abandon(&copy, &unreadable, NOW).unwrap();

    assert_eq!(
        abandoned.without.len(),
        1,
        "the slot of the lost root is left out"
    );
    let opened = custody.open(None, NOW).unwrap();
    assert!(
        opened.ring.generation > newest.ring.generation,
        "above what cannot be read"
    );
    assert!(opened.ring.replaced.contains(&copy.lineage()));
    assert!(!ring.join(&newest.head.name).exists(), "it is moved aside");
    assert!(
        opened.frozen.is_none() && opened.refusing.is_none(),
        "{:?}",
        opened.warnings
    );
    assert_ne!(
        opened.ring_key.expose(),
        copy.ring_key.expose(),
        "the ring key is a new one"
    );
    let active = opened.ring.active().unwrap();
    assert!(active.id.sequence() > copy.ring.highest_sequence());
    let plain = opened
        .keyring()
        .decrypt(removed.sealed.1.as_str(), &removed.sealed.0)
        .unwrap();
    assert_eq!(plain.expose(), [7; 32]);
    for path in &abandoned.moved {
        assert!(Path::new(path).exists(), "{path} is not deleted");
    }
    // The lost root turns up, and with it the history that was given up.
    let wide = removed.custody_of(&ring, &["root.key", "second.key"]);
    put(&ring.join(&newest.head.name), &newest.head.bytes);
    let again = wide.open(None, NOW).unwrap();
    assert_eq!(again.ring_key.expose(), opened.ring_key.expose());
    assert_eq!(again.ring.active().unwrap().id, active.id);
    assert!(again.passed.iter().any(|it| it.name == newest.head.name));
}

#[test]
fn a_mark_of_strangers_in_the_mirror_decides_nothing_and_is_replaced() {
    let other = Bench::new();
    other.rotate();
    let foreign = fs::read(other.path("ring/mark")).unwrap();
    for bytes in [b"garbage".to_vec(), foreign, Vec::new()] {
        let bench = Bench::mirrored();
        bench.rotate();
        put(&bench.path("mirror/mark"), &bytes);

        let opened = bench.open();
        assert!(
            opened.frozen.is_none() && opened.refusing.is_none(),
            "{:?}",
            opened.warnings
        );
        let warnings = opened.warnings.join("\n");
        assert!(
            warnings.contains("the mark in the mirror is none of this ring's"),
            "{warnings}"
        );
        let mark = bench.custody().next_mark(opened.mark.as_ref(), &opened, NOW);
        bench.custody().settle(&opened, mark.as_ref()).unwrap();

        assert_eq!(
            fs::read(bench.path("mirror/mark")).unwrap(),
            fs::read(bench.path("ring/mark")).unwrap()
        );
    }
}

#[test]
fn numbers_in_the_mirror_decide_nothing_and_in_the_rings_directory_only_near_ones_do() {
    let name = |number: u64| format!("gen-{number}-00000000.ring");
    let froze = |place: &str, number: u64| {
        let bench = Bench::mirrored();
        bench.rotate();
        put(&bench.path(place).join(name(number)), b"garbage");
        let opened = bench.open();
        let frozen = opened.frozen.is_some();
        if !frozen {
            let after = bench.rotate();
            assert_eq!(after.ring.generation, 3);
        }
        frozen
    };

    for number in [3, 1_000_002, u64::MAX - 1] {
        assert!(!froze("mirror", number), "{number}");
    }
    assert!(froze("ring", 3) && froze("ring", 1_000_002));
    assert!(!froze("ring", 1_000_003) && !froze("ring", u64::MAX - 1));
}

#[test]
fn the_record_of_a_replacement_silences_a_node_that_has_the_old_ring_key_alone() {
    let removed = Removed::new();
    let dir = removed.bench.path("away");
    let files = FileStore::new(dir.clone(), None);
    files.create_directories().unwrap();
    let custody = removed.custody_of(&dir, &["root.key"]);
    custody
        .put_backup(&removed.backup("old.backup", &removed.old))
        .unwrap();
    let opened = custody.open(None, NOW).unwrap();
    assert!(opened.keyring().status().is_ok());
    let record = |ring_id: RingId, key: &Arc<Key32>| {
        let record = Superseded {
            ring_id,
            generation: 4,
        };
        record.encode(key)
    };

    let ours = opened.ring.id;
    for nobodys in [
        record(ours, &Arc::new(key())),
        record(RingId([7; 16]), &opened.ring_key),
    ] {
        files.note_superseded(&nobodys).unwrap();
        assert!(custody.open(None, NOW).unwrap().refusing.is_none());
    }
    files.note_superseded(&record(ours, &opened.ring_key)).unwrap();

    let silenced = custody.open(None, NOW).unwrap();
    assert_eq!(silenced.refusing, Some(NotServing::Superseded(4)));
    let plain = silenced
        .keyring()
        .decrypt(removed.sealed.1.as_str(), &removed.sealed.0)
        .unwrap();
    assert_eq!(plain.expose(), [7; 32]);
    // A root for the new ring key, and the generation: it is not bound any more.
    let newer = removed.open();
    put(&dir.join(&newer.head.name), &newer.head.bytes);
    let wide = removed.custody_of(&dir, &["root.key", "second.key"]);
    assert_eq!(wide.open(None, NOW).unwrap().refusing, None);
}
