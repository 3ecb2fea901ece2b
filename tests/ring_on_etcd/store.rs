//! The store itself, without a server: what every store keeps to.

use std::fs;

use kekring::crypto::random;
use kekring::crypto::secret::Key32;
use kekring::custody::{Custody, Making, Opened, Prepared, Share};
use kekring::etcd::Revision;
use kekring::format::covered::{Covered, Durable};
use kekring::format::generation;
use kekring::keyring::ring::UnixTime;
use kekring::keyring::{RingId, lifecycle};
use kekring::root::{PathConfig, RootConfig, create_key_file};
use kekring::store::{Change, EtcdStore, FileStore, KEPT, NewGeneration, RingStore, Stamp, StoreError};
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
            calls: Default::default(),
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

    /// What comes after a generation, in no store yet.
    fn after(&self, base: &Opened) -> Prepared {
        let next = lifecycle::activate(&base.ring, key(), NOW).unwrap();
        let (parents, slots) = (vec![base.head.hash], base.head.header.slots.clone());
        let key = &base.ring_key;
        let making = Making {
            share: Share::All,
            format: generation::VERSION,
            now: NOW,
        };
        let custody = self.custody();
        custody.prepare(next, parents, slots, key, making).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let snapshot = self.store().read(LONG).unwrap();
        let mut names: Vec<String> = snapshot.names.into_iter().map(|it| it.name).collect();
        names.sort();
        names
    }
}

/// The proof that the head says all that an earlier generation says.
fn covered(head: &Opened, earlier: &Opened) -> Covered {
    let durable = Durable::read(&head.head.bytes, &head.ring_key).unwrap();
    let (name, hash) = (&earlier.head.name, earlier.head.hash);
    durable
        .covers(name, hash, &earlier.ring, earlier.lineage())
        .unwrap()
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
    assert_eq!(bench.names().len(), KEPT);
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

pub fn a_change_leaves_some_generations_and_the_head_always() {
    let bench = Bench::new();
    let mut all = vec![bench.made()];
    for _ in 0..6 {
        all.push(bench.rotated(all.last().unwrap()));
        assert!(bench.names().contains(&all.last().unwrap().head.name));
        assert!(bench.names().len() <= KEPT, "{:?}", bench.names());
    }
    assert_eq!(bench.names().len(), KEPT);
    let (opened, before) = (&all[6], &all[5]);
    let ring = bench.store().traces().unwrap().remove(0);
    assert_eq!(
        bench.lab.get(&format!("{ring}/head")).unwrap(),
        opened.head.name.as_bytes()
    );
    assert_eq!(bench.lab.all(&format!("{ring}/")).len(), KEPT + 1);

    // Nothing goes for the sake of what is the head no more, nor while histories have parted.
    let store = bench.store();
    store.read(LONG).unwrap();
    let proofs = [covered(opened, before), covered(opened, &all[4])];
    for (key, value) in [("head", before.head.name.as_bytes()), ("fork", &[7; 16])] {
        bench.lab.put(format!("{ring}/{key}"), value);
        assert_eq!(store.remove(&proofs, &[]).unwrap(), Vec::<String>::new());
        bench.lab.put(format!("{ring}/head"), opened.head.name.as_bytes());
    }
    bench.lab.delete(format!("{ring}/fork"));
    let gone = store.remove(&proofs, &[]).unwrap();
    assert_eq!(gone, [before.head.name.clone(), all[4].head.name.clone()]);
    assert_eq!(bench.names().len(), KEPT - 2);
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
    let new = bench.after(&rotated);
    let stored = generation::parse(&new.bytes).unwrap();
    let refused = store.save(
        &NewGeneration {
            generation: stored.header.generation,
            hash: stored.hash,
            bytes: &new.bytes,
            verify: &|_| Err("not mine".into()),
        },
        &Stamp(store.stamp().unwrap().0),
    );
    assert!(
        matches!(&refused, Err(StoreError::Corrupt(why)) if why.contains("not mine")),
        "{refused:?}"
    );
}

pub fn nothing_is_removed_that_is_not_what_the_proof_is_about() {
    let bench = Bench::new();
    let first = bench.made();
    let second = bench.rotated(&first);
    let opened = bench.rotated(&second);
    let store = bench.store();
    store.read(LONG).unwrap();
    let ring = bench.store().traces().unwrap().remove(0);
    let key = format!("{ring}/gen/{}", first.head.name);
    bench.lab.put(key.clone(), b"something else");

    // Not by itself.
    let proofs = [covered(&opened, &first), covered(&opened, &second)];
    let gone = store.remove_generations(&proofs, &[]).unwrap();
    assert_eq!(gone, std::slice::from_ref(&second.head.name));
    assert_eq!(bench.lab.get(&key).unwrap(), b"something else");

    // And not with a change of the ring.
    let shown = format!("{ring}/shown/{}", second.head.name);
    bench.lab.put(shown.clone(), &second.head.bytes);
    let at = |store: &EtcdStore| store.read(LONG).unwrap().shown[0].at;
    let before = at(&store);
    bench.lab.put(shown.clone(), b"something else");
    let new = bench.after(&opened);
    let commit = |joined: &[(Covered, Revision)]| {
        let change = Change {
            name: &new.name,
            bytes: &new.bytes,
            head: Some(&opened.head.name),
            fork: None,
            joined,
            superseded: &[],
        };
        store.commit(opened.ring.id.0, &change, &|_| Ok(()), LONG)
    };
    let durable = Durable::read(&new.bytes, &opened.ring_key).unwrap();
    let (name, hash) = (&second.head.name, second.head.hash);
    let proof = durable
        .covers(name, hash, &second.ring, second.lineage())
        .unwrap();
    let refused = commit(&[(proof.clone(), before)]);
    assert!(matches!(&refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert_eq!(bench.lab.get(&shown).unwrap(), b"something else");
    bench.lab.put(shown.clone(), &second.head.bytes);
    commit(&[(proof, at(&store))]).unwrap();
    assert_eq!(bench.lab.get(&shown), None);
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
