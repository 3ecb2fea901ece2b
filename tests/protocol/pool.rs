//! Everything that states share: real rings, read stores, and what the product's own functions said about them. A state holds
//! numbers; each different view is given to the product once.

use std::cell::RefCell;
use std::collections::HashMap;

use kekring::crypto::kdf::sha256;
use kekring::crypto::secret::Key32;
use kekring::format::generation::Hash;
use kekring::keyring::lifecycle::Refusal;
use kekring::keyring::members::NodeName;
use kekring::keyring::ring::{Activate, Key, KeyState, Ring, Tombstone, UnixTime};
use kekring::keyring::{KeyId, RingId, RingKeyId, join, lifecycle, lineage, members};
use kekring::nodes::{self, Commit, Me, Record, Rotation, Step, Version, View};

pub use crate::numbers::{Entry, Move, NODES, Said, Sight, Store, What};

/// How many instances a node can have, one after the other.
const INSTANCES: usize = 4;
/// How many formats there are; the second is known to these tests alone.
const FORMATS: usize = 2;
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
    /// By node, format and instance.
    me: Vec<[[Me; INSTANCES]; FORMATS]>,
    /// The first generation under each ring key, and what it was made of.
    origins: Vec<u16>,
    by_base: HashMap<(u16, u8), u16>,
    /// Of these generations, the ring keys that were not replaced.
    open: RefCell<HashMap<Vec<u16>, Vec<u16>>>,
    /// Keys that somebody made who has a replaced ring key, as bits.
    foreign: u128,
    /// Broken rules: every ring key counts; acknowledgements count under any; what is written is in the writer's format.
    pub all_count: bool,
    pub any_hand: bool,
    pub own_format: bool,
    /// A broken rule: a join makes the lowest of the active keys active.
    pub join_lower: bool,
}

impl Pool {
    pub fn new(nodes: usize) -> Self {
        let me = |number: usize, format: usize, instance: usize| Me {
            name: format!("cp-{number}").parse().unwrap(),
            instance: [u8::try_from(1 + number + instance * NODES).unwrap(); 16],
            format: u32::try_from(format).unwrap() + 1,
        };
        let me = (0..nodes).map(|number| {
            std::array::from_fn(|format| std::array::from_fn(|instance| me(number, format, instance)))
        });
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
            origins: Vec::new(),
            by_base: HashMap::new(),
            open: RefCell::default(),
            foreign: 0,
            all_count: false,
            any_hand: false,
            own_format: false,
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
        for [[me, ..], ..] in &self.me[..registered] {
            ring = members::register(&ring, &me.name, me.instance).unwrap();
        }
        let first = self.version(ring, (1, 1), Vec::new(), 0);
        self.origins = vec![first];
        first
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

    /// Everything that any node did, once for each different sight.
    pub fn moves(&self) -> impl Iterator<Item = &Move> {
        self.moves.values()
    }

    /// Generations that name more ring keys replaced than the first under their own: joins over a ring key that lost.
    pub fn outranked(&self) -> usize {
        let more = |it: &&Entry| it.ring.replaced.len() > self.origin(it.lineage).ring.replaced.len();
        self.versions.iter().filter(more).count()
    }

    /// Generations in the later format.
    pub fn later(&self) -> usize {
        self.versions.iter().filter(|it| it.format > 1).count()
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
        if store.head > 0 && !self.opens(sight, store.head) {
            return Move::Stay;
        }
        let opens = |it: &&u16| self.opens(sight, **it);
        let shown: Vec<Version<'_>> = store
            .shown
            .iter()
            .filter(opens)
            .map(|it| self.as_read(*it))
            .collect();
        let records = self.records(sight, &store);
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
            ..self.view_of(self.me_of(sight), sight.copy, sight.mark)
        };
        let step = nodes::step(&view);
        let what = match as_written(&step) {
            Ok(what) => what,
            Err(other) => return other,
        };
        let base: Vec<Hash> = view.head.iter().chain(&shown).map(|it| it.hash).collect();
        // Who joins under another ring key makes other keys.
        let under = view.copy.map(|it| it.lineage.0[1]);
        let fresh = ["fresh", "above", "beyond"]
            .map(|what| material(&format!("{what} {under:?}"), &base, sight.epoch));
        let commit = nodes::commit(&view, &step, fresh, [sight.epoch + 1; 16], NOW).unwrap();
        self.committed(sight, commit, what)
    }

