//! One node and a store, for tests of single steps.

use kekring::crypto::secret::Key32;
use kekring::format::node::Acknowledgement;
use kekring::keyring::members::{self, NodeName};
use kekring::keyring::ring::{Ring, UnixTime};
use kekring::keyring::{KeyId, RingId, RingKeyId, lifecycle};
use kekring::nodes::{self, Me, Missing, Record, Rotation, Step, Version, View, Why};

pub const NOW: UnixTime = UnixTime(1_790_000_000);
pub const FORK: [u8; 16] = [5; 16];
/// The ring key that all is under, where nothing else is said.
pub const FIRST_KEY: RingKeyId = RingKeyId([1; 16]);

pub fn key(byte: u8) -> Key32 {
    Key32::take(&mut [byte; 32])
}

/// What a commit takes.
pub fn keys() -> [Key32; 3] {
    [key(9), key(10), key(11)]
}

pub fn me(number: u8) -> Me {
    Me {
        name: name(number),
        instance: [number; 16],
        format: 1,
    }
}

pub fn name(number: u8) -> NodeName {
    format!("cp-{number}").parse().unwrap()
}

/// A ring in which nodes 1 to `count` are registered.
pub fn ring(count: u8) -> Ring {
    let ring = lifecycle::create(RingId([1; 16]), key(1), key(2), NOW);
    (1..=count).fold(ring, |ring, number| {
        members::register(&ring, &name(number), [number; 16]).unwrap()
    })
}

pub fn version(ring: &Ring, hash: u8) -> Version<'_> {
    Version {
        ring,
        hash: [hash; 32],
        lineage: FIRST_KEY,
        format: 1,
        unfinished: false,
    }
}

/// Node 1, which holds `ring` and has marked its active key, and a store that holds it too.
pub struct Scene {
    pub me: Me,
    pub ring: Ring,
    pub mark: KeyId,
    pub records: Vec<Record>,
}

impl Scene {
    pub fn of(ring: Ring) -> Self {
        let nodes: Vec<u8> = (1..=9)
            .filter(|it| members::find(&ring.members, &name(*it)).is_some())
            .collect();
        let mark = ring.active().unwrap().id.clone();
        let mut scene = Self {
            me: me(1),
            ring,
            mark,
            records: Vec::new(),
        };
        scene.records = nodes.into_iter().map(|it| scene.said(it, |_| {})).collect();
        scene
    }

    pub fn view(&self) -> View<'_> {
        View {
            me: &self.me,
            copy: Some(version(&self.ring, 1)),
            mark: Some(&self.mark),
            head: Some(version(&self.ring, 1)),
            records: &self.records,
            shown: &[],
            fork: None,
            rotation: Rotation::Due,
            without: &[],
            gone: &[],
            now: NOW,
        }
    }

    /// What a node that holds the same has acknowledged, but for `change`.
    pub fn said(&self, number: u8, change: impl Fn(&mut Acknowledgement)) -> Record {
        let me = me(number);
        let view = View {
            me: &me,
            ..self.view()
        };
        let mut said = nodes::acknowledgement(&view, None).unwrap();
        change(&mut said);
        Record {
            said,
            seen: None,
            lineage: FIRST_KEY,
        }
    }

    pub fn set(&mut self, number: u8, change: impl Fn(&mut Acknowledgement)) {
        let record = self.said(number, change);
        self.records.retain(|it| it.said.name != record.said.name);
        self.records.push(record);
    }
}

pub fn waits(step: &Step) -> Vec<(u8, Why)> {
    let Step::Wait { missing } = step else {
        panic!("{step:?}")
    };
    let number = |it: &Missing| it.name.as_str()[3..].parse().unwrap();
    missing.iter().map(|it| (number(it), it.why)).collect()
}
