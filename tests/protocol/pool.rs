//! Everything that states share: real rings, read stores, and what the product's own functions said about them. A state holds
//! numbers; each different view is given to the product once.

use std::collections::HashMap;

use kekring::crypto::kdf::sha256;
use kekring::crypto::secret::Key32;
use kekring::format::generation::Hash;
use kekring::keyring::lifecycle::Refusal;
use kekring::keyring::members::NodeName;
use kekring::keyring::ring::{Activate, Key, KeyState, Ring, UnixTime};
use kekring::keyring::{KeyId, RingId, lifecycle, members};
use kekring::nodes::{self, Me, Record, Rotation, Step, Version, View};

pub use crate::numbers::{Entry, Move, NODES, Said, Sight, Store, What};

/// How many instances a node can have, one after the other.
const INSTANCES: usize = 4;
/// The store that holds nothing.
pub const EMPTY: u32 = 1;
const NOW: UnixTime = UnixTime(1_790_000_000);

pub struct Pool {
    pub nodes: usize,
    versions: Vec<Entry>,
    by_content: HashMap<String, u16>,
    keys: Vec<KeyId>,
    stores: Vec<Store>,
    by_store: HashMap<Store, u32>,
    moves: HashMap<Sight, Move>,
    me: Vec<[Me; INSTANCES]>,
    /// A broken rule: a join makes the lowest of the active keys active.
    pub join_lower: bool,
}

impl Pool {
    pub fn new(nodes: usize) -> Self {
        let me = |number: usize, instance: usize| Me {
            name: format!("cp-{number}").parse().unwrap(),
            instance: [u8::try_from(1 + number + instance * NODES).unwrap(); 16],
            format: 1,
        };
        let me = (0..nodes).map(|number| std::array::from_fn(|instance| me(number, instance)));
        let empty = Store::default();
        Self {
            nodes,
            versions: Vec::new(),
            by_content: HashMap::new(),
            keys: Vec::new(),
            // Number 0 is for a node that has read nothing.
            stores: vec![empty.clone(), empty.clone()],
            by_store: HashMap::from([(empty, EMPTY)]),
            moves: HashMap::new(),
            me: me.collect(),
            join_lower: false,
        }
    }

    /// The number of a ring of two keys in which the first `registered` nodes are registered.
    pub fn first(&mut self, registered: usize) -> u16 {
        let mut ring = lifecycle::create(
            RingId([7; 16]),
            material("first", &[], 0),
            material("second", &[], 0),
            NOW,
        );
        for [me, ..] in &self.me[..registered] {
            ring = members::register(&ring, &me.name, me.instance).unwrap();
        }
        self.version(ring, Vec::new(), 0)
    }

    pub fn entry(&self, version: u16) -> &Entry {
        &self.versions[usize::from(version) - 1]
    }

    pub fn holds(&self, version: u16) -> u128 {
        if version == 0 {
            0
        } else {
            self.entry(version).holds
        }
    }

    pub fn store(&self, store: u32) -> &Store {
        &self.stores[store as usize]
    }

    pub fn put(&mut self, store: Store) -> u32 {
        if let Some(known) = self.by_store.get(&store) {
            return *known;
        }
        let number = u32::try_from(self.stores.len()).unwrap();
        self.stores.push(store.clone());
        self.by_store.insert(store, number);
        number
    }

    /// Whether the first key comes after the second in the order of keys; 0 is before all.
    pub fn is_after(&self, one: u8, other: u8) -> bool {
        let key = |number: u8| (number > 0).then(|| &self.keys[usize::from(number) - 1]);
        key(one) > key(other)
    }

    /// The key that a node with this durable copy and this mark may report.
    pub fn reportable(&self, copy: u16, mark: u8) -> u8 {
        if copy == 0 || mark == 0 {
            return 0;
        }
        let (entry, mark) = (self.entry(copy), &self.keys[usize::from(mark) - 1]);
        nodes::reportable(&entry.ring, Some(mark)).map_or(0, |_| entry.active)
    }