    /// What a commit writes: under the ring key of its parents, which is one.
    fn committed(&mut self, sight: Sight, commit: Commit, what: What) -> Move {
        let parents: Vec<u16> = commit.parents.iter().map(number).collect();
        let lineage = self.entry(*parents.first().unwrap()).lineage;
        let same = |it: &u16| self.all_count || self.entry(*it).lineage == lineage;
        assert!(parents.iter().all(same), "parents under two ring keys");
        let format = match self.own_format {
            true => sight.program,
            false => u8::try_from(commit.format).unwrap(),
        };
        let mut ring = commit.ring;
        if self.join_lower && what == What::Join {
            lower(&mut ring);
        }
        let version = self.version(ring, (lineage, format), parents, sight.epoch);
        Move::Commit { version, what }
    }

    /// `rotate --fresh` on a head.
    pub fn fresh(&mut self, head: u16, epoch: u8) -> Option<u16> {
        let fresh = material("asked for", &[hash(head)], epoch);
        let entry = self.entry(head);
        let sealed = (entry.lineage, entry.format);
        let next = lifecycle::propose_fresh(&entry.ring, fresh, [9; 16], Activate::Auto, NOW);
        Some(self.version(next.ok()?, sealed, vec![head], epoch))
    }

    /// `root remove` on a head: it finishes the removal of another history, or removes one more slot.
    pub fn remove_root(&mut self, head: u16, epoch: u8) -> u16 {
        if let Some(known) = self.by_base.get(&(head, epoch)) {
            return *known;
        }
        let lineage = u16::try_from(self.origins.len()).unwrap() + 1;
        let entry = self.entry(head);
        let (base, format) = (ring_key(entry.lineage), entry.format);
        let mut ring = lifecycle::successor(&entry.ring).unwrap();
        let slot: Vec<_> = [ring_key(lineage).0]
            .into_iter()
            .filter(|_| !self.is_unfinished(head))
            .collect();
        join::remember(&mut ring, &[base], &slot);
        ring.superseding.push(base.0.to_vec());
        ring.superseding.sort_unstable();
        let version = self.version(ring, (lineage, format), vec![head], epoch);
        self.origins.push(version);
        self.by_base.insert((head, epoch), version);
        version
    }

    /// What somebody makes who has the ring key of `base`: keys and a node of his own, a key of the ring destroyed and another
    /// suspended, a proposal that never ends, and a number above all.
    pub fn forged(&mut self, base: u16, epoch: u8) -> u16 {
        let entry = self.entry(base);
        let sealed = (entry.lineage, 1);
        let made = |what| material(what, &[hash(base)], epoch);
        let ring = Ring {
            generation: 1000 + u64::from(epoch),
            proposal: None,
            ..entry.ring.clone()
        };
        let ring = members::register(&ring, &"evil".parse().unwrap(), [250; 16]).unwrap();
        let ring = lifecycle::propose_fresh(&ring, made("his"), [250; 16], Activate::Auto, NOW).unwrap();
        let ring = lifecycle::activate(&ring, made("his next"), NOW).unwrap();
        let mut ring = lifecycle::propose(&ring, [250; 16], Activate::Auto).unwrap();
        let tombstone = Tombstone {
            id: ring.keys.remove(0).id,
            destroyed: NOW,
            evidence: [250; 16],
        };
        ring.tombstones.push(tombstone);
        let generation = ring.generation;
        for key in ring
            .keys
            .iter_mut()
            .filter(|it| it.state == KeyState::Deactivated)
        {
            (key.suspended, key.suspension) = (true, generation);
        }
        for key in ring
            .keys
            .iter()
            .filter(|it| it.state != KeyState::Deactivated)
            .cloned()
            .collect::<Vec<_>>()
        {
            self.foreign |= 1 << (self.key(&key) - 1);
        }
        self.version(ring, sealed, vec![base], epoch)
    }

