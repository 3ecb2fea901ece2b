//! More than two histories in one directory, through the real store and a real root.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kekring::crypto::kdf::sha256;
use kekring::custody::{Custody, Opened};
use kekring::format::generation::{self, Header, Slot, slot_context};
use kekring::keyring::ring::{Activate, Ring, UnixTime};
use kekring::keyring::{Keyring, NotServing};
use kekring::root::{FileRoot, RootKey, create_key_file};
use kekring::store::FileStore;

use crate::steps::{Source, Step};

const NOW: UnixTime = UnixTime(1_790_002_000);

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        create_key_file(&dir.path().join("root.key"), None).unwrap();
        Self { dir }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("ring")
    }

    fn custody(&self) -> Custody {
        let root: Arc<dyn RootKey> = Arc::new(FileRoot::new(self.dir.path().join("root.key")));
        let store = FileStore::new(self.store(), None);
        store.create_directories().unwrap();
        Custody {
            calls: Arc::default(),
            store: Box::new(store),
            roots: vec![root],
            machine: None,
            shared: false,
            development: false,
            expected: None,
            writer: [1; 16],
        }
    }
}

/// Puts `ring` beside the rest as a child of `base`, as a copied directory would.
fn put(dir: &Path, base: &Opened, ring: &Ring) {
    put_with_slots(dir, base, ring, base.head.header.slots.clone());
}

fn put_with_slots(dir: &Path, base: &Opened, ring: &Ring, slots: Vec<Slot>) {
    let header = Header {
        slots,
        generation: ring.generation,
        parents: vec![base.head.hash],
        ..base.head.header.clone()
    };
    let bytes = generation::encode(&header, ring, &base.ring_key).unwrap();
    let digits = data_encoding::HEXLOWER.encode(&sha256(&bytes)[..4]);
    let path = dir.join(format!("gen-{}-{digits}.ring", ring.generation));
    let file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.unwrap().write_all(&bytes).unwrap();
}

#[test]
fn three_histories_join_to_one_ring_that_can_be_stored_and_rotated() {
    let place = Place::new();
    let custody = place.custody();
    let mut source = Source::new("three histories");
    let base = custody.create(source.ring(), &[], NOW).unwrap();
    let mut seeds = Vec::new();
    for name in ["left", "middle", "right"] {
        let branch = Source::new(name).take(&base.ring, &Step::Activate).unwrap();
        put(&place.store(), &base, &branch);
        let further = Source::new(name).take(&branch, &Step::Activate).unwrap();
        seeds.push(Keyring::new(&further).encrypt(None, name.as_bytes()).unwrap());
        put(&place.store(), &base, &further);
    }

    let opened = custody.open(None, NOW).unwrap();

    assert!(opened.joined);
    assert_eq!(opened.ring.check(), Ok(()));
    assert_eq!(opened.ring.generation, 4);
    let keyring = opened.keyring();
    for ((bytes, id), name) in seeds.iter().zip(["left", "middle", "right"]) {
        assert_eq!(
            keyring.decrypt(id.as_str(), bytes).unwrap().expose(),
            name.as_bytes()
        );
    }
    let joined = opened.ring.clone();
    custody.commit(&opened, joined, NOW).unwrap();
    let stored = custody.open(None, NOW).unwrap();
    assert!(!stored.joined);
    assert_eq!(stored.head.header.parents.len(), 3);
    let next = source.take(&stored.ring, &Step::Activate).unwrap();
    custody.commit(&stored, next, NOW).unwrap();
}

#[test]
fn a_rotation_proposed_in_one_history_is_still_in_flight_after_a_join() {
    let place = Place::new();
    let custody = place.custody();
    let mut source = Source::new("proposed");
    let base = custody.create(source.ring(), &[], NOW).unwrap();
    let propose = Step::Propose(Activate::Auto);
    let proposed = Source::new("left").take(&base.ring, &propose).unwrap();
    let rotated = Source::new("right").take(&base.ring, &Step::Activate).unwrap();
    put(&place.store(), &base, &proposed);
    put(&place.store(), &base, &rotated);

    let opened = custody.open(None, NOW).unwrap();

    assert!(opened.joined);
    assert_eq!(opened.ring.check(), Ok(()));
    assert_eq!(opened.ring.proposal, proposed.proposal);
    assert_eq!(opened.ring.active().unwrap().id, rotated.active().unwrap().id);
}

#[test]
fn a_damaged_slot_does_not_hide_the_sound_one_behind_it() {
    let place = Place::new();
    let custody = place.custody();
    let mut source = Source::new("slots");
    let base = custody.create(source.ring(), &[], NOW).unwrap();
    let sound = base.head.header.slots[0].clone();
    let id = [9; 16];
    let root = FileRoot::new(place.dir.path().join("root.key"));
    let context = slot_context(base.ring.id, &id, sound.kind);
    let mut sealed = root.seal(&base.ring_key, &context).unwrap();
    *sealed.last_mut().unwrap() ^= 1;
    let damaged = Slot {
        id,
        sealed,
        ..sound.clone()
    };
    let next = source.take(&base.ring, &Step::Activate).unwrap();
    put_with_slots(&place.store(), &base, &next, vec![damaged, sound]);

    let opened = custody.open(None, NOW).unwrap();

    assert_eq!(opened.ring.generation, 2);
}

#[test]
fn a_ring_in_another_ones_place_reports_no_key_and_leaves_the_mark() {
    let (place, other) = (Place::new(), Place::new());
    let custody = place.custody();
    custody.create(Source::new("ours").ring(), &[], NOW).unwrap();
    let foreign = other
        .custody()
        .create(Source::new("foreign").ring(), &[], NOW)
        .unwrap();
    let marked = std::fs::read(place.store().join("mark")).unwrap();
    for entry in std::fs::read_dir(place.store()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "ring") {
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::copy(
        other.store().join(&foreign.head.name),
        place.store().join(&foreign.head.name),
    )
    .unwrap();
    std::fs::copy(
        other.dir.path().join("root.key"),
        place.dir.path().join("root.key"),
    )
    .unwrap();

    let opened = custody.open(None, NOW).unwrap();
    custody
        .settle(&opened, custody.next_mark(None, &opened, NOW).as_ref())
        .unwrap();

    assert!(
        matches!(opened.refusing, Some(NotServing::OtherRing { .. })),
        "{:?}",
        opened.refusing
    );
    assert!(opened.frozen.is_some());
    assert!(opened.keyring().status().is_err());
    assert_eq!(std::fs::read(place.store().join("mark")).unwrap(), marked);
}
