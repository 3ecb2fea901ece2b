//! Generations that are sealed as they should be, under the ring's own key, and say what no ring may say; and those of a
//! time or a place that is not this one.

use std::sync::Arc;

use kekring::crypto::kdf::sha256;
use kekring::crypto::secret::Key32;
use kekring::format::generation::{self, Header, Slot, SlotKind, slot_context};
use kekring::keyring::retirement::Retirement;
use kekring::keyring::ring::{Activate, UnixTime};
use kekring::keyring::ring::{Key, KeyState, Proposal, Ring as Content, Tombstone};
use kekring::keyring::{KeyId, RingKeyId, lifecycle};
use kekring::proto::ring as wire;
use prost::Message;

use crate::bench::{Bench, NOW, file_root, key};
use crate::checks::generation::{framed, inside, plain, sealed};
use crate::{Ring, put, say};

impl Ring {
    /// Puts bytes among the generations, as number `generation`.
    fn add(&self, generation: u64, bytes: &[u8]) {
        let digits = data_encoding::HEXLOWER.encode(&sha256(bytes)[..4]);
        put(&self.dir().join(format!("gen-{generation}-{digits}.ring")), bytes);
    }

    /// The next generation with a content that is `spoilt` from the true one.
    fn add_spoilt(&self, spoil: &dyn Fn(&mut Content)) {
        let opened = self.bench.open();
        let mut content = lifecycle::successor(&opened.ring).unwrap();
        spoil(&mut content);
        let header = Header {
            generation: content.generation,
            parents: vec![opened.head.hash],
            ..opened.head.header.clone()
        };
        let bytes = generation::encode(&header, &content, &opened.ring_key).unwrap();
        self.add(content.generation, &bytes);
    }
}

fn state(content: &mut Content, state: KeyState) -> &mut Key {
    content.keys.iter_mut().find(|it| it.state == state).unwrap()
}

type Spoil = fn(&mut Content);

const RULES: [(&str, Spoil, &str); 18] = [
    (
        "two active",
        |it| {
            *state(it, KeyState::Deactivated) = Key {
                state: KeyState::Active,
                ..it.keys[0].clone()
            }
        },
        "2 active keys",
    ),
    (
        "none active",
        |it| state(it, KeyState::Active).state = KeyState::Deactivated,
        "0 active keys",
    ),
    ("none next", |it| drop(it.keys.pop()), "0 pre-active keys"),
    (
        "two next",
        |it| {
            let twin = fresh(it, 9);
            it.keys.push(twin);
        },
        "2 pre-active keys",
    ),
    ("no key", |it| it.keys.clear(), "active keys"),
    (
        "one twice",
        |it| it.keys.insert(0, it.keys[0].clone()),
        "stands twice",
    ),
    ("out of order", |it| it.keys.swap(0, 1), "not in ascending order"),
    (
        "active, and only decrypts",
        |it| state(it, KeyState::Active).decrypt_only = true,
        "only decrypts, and is active",
    ),
    (
        "next, and only decrypts",
        |it| state(it, KeyState::PreActive).decrypt_only = true,
        "only decrypts, and is pre-active",
    ),
    (
        "replaced ring keys out of order",
        |it| it.replaced = vec![RingKeyId([2; 16]), RingKeyId([1; 16])],
        "replaced ring keys are not in ascending order",
    ),
    (
        "a slot that was removed twice",
        |it| it.removed = vec![[1; 16]; 2],
        "removed root slots are not in ascending order",
    ),
    (
        "a retirement to come",
        |it| {
            it.retirements.push(Retirement {
                id: [1; 16],
                since: 99,
                withdrawn: false,
                keys: vec![it.keys[0].id.clone()],
                not_before: NOW,
                evidence: [1; 32],
                by: String::new(),
                skipped: Vec::new(),
            });
        },
        "a retirement was set in a generation that does not exist yet",
    ),
    (
        "an older next",
        |it| {
            let old = it.keys[0].id.clone();
            swap(it, &old);
        },
        "is not newer than active key",
    ),
    (
        "destroyed with bytes",
        |it| {
            let id = it.keys[0].id.clone();
            it.tombstones.push(Tombstone {
                id,
                destroyed: NOW,
                evidence: [1; 16],
            });
        },
        "is destroyed and yet has bytes",
    ),
    (
        "a proposal for another",
        |it| {
            let key_id = it.keys[0].id.clone();
            it.proposal = Some(Proposal {
                id: [1; 16],
                activate: Activate::Auto,
                key_id,
            });
        },
        "which is not the pre-active key",
    ),
    (
        "a change to come",
        |it| it.keys[0].changed = 99,
        "changed in a generation yet to come",
    ),
    (
        "a suspension to come",
        |it| it.keys[0].suspension = 99,
        "in a generation yet to come",
    ),
    (
        "never activated",
        |it| state(it, KeyState::Active).activated = None,
        "no time of its activation",
    ),
];