    /// The first generation under a ring key.
    pub fn origin(&self, lineage: u16) -> &Entry {
        self.entry(self.origins[usize::from(lineage) - 1])
    }

    /// A root slot that another history removed is still in its header.
    pub fn is_unfinished(&self, version: u16) -> bool {
        let entry = self.entry(version);
        entry.ring.removed.len() > self.origin(entry.lineage).ring.removed.len()
    }

    /// Whether a generation names that ring key replaced.
    pub fn replaces(&self, version: u16, lineage: u16) -> bool {
        self.entry(version).ring.replaced.contains(&ring_key(lineage))
    }

    /// Whether that ring key was replaced in this generation's past. What a generation said of ring keys counts for nothing once
    /// its own is replaced: then its successors need not know of it.
    pub fn was_replaced(&self, version: u16, lineage: u16) -> bool {
        let mut known = self.entry(version).ring.replaced.clone();
        loop {
            let past = self
                .versions
                .iter()
                .filter(|it| known.contains(&ring_key(it.lineage)));
            let more: Vec<_> = past.flat_map(|it| &it.ring.replaced).copied().collect();
            let before = known.len();
            known.extend(more);
            known.sort_unstable();
            known.dedup();
            if known.len() == before {
                return known.contains(&ring_key(lineage));
            }
        }
    }

    pub fn is_ring_key(&self, id: RingKeyId, lineage: u16) -> bool {
        id == ring_key(lineage)
    }

    /// The ring keys that none of those of these generations names replaced.
    pub fn unreplaced(&self, versions: impl Iterator<Item = u16>) -> Vec<u16> {
        let mut versions: Vec<u16> = versions.filter(|it| *it > 0).collect();
        versions.sort_unstable();
        versions.dedup();
        if let Some(known) = self.open.borrow().get(&versions) {
            return known.clone();
        }
        let entries: Vec<&Entry> = versions.iter().map(|it| self.entry(*it)).collect();
        let all: Vec<_> = entries
            .iter()
            .map(|it| (ring_key(it.lineage), &it.ring))
            .collect();
        let open = lineage::unreplaced(&all);
        let mut found: Vec<u16> = entries.iter().map(|it| it.lineage).collect();
        found.retain(|it| open.contains(&ring_key(*it)));
        found.dedup();
        self.open.borrow_mut().insert(versions, found.clone());
        found
    }

    /// Whether a node with this sight can read a generation: its program knows the format, and it has the ring key or a root.
    fn opens(&self, sight: Sight, version: u16) -> bool {
        let entry = self.entry(version);
        let has = || sight.copy > 0 && self.entry(sight.copy).lineage == entry.lineage;
        entry.format <= sight.program && (!sight.blind || has())
    }

    fn me_of(&self, sight: Sight) -> &Me {
        self.me_as(sight.node, sight.program, sight.instance)
    }

    fn me_as(&self, node: u8, program: u8, instance: u8) -> &Me {
        &self.me[usize::from(node)][usize::from(program) - 1][usize::from(instance)]
    }

    fn names(&self, bits: u8) -> Vec<NodeName> {
        let set = |it: &usize| bits & (1 << it) != 0;
        let nodes = (0..self.nodes).filter(set);
        nodes.map(|node| self.me[node][0][0].name.clone()).collect()
    }

