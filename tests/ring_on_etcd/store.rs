//! The store itself, without a server: what every store keeps to.

use std::fs;

use kekring::crypto::random;
use kekring::crypto::secret::Key32;
use kekring::custody::{Custody, Opened};
use kekring::format::generation;
use kekring::keyring::ring::UnixTime;
use kekring::keyring::{RingId, lifecycle};
use kekring::root::{PathConfig, RootConfig, create_key_file};
use kekring::store::{EtcdStore, FileStore, NewGeneration, NewMark, RingStore, Stamp, StoreError};
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::LONG;
use crate::lab::{self, Lab, PREFIX};
use crate::support::scratch;

const NOW: UnixTime = UnixTime(1_700_000_000);

struct Bench {
    lab: Lab,
    dir: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            lab: Lab::empty(json!({})),
            dir: scratch(),
        };
        create_key_file(&bench.dir.path().join("root.key"), None).unwrap();
        bench.copy().create_directories().unwrap();
        bench
    }

    fn copy(&self) -> FileStore {
        FileStore::new(self.dir.path().join("ring"), None)
    }

    fn store(&self) -> EtcdStore {
        lab::store(&self.lab.cluster, PREFIX, self.copy())
    }

    fn custody(&self) -> Custody {
        let path = self.dir.path().join("root.key");
        Custody {
            store: Box::new(self.store()),
            roots: vec![RootConfig::File(PathConfig { path }).build()],
            machine: None,
            shared: true,
            development: false,
            expected: None,
            writer: [3; 16],
        }
    }

    fn made(&self) -> Opened {
        let ring = lifecycle::create(RingId(random().unwrap()), key(), key(), NOW);
        self.custody().create(ring, &[], NOW).unwrap()
    }

    fn rotated(&self, from: &Opened) -> Opened {
        let next = lifecycle::activate(&from.ring, key(), NOW).unwrap();
        self.custody().commit(from, next, NOW).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let snapshot = self.store().read(LONG).unwrap();
        let mut names: Vec<String> = snapshot.generations.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }
}

fn key() -> Key32 {
    Key32::generate().unwrap()
}

pub fn a_generation_of_a_thousand_keys_fits_and_comes_back() {
    let bench = Bench::new();
    let first = lifecycle::create(RingId(random().unwrap()), key(), key(), NOW);
    let mut ring = lifecycle::activate(&first, key(), NOW).unwrap();
    while ring.keys.len() < 1000 {
        ring = lifecycle::activate(&ring, key(), NOW).unwrap();
    }
    let keys: Vec<_> = ring
        .keys
        .iter()
        .map(|key| (key.id.clone(), *key.material.expose()))
        .collect();

    let first = bench.custody().create(first, &[], NOW).unwrap();
    let made = bench.custody().commit(&first, ring, NOW).unwrap();
    println!("       1,000 keys take {} bytes", made.head.bytes.len());
    let mut opened = bench.custody().open(None, NOW).unwrap();

    let again: Vec<_> = opened
        .ring
        .keys
        .iter()
        .map(|key| (key.id.clone(), *key.material.expose()))
        .collect();
    assert!(keys == again);
    // And goes on from there, with three of that size in one answer.
    for _ in 0..3 {
        opened = bench.rotated(&opened);
    }
    assert_eq!(bench.names().len(), 3);
    assert_eq!(bench.custody().open(None, NOW).unwrap().ring.keys.len(), 1003);
}

pub fn a_change_for_another_head_is_a_conflict_and_changes_nothing() {
    let bench = Bench::new();
    let first = bench.made();
    let second = bench.rotated(&first);
    let before = bench.names();

    // From what was read before another changed it, and as if there were none.
    let next = lifecycle::activate(&first.ring, key(), NOW).unwrap();
    let conflict = bench.custody().commit(&first, next, NOW).map(drop);
    assert!(format!("{conflict:?}").contains("Conflict"), "{conflict:?}");
    let ring = lifecycle::create(RingId(random().unwrap()), key(), key(), NOW);
    let conflict = bench.custody().create(ring, &[], NOW).map(drop);
    assert!(format!("{conflict:?}").contains("Conflict"), "{conflict:?}");
    assert_eq!(bench.names(), before);
    let rings = bench.store().traces().unwrap();
    assert_eq!(rings.len(), 1, "{rings:?}");

    // While histories have parted nothing is saved, and what was is found.
    let ring = rings[0].clone();
    bench.lab.put(format!("{ring}/fork"), &[7; 16]);
    let parted = bench.custody().open(None, NOW).unwrap();
    let next = lifecycle::activate(&parted.ring, key(), NOW).unwrap();
    let refused = bench.custody().commit(&parted, next.clone(), NOW).map(drop);
    assert!(format!("{refused:?}").contains("have parted"), "{refused:?}");
    // Nor on what was read before they did.
    let refused = bench.custody().commit(&second, next, NOW).map(drop);
    assert!(format!("{refused:?}").contains("Conflict"), "{refused:?}");
    assert_eq!(bench.names(), before);
    bench.lab.delete(format!("{ring}/fork"));
    bench.rotated(&second);
}