    /// Generations with several parents.
    pub fn joins(&self) -> usize {
        self.versions.iter().filter(|it| it.parents.len() > 1).count()
    }

    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub fn counts(&self) -> (usize, usize, usize) {
        (self.versions.len(), self.stores.len(), self.moves.len())
    }

    /// What a node with this sight does.
    pub fn next(&mut self, sight: Sight) -> Move {
        if let Some(known) = self.moves.get(&sight) {
            return *known;
        }
        let next = self.decide(sight);
        self.moves.insert(sight, next);
        next
    }

    fn decide(&mut self, sight: Sight) -> Move {
        let store = self.store(sight.store).clone();
        let records = self.records(&store);
        let shown: Vec<Version<'_>> = store.shown.iter().map(|it| self.as_read(*it)).collect();
        let (without, gone) = (self.names(sight.without), self.names(sight.gone));
        let view = View {
            head: (store.head > 0).then(|| self.as_read(store.head)),
            records: &records,
            shown: &shown,
            fork: (store.fork > 0).then_some([store.fork; 16]),
            rotation: if sight.due {
                Rotation::Due
            } else {
                Rotation::NotDue
            },
            without: &without,
            gone: &gone,
            ..self.view_of((sight.node, sight.instance), sight.copy, sight.mark)
        };
        let step = nodes::step(&view);
        let what = match &step {
            Step::Refused(Refusal::SecondInstance(_)) => return Move::Refused,
            Step::NoRing | Step::Refused(_) | Step::Wait { .. } | Step::Idle => return Move::Stay,
            Step::Copy => return Move::Copy,
            Step::Mark => return Move::Mark,
            Step::OpenFork { instead_of } => {
                return Move::OpenFork {
                    instead_of: instead_of.map_or(0, |it| it[0]),
                };
            }
            Step::Publish => return Move::Publish,
            Step::Acknowledge { shown } => {
                return Move::Acknowledge {
                    shown: shown.map_or(0, |it| it[0]),
                };
            }
            Step::Register => What::Register,
            Step::Remove { .. } => What::Remove,
            Step::Propose => What::Propose,
            Step::Activate => What::Activate,
            Step::Join => What::Join,
        };
        let base: Vec<Hash> = view.head.iter().chain(&shown).map(|it| it.hash).collect();
        let fresh = material("fresh", &base, sight.epoch);
        let commit = nodes::commit(&view, &step, fresh, [sight.epoch + 1; 16], NOW).unwrap();
        let parents = commit.parents.iter().map(number).collect();
        let mut ring = commit.ring;
        if self.join_lower && what == What::Join {
            lower(&mut ring);
        }
        let version = self.version(ring, parents, sight.epoch);
        Move::Commit { version, what }
    }

    /// `rotate --fresh` on a head.
    pub fn fresh(&mut self, head: u16, epoch: u8) -> Option<u16> {
        let fresh = material("asked for", &[hash(head)], epoch);
        let next = lifecycle::propose_fresh(&self.entry(head).ring, fresh, [9; 16], Activate::Auto, NOW);
        Some(self.version(next.ok()?, vec![head], epoch))
    }

    fn names(&self, bits: u8) -> Vec<NodeName> {
        let set = |it: &usize| bits & (1 << it) != 0;
        let nodes = (0..self.nodes).filter(set);
        nodes.map(|node| self.me[node][0].name.clone()).collect()
    }