    fn view_of<'a>(&'a self, me: &'a Me, copy: u16, mark: u8) -> View<'a> {
        View {
            me,
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

    /// What verifies under any ring key that the node has at hand, replaced or not.
    fn records(&self, sight: Sight, store: &Store) -> Vec<Record> {
        let at_hand = |lineage: u16| {
            let read = store.shown.iter().copied().chain([store.head, sight.copy]);
            let mut read = read.filter(|it| *it > 0 && (*it == sight.copy || self.opens(sight, *it)));
            read.any(|it| self.entry(it).lineage == lineage)
        };
        let hand = |said: &Said| match said.hand {
            0 => self.entry(said.version).lineage,
            hand => hand,
        };
        let said = store.said.iter().zip(0..);
        let said = said.filter(|(said, _)| said.version > 0 && (self.any_hand || at_hand(hand(said))));
        said.map(|(said, node)| {
            let me = self.me_as(node, said.program, said.instance);
            let view = self.view_of(me, said.version, said.mark);
            let shown = (said.shown > 0).then_some([said.shown; 16]);
            Record {
                said: nodes::acknowledgement(&view, shown).unwrap(),
                seen: None,
                lineage: match self.any_hand {
                    true => self.as_read(said.version).lineage,
                    false => self.sealed_under(hand(said)),
                },
            }
        })
        .collect()
    }

    fn as_read(&self, version: u16) -> Version<'_> {
        Version {
            ring: &self.entry(version).ring,
            hash: hash(version),
            lineage: self.sealed_under(self.entry(version).lineage),
            format: self.entry(version).format.into(),
            unfinished: self.is_unfinished(version),
        }
    }

    fn sealed_under(&self, lineage: u16) -> RingKeyId {
        ring_key(if self.all_count { 1 } else { lineage })
    }

    /// Two generations are one where content, parents and epoch are. Who writes does not matter: of the children of one head,
    /// one alone is ever stored before the store is put back.
    fn version(&mut self, ring: Ring, sealed: (u16, u8), parents: Vec<u16>, epoch: u8) -> u16 {
        let used: Vec<bool> = ring.keys.iter().map(|key| key.activated.is_some()).collect();
        let replaced: Vec<[u8; 16]> = ring.replaced.iter().map(|it| it.0).collect();
        let content = format!("{ring:?} {used:?} {replaced:?} {sealed:?} {parents:?} {epoch}");
        if let Some(known) = self.by_content.get(&content) {
            return *known;
        }
        assert_eq!(ring.check(), Ok(()), "{content}");
        let holds: u128 = ring.keys.iter().map(|key| 1 << (self.key(key) - 1)).sum();
        let mut activated = 0;
        for key in ring.keys.iter().filter(|it| it.activated.is_some()) {
            activated |= 1 << (self.key(key) - 1);
        }
        let bit = |name: &str| {
            name.strip_prefix("cp-")
                .map_or(0, |it| 1 << it.parse::<u8>().unwrap())
        };
        let entry = Entry {
            holds,
            activated,
            active: self.key(ring.active().unwrap()),
            registered: members::registered(&ring.members)
                .map(|it| bit(it.name.as_str()))
                .sum(),
            instances: std::array::from_fn(|node| {
                let of = |it: &Me| ring.members.iter().any(|member| member.instance == it.instance);
                let known = self.me.get(node).and_then(|it| it[0].iter().rposition(of));
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
            lineage: sealed.0,
            format: sealed.1,
            foreign: holds & self.foreign > 0
                || !ring.tombstones.is_empty()
                || ring.keys.iter().any(|it| it.suspended)
                || ring.members.iter().any(|it| it.name.as_str() == "evil"),
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

/// What a step commits, or else what it is.
fn as_written(step: &Step) -> Result<What, Move> {
    let nonce = |it: &Option<[u8; 16]>| it.map_or(0, |it| it[0]);
    Err(match step {
        Step::Refused(Refusal::SecondInstance(_)) => Move::Refused,
        Step::Refused(Refusal::TwoRingKeys) => Move::TwoRingKeys,
        Step::NoRing | Step::Refused(_) | Step::Wait { .. } | Step::Idle => Move::Stay,
        Step::Copy => Move::Copy,
        Step::Adopt { hash } => Move::Adopt(number(hash)),
        Step::Mark => Move::Mark,
        Step::OpenFork { instead_of } => Move::OpenFork {
            instead_of: nonce(instead_of),
        },
        Step::Publish => Move::Publish,
        Step::Acknowledge { shown } => Move::Acknowledge { shown: nonce(shown) },
        Step::Register => return Ok(What::Register),
        Step::Remove { .. } => return Ok(What::Remove),
        Step::Propose => return Ok(What::Propose),
        Step::Activate => return Ok(What::Activate),
        Step::Join => return Ok(What::Join),
    })
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

/// The fingerprint of a ring key.
fn ring_key(lineage: u16) -> RingKeyId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&lineage.to_be_bytes());
    RingKeyId(id)
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