pub fn three_generations_are_kept_and_the_head_always() {
    let bench = Bench::new();
    let mut opened = bench.made();
    for _ in 0..6 {
        opened = bench.rotated(&opened);
        assert!(bench.names().contains(&opened.head.name));
        assert!(bench.names().len() <= 3, "{:?}", bench.names());
    }
    assert_eq!(bench.names().len(), 3);
    let ring = bench.store().traces().unwrap().remove(0);
    assert_eq!(
        bench.lab.get(&format!("{ring}/head")).unwrap(),
        opened.head.name.as_bytes()
    );
    assert_eq!(bench.lab.all(&format!("{ring}/")).len(), 4);

    // Whoever is told to take everything away leaves the head.
    let names = bench.names();
    let store = bench.store();
    store.read(LONG).unwrap();
    let mark = NewMark {
        bytes: b"mark",
        supersedes: &|_| false,
    };
    let older = names.iter().find(|it| **it != opened.head.name).unwrap();
    store.settle(older, b"an older one", &mark, &names).unwrap();
    assert!(bench.names().contains(&opened.head.name), "{:?}", bench.names());
    assert_eq!(bench.custody().open(None, NOW).unwrap().ring.generation, 7);
}

pub fn what_a_holder_settles_is_in_its_copy_before_anything_goes() {
    let bench = Bench::new();
    let made = bench.made();
    let opened = bench.rotated(&made);
    let copied = fs::read(bench.dir.path().join("ring").join(&opened.head.name)).unwrap();
    assert_eq!(copied, opened.head.bytes);
    assert!(bench.dir.path().join("ring/mark").exists());

    // The same stamp for the same content, another one for another.
    let store = bench.store();
    let stamp = store.stamp().unwrap();
    assert_eq!(store.stamp().unwrap(), stamp);
    assert_eq!(store.load().unwrap().stamp, stamp);
    let rotated = bench.rotated(&opened);
    assert_ne!(store.stamp().unwrap(), stamp);

    // What is read back is given to the check, and a refusal of it is an error.
    let next = lifecycle::activate(&rotated.ring, key(), NOW).unwrap();
    let slots = rotated.head.header.slots.clone();
    let new = bench
        .custody()
        .prepare(next, vec![rotated.head.hash], slots, &rotated.ring_key, NOW)
        .unwrap();
    let stored = generation::parse(&new.bytes).unwrap();
    let refused = store.save(
        &NewGeneration {
            generation: stored.header.generation,
            hash: stored.hash,
            bytes: &new.bytes,
            verify: &|_| Err("not mine".into()),
        },
        &Stamp(store.stamp().unwrap().0),
        &[],
    );
    assert!(
        matches!(&refused, Err(StoreError::Corrupt(why)) if why.contains("not mine")),
        "{refused:?}"
    );
}

pub fn a_name_in_etcd_that_is_no_generations_touches_no_file() {
    let bench = Bench::new();
    let first = bench.made();
    let precious = bench.dir.path().join("precious");
    fs::write(&precious, b"here").unwrap();
    let ring = bench.store().traces().unwrap().remove(0);
    let beside = format!("{ring}/gen/../precious");

    // An old one of several, which a clean-up takes away.
    let mut earlier = vec![first];
    for _ in 0..6 {
        for (number, opened) in earlier.iter().enumerate() {
            let name = ["../precious".to_owned(), format!("gen-1-{number:08x}.ring")];
            let name = &name[number.min(1)];
            bench.lab.put(format!("{ring}/gen/{name}"), &opened.head.bytes);
        }
        let opened = bench.custody().open(None, NOW).unwrap();
        earlier.push(bench.rotated(&opened));
        assert_eq!(fs::read(&precious).unwrap(), b"here");
    }
    // And the newest, which everybody copies.
    let newest = bench.custody().open(None, NOW).unwrap();
    bench.lab.put(beside, &newest.head.bytes);
    bench.lab.put(format!("{ring}/head"), b"../precious");
    let refused = bench.store().read(LONG).map(drop).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Corrupt(why) if why.contains("head: it names no generation")),
        "{refused}"
    );
    assert_eq!(fs::read(&precious).unwrap(), b"here");
}