fn fresh(content: &Content, sequence: u64) -> Key {
    let material = key();
    Key {
        id: KeyId::derive(content.id, sequence, &material),
        material: Arc::new(material),
        ..content.keys.last().unwrap().clone()
    }
}

/// The oldest key becomes the next one.
fn swap(content: &mut Content, old: &KeyId) {
    state(content, KeyState::PreActive).state = KeyState::Deactivated;
    let key = content.keys.iter_mut().find(|key| key.id == *old).unwrap();
    (key.state, key.activated, key.deactivated) = (KeyState::PreActive, None, None);
}

#[test]
fn a_generation_that_breaks_a_rule_is_refused_by_its_name_although_it_is_sealed_as_it_should_be() {
    for (what, spoil, rule) in RULES {
        let ring = Ring::new();
        ring.add_spoilt(&spoil);

        let opened = ring.judge(what).unwrap();

        assert_eq!(opened.ring.generation, 3, "{what}");
        let frozen = opened
            .frozen
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            frozen.contains("breaks a rule") && frozen.contains(rule),
            "{what}: {frozen}"
        );
        assert!(
            opened.keyring().status().is_ok(),
            "{what}: what was reported is still there"
        );
        assert!(ring.bench.try_rotate(&opened).is_err(), "{what}");
    }
    say(&format!("corrupt: {} broken rules, validly sealed", RULES.len()));
}

#[test]
fn many_keys_open_and_too_many_are_refused_before_they_are_written() {
    let ring = Ring::new();
    let opened = ring.bench.open();
    let grown = |keys: u64| {
        let mut content = lifecycle::successor(&opened.ring).unwrap();
        for _ in 0..keys {
            content.keys.last_mut().unwrap().state = KeyState::Deactivated;
            let mut next = fresh(&content, content.keys.last().unwrap().id.sequence() + 1);
            (next.state, next.suspended) = (KeyState::PreActive, false);
            content.keys.push(next);
        }
        content
    };

    let refused = ring
        .bench
        .custody()
        .commit(&opened, grown(30_000), NOW)
        .map(drop)
        .unwrap_err();
    let many = ring.bench.custody().commit(&opened, grown(2_000), NOW).unwrap();

    assert!(
        refused.to_string().contains("a ring has at most 1048576"),
        "{refused}"
    );
    assert_eq!(
        ring.judge("2,000 keys").unwrap().ring.keys.len(),
        many.ring.keys.len()
    );
}

#[test]
fn a_generation_from_far_ahead_serves_and_the_last_number_is_never_passed() {
    let ring = Ring::new();
    ring.add_spoilt(&|it| it.generation = u64::MAX);

    let opened = ring.judge("far ahead").unwrap();

    assert_eq!(opened.ring.generation, u64::MAX);
    assert!(opened.keyring().status().is_ok());
    let refused = ring.bench.try_rotate(&opened).map(drop).unwrap_err().to_string();
    assert!(refused.contains("used up"), "{refused}");
}