    fn view_of(&self, (node, instance): (u8, u8), copy: u16, mark: u8) -> View<'_> {
        View {
            me: &self.me[usize::from(node)][usize::from(instance)],
            copy: (copy > 0).then(|| self.as_read(copy)),
            mark: (mark > 0).then(|| &self.keys[usize::from(mark) - 1]),
            head: None,
            records: &[],
            shown: &[],
            fork: None,
            rotation: Rotation::NotDue,
            without: &[],
            gone: &[],
            now: NOW,
        }
    }

    fn records(&self, store: &Store) -> Vec<Record> {
        let said = store.said.iter().zip(0..).filter(|(said, _)| said.version > 0);
        said.map(|(said, node)| {
            let view = self.view_of((node, said.instance), said.version, said.mark);
            let shown = (said.shown > 0).then_some([said.shown; 16]);
            Record {
                said: nodes::acknowledgement(&view, shown).unwrap(),
                seen: None,
            }
        })
        .collect()
    }

    fn as_read(&self, version: u16) -> Version<'_> {
        Version {
            ring: &self.entry(version).ring,
            hash: hash(version),
        }
    }

    /// Two generations are one where content, parents and epoch are. Who writes does not matter: of the children of one head,
    /// one alone is ever stored before the store is put back.
    fn version(&mut self, ring: Ring, parents: Vec<u16>, epoch: u8) -> u16 {
        let used: Vec<bool> = ring.keys.iter().map(|key| key.activated.is_some()).collect();
        let content = format!("{ring:?} {used:?} {parents:?} {epoch}");
        if let Some(known) = self.by_content.get(&content) {
            return *known;
        }
        assert_eq!(ring.check(), Ok(()), "{content}");
        let holds = ring.keys.iter().map(|key| 1 << (self.key(key) - 1)).sum();
        let bit = |name: &str| 1 << name[3..].parse::<u8>().unwrap();
        let entry = Entry {
            holds,
            active: self.key(ring.active().unwrap()),
            registered: members::registered(&ring.members)
                .map(|it| bit(it.name.as_str()))
                .sum(),
            instances: std::array::from_fn(|node| {
                let of = |it: &Me| ring.members.iter().any(|member| member.instance == it.instance);
                let known = self.me.get(node).and_then(|it| it.iter().rposition(of));
                u8::try_from(known.unwrap_or(0)).unwrap()
            }),
            activations: ring
                .keys
                .iter()
                .map(|key| u8::from(key.activated.is_some()))
                .sum(),
            proposed: ring
                .proposal
                .as_ref()
                .is_some_and(|it| it.activate == Activate::Auto),
            ring,
            parents,
        };
        self.versions.push(entry);
        let number = u16::try_from(self.versions.len()).unwrap();
        self.by_content.insert(content, number);
        number
    }

    fn key(&mut self, key: &Key) -> u8 {
        let known = self.keys.iter().position(|id| *id == key.id);
        let at = known.unwrap_or_else(|| {
            self.keys.push(key.id.clone());
            self.keys.len() - 1
        });
        assert!(at < 128, "more keys than bits");
        u8::try_from(at).unwrap() + 1
    }
}

/// Key bytes of what is made after these generations, in this epoch.
fn material(what: &str, base: &[Hash], epoch: u8) -> Key32 {
    let text = format!("{what} {base:?} {epoch}");
    Key32::take(&mut sha256(text.as_bytes()))
}

fn hash(version: u16) -> Hash {
    let mut hash = [0; 32];
    hash[..2].copy_from_slice(&version.to_be_bytes());
    hash
}

fn number(hash: &Hash) -> u16 {
    u16::from_be_bytes([hash[0], hash[1]])
}

/// The broken join: of the keys that were active, the lowest is.
fn lower(ring: &mut Ring) {
    let used = ring.keys.iter().filter(|key| key.activated.is_some());
    let lowest = used.map(|key| key.id.clone()).min().unwrap();
    for key in &mut ring.keys {
        if key.state == KeyState::Active {
            (key.state, key.deactivated) = (KeyState::Deactivated, Some(NOW));
        }
        if key.id == lowest {
            (key.state, key.deactivated) = (KeyState::Active, None);
        }
        // So that the join covers both sides, as a join does.
        key.changed = ring.generation;
    }
}