#[test]
fn what_a_newer_version_wrote_is_served_or_refused_as_it_says_and_never_written_over() {
    let ring = Ring::new();
    let opened = ring.bench.open();
    let message = wire::StoredGeneration::decode(inside(&opened.head.bytes)).unwrap();
    let mut body = plain(&message, &opened.ring_key).unwrap();
    let header = Header {
        generation: 4,
        parents: vec![opened.head.hash],
        ..opened.head.header.clone()
    };
    let bytes = generation::encode(&header, &opened.ring, &opened.ring_key).unwrap();
    let clear = wire::StoredGeneration::decode(inside(&bytes)).unwrap().header;
    // Field 50, a number: nothing that this version knows.
    body.extend_from_slice(&[0x90, 0x03, 0x07]);
    ring.add(4, &sealed(1, &clear, &body, &opened.ring_key));

    let opened = ring.judge("an unknown field").unwrap();

    assert_eq!(opened.ring.generation, 4);
    assert!(opened.keyring().status().is_ok());
    let frozen = opened.frozen.as_ref().unwrap().to_string();
    assert!(frozen.contains("a newer kekring wrote"), "{frozen}");
    assert!(ring.bench.try_rotate(&opened).is_err());

    let unreadable = wire::StoredGeneration {
        version: 2,
        min_reader: 2,
        ..message
    };
    ring.add(5, &framed(&unreadable.encode_to_vec()));
    let opened = ring.judge("a newer reader").unwrap();
    let frozen = opened.frozen.as_ref().unwrap().to_string();
    assert!(frozen.contains("needs a reader of version 2"), "{frozen}");
    assert_eq!(opened.ring.generation, 4, "the newest that can be read serves");
}

#[test]
fn a_generation_of_another_ring_is_refused_by_name() {
    let (ring, other) = (Ring::new(), Bench::new());
    let name = other.newest().file_name().unwrap().to_owned();
    put(&ring.dir().join(name), &std::fs::read(other.newest()).unwrap());

    let why = ring.judge("another ring's").map(drop).unwrap_err();

    assert!(why.contains("holds generations of ring"), "{why}");
    assert!(why.contains(&other.open().ring.id.to_string()), "{why}");
}

#[test]
fn a_generation_that_another_key_sealed_is_a_wrong_root_and_an_older_one_serves() {
    let ring = Ring::new();
    let opened = ring.bench.open();
    let header = Header {
        generation: 4,
        parents: vec![opened.head.hash],
        ..opened.head.header.clone()
    };
    let content = lifecycle::activate(&opened.ring, key(), UnixTime(1)).unwrap();
    let bytes = generation::encode(&header, &content, &Key32::generate().unwrap()).unwrap();
    ring.add(4, &bytes);

    let opened = ring.judge("another key").unwrap();

    assert_eq!(opened.ring.generation, 3);
    assert!(ring.bench.try_rotate(&opened).is_err());
}

/// A ring's header with these slots, each sealed by the ring's own root for the kind that it has.
fn with_slots(ring: &Ring, kinds: &[i32]) -> Vec<Slot> {
    let opened = ring.bench.open();
    let root = file_root(&ring.bench.path("root.key"));
    let slot = |(kind, number): (&i32, u8)| {
        let id = [number; 16];
        let context = slot_context(opened.ring.id, &id, *kind);
        Slot {
            id,
            kind: *kind,
            name: "a root".into(),
            sealed: root.seal(&opened.ring_key, &context).unwrap(),
            created: NOW,
            replaces: None,
        }
    };
    let slots: Vec<Slot> = kinds.iter().zip(1..).map(slot).collect();
    let header = Header {
        generation: opened.ring.generation + 1,
        parents: vec![opened.head.hash],
        slots: slots.clone(),
        ..opened.head.header.clone()
    };
    let content = lifecycle::successor(&opened.ring).unwrap();
    let bytes = generation::encode(&header, &content, &opened.ring_key).unwrap();
    for path in ring.bench.generations() {
        std::fs::remove_file(path).unwrap();
    }
    ring.add(header.generation, &bytes);
    slots
}

const FOREIGN: [i32; 5] = [4, 5, 6, i32::MAX, -1];

#[test]
fn slots_of_helpers_of_recipients_and_of_kinds_to_come_are_never_tried() {
    let ring = Ring::new();
    with_slots(&ring, &FOREIGN);

    let refused = ring.judge("slots of others").map(drop).unwrap_err();

    assert!(
        refused.contains("with any configured root: none fits"),
        "{refused}"
    );
}

#[test]
fn slots_of_helpers_of_recipients_and_of_kinds_to_come_are_kept_as_they_are() {
    let ring = Ring::new();
    let kinds = [&FOREIGN[..], &[i32::from(SlotKind::File)]].concat();
    let slots = with_slots(&ring, &kinds);

    let opened = ring.bench.rotate();

    assert_eq!(opened.head.header.slots, slots);
    let read = ring.judge("after a rotation").unwrap();
    assert_eq!(read.head.header.slots, slots);
    assert_eq!(read.ring.generation, opened.ring.generation);
}
