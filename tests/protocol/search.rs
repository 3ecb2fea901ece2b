//! Every state that can be reached, breadth first, and from each of them the way to rest.
//!
//! *Why not a library for this?* stateright, the one that fits, brings a web server and 25 further packages, and has no word
//! for the law that matters most: from *every* state, with no further fault, the nodes come to rest with the rotation done.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::model::{Action, Broken, Model, Node, State};
use crate::pool::{Move, NODES};

/// Fingerprints are random bits already.
#[derive(Default)]
pub struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

type Hashing = BuildHasherDefault<Already>;

/// 64 bits of a state; two of 10 million states share one with a chance of 1 in 300,000.
pub fn fingerprint(state: &State) -> u64 {
    let mut sum = 0x9e37_79b9_7f4a_7c15_u64;
    let mut mix = |word: u64| {
        sum = (sum ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        sum ^= sum >> 32;
    };
    let mut at = 0;
    while at < NODES {
        let node = &state.nodes[at];
        mix(u64::from(node.copy) | u64::from(node.durable) << 16 | u64::from(node.read) << 32);
        mix(u64::from(node.mark)
            | u64::from(node.reported) << 8
            | u64::from(node.retries) << 16
            | u64::from(node.instance) << 24
            | u64::from(node.mark_under) << 32
            | u64::from(node.reported_under) << 48);
        mix(u64::from(node.program) | u64::from(node.blind) << 8);
        at += 1;
    }
    mix(u64::from(state.store) | u64::from(state.saved) << 32);
    mix(state.used as u64);
    mix((state.used >> 64) as u64);
    mix(u64::from(state.periods) | u64::from(state.nonces) << 8 | u64::from(state.epoch) << 16);
    mix(u64::from(state.tampered) | u64::from(state.removed) << 8 | u64::from(state.fresh) << 16);
    mix(u64::from(state.excused) | u64::from(state.rollbacks) << 8 | u64::from(state.leaseless) << 16);
    mix(u64::from(state.left_out) | u64::from(state.flights) << 8 | u64::from(state.losses) << 16);
    mix(u64::from(state.roots) | u64::from(state.stolen) << 8 | u64::from(state.forged) << 24);
    mix(u64::from(state.blinds) | u64::from(state.upgrades) << 8);
    for (lineage, keys) in state.used_under.iter().filter(|it| it.0 > 0) {
        mix(u64::from(*lineage));
        mix(*keys as u64);
        mix((*keys >> 64) as u64);
    }
    if let Some(flight) = &state.flight {
        mix(u64::from(flight.node) | u64::from(flight.read) << 8);
        let said = flight.said;
        mix(u64::from(said.version)
            | u64::from(said.mark) << 16
            | u64::from(said.shown) << 24
            | u64::from(said.program) << 28
            | u64::from(said.instance) << 32
            | u64::from(said.hand) << 40);
        mix(match flight.next {
            Move::OpenFork { instead_of } => 1 | u64::from(instead_of) << 8,
            Move::Publish => 2,
            Move::Acknowledge { shown } => 3 | u64::from(shown) << 8,
            Move::Commit { version, what } => 4 | u64::from(version) << 8 | (what as u64) << 32,
            Move::Stay | Move::Refused | Move::TwoRingKeys => 5,
            Move::Copy | Move::Adopt(_) | Move::Mark => 6,
        });
    }
    sum
}

/// What a search found out.
#[derive(Default, Debug)]
pub struct Found {
    pub states: usize,
    pub depth: usize,
    /// False where `most` states were not enough.
    pub complete: bool,
    /// What broke, and what led to it.
    pub broken: Option<(Broken, Vec<Action>)>,
}

pub struct Search {
    pub model: Model,
    /// State to the one before it and the action between them.
    seen: HashMap<u64, (u64, Action), Hashing>,
    good: HashSet<u64, Hashing>,
}

impl Search {
    pub fn new(model: Model) -> Self {
        Self {
            model,
            seen: HashMap::default(),
            good: HashSet::default(),
        }
    }

    /// Visits at most so many states.
    pub fn run(&mut self, most: usize) -> Found {
        let start = self.model.start();
        let mut queue = VecDeque::from([(start, 0)]);
        self.seen.insert(fingerprint(&start), (0, Action::Due));
        let (mut actions, mut depth) = (Vec::new(), 0);
        while let Some((state, at)) = queue.pop_front() {
            depth = at;
            let broken = |it: &Self, why: Broken, last: Option<Action>| Found {
                states: it.seen.len(),
                depth: at,
                complete: false,
                broken: Some((why, it.way_to(fingerprint(&state), last))),
            };
            let law = self.model.check(&state).and_then(|()| self.comes_to_rest(&state));
            if let Err(why) = law {
                return broken(self, why, None);
            }
            if self.seen.len() >= most {
                break;
            }
            self.model.actions(&state, &mut actions);
            for action in &actions {
                let next = match self.model.take(&state, *action) {
                    Ok(next) => next,
                    Err(why) => return broken(self, why, Some(*action)),
                };
                if next == state {
                    continue;
                }
                let mark = fingerprint(&next);
                if let std::collections::hash_map::Entry::Vacant(entry) = self.seen.entry(mark) {
                    entry.insert((fingerprint(&state), *action));
                    queue.push_back((next, at + 1));
                }
            }
        }
        Found {
            states: self.seen.len(),
            depth,
            complete: self.seen.len() < most,
            broken: None,
        }
    }

    fn way_to(&self, mut at: u64, last: Option<Action>) -> Vec<Action> {
        let mut way: Vec<Action> = last.into_iter().collect();
        while let Some((before, action)) = self.seen.get(&at).filter(|(before, _)| *before != 0) {
            way.push(*action);
            at = *before;
        }
        way.reverse();
        way
    }

    /// Every node restarts and works, and nothing else happens: in the end all hold one ring, report its active key, and no
    /// rotation is left undone. Ways that meet are walked once.
    pub fn comes_to_rest(&mut self, state: &State) -> Result<(), Broken> {
        let mut state = restarted(state);
        let mut way = Vec::new();
        loop {
            let mark = fingerprint(&state);
            if self.good.contains(&mark) {
                break;
            }
            if way.contains(&mark) || way.len() > 400 {
                let shown: Vec<String> = (0..12).map(|_| self.show_rest(&mut state)).collect();
                return Err(format!("the nodes go in circles: {shown:#?}"));
            }
            way.push(mark);
            match self.next_to_rest(&state)? {
                Some(next) => state = next,
                None => {
                    self.rested(&state)?;
                    break;
                }
            }
        }
        self.good.extend(way);
        Ok(())
    }

    /// The first node that has something to do does it. Where none has, an operator sees whose disk is lost, and says so.
    fn next_to_rest(&mut self, state: &State) -> Result<Option<State>, Broken> {
        let nodes = self.model.bounds.nodes;
        for node in 0..nodes {
            let it = &state.nodes[usize::from(node)];
            let action = match it.copy == it.durable {
                false => Action::Flush(node),
                true if it.read != state.store => Action::Read(node),
                true => Action::Take(node),
            };
            let next = self.model.take(state, action)?;
            if next != *state {
                return Ok(Some(next));
            }
        }
        let lost = (0..nodes).filter(|node| self.model.is_refused(state, *node));
        let lost: u8 = lost.map(|node| 1 << node).sum();
        for node in (0..nodes).filter(|_| lost > 0) {
            let next = self.model.take(state, Action::TakeGone(node, lost))?;
            if next != *state {
                return Ok(Some(next));
            }
        }
        // Two ring keys, and each names the other: an operator empties the copy that is not the head.
        for node in 0..nodes {
            if self.model.is_undecided(state, node) {
                return self.model.take(state, Action::LoseDisk(node)).map(Some);
            }
        }
        // Who is registered reads the head; who is not needs the later program.
        let head = self.model.pool.store(state.store).head;
        for node in 0..nodes {
            let program = state.nodes[usize::from(node)].program;
            if head > 0 && self.model.pool.entry(head).format > program {
                return self.model.take(state, Action::Upgrade(node)).map(Some);
            }
        }
        // A removal that another history made is finished by the same verb.
        if head > 0 && self.model.pool.is_unfinished(head) {
            let able = (0..nodes).find(|node| self.model.may_remove_root(state, *node));
            if let Some(node) = able {
                return self.model.take(state, Action::RemoveRoot(node)).map(Some);
            }
        }
        Ok(None)
    }

    /// For people: a step on the way to rest.
    fn show_rest(&mut self, state: &mut State) -> String {
        let before = *state;
        *state = self.next_to_rest(state).unwrap().unwrap_or(before);
        let moved = (0..self.model.bounds.nodes).find(|node| {
            let node = usize::from(*node);
            before.nodes[node] != state.nodes[node]
        });
        let next = moved.map(|node| self.model.shown(&before, node));
        format!("{next:?} {:?}", self.model.pool.store(state.store))
    }

    fn rested(&self, state: &State) -> Result<(), Broken> {
        let pool = &self.model.pool;
        let store = pool.store(state.store);
        let ensure = |holds: bool, what: &str| match holds {
            true => Ok(()),
            false => Err(format!("at rest, {what}: {state:?} {store:?}")),
        };
        if store.head == 0 && state.nodes.iter().all(|it| it.copy == 0) {
            return Ok(());
        }
        ensure(store.head > 0 && store.fork == 0, "the histories are still apart")?;
        let head = pool.entry(store.head);
        ensure(!head.foreign, "something foreign is in the head")?;
        ensure(!head.proposed, "a proposal is open")?;
        ensure(head.activations > state.periods, "a rotation is due")?;
        let replaced = |lineage| pool.replaces(store.head, lineage);
        for (lineage, used) in state.used_under.iter().filter(|it| it.0 > 0) {
            ensure(
                *lineage == head.lineage || replaced(*lineage) || pool.was_replaced(store.head, *lineage),
                "a ring key is neither the ring's nor replaced",
            )?;
            ensure(
                replaced(*lineage) || used & !head.holds == 0,
                "a key that is used is not in the store",
            )?;
        }
        for node in 0..self.model.bounds.nodes {
            let it = state.nodes[usize::from(node)];
            ensure(head.registered & (1 << node) != 0, "a node is not registered")?;
            ensure(it.durable == store.head, "a copy is behind")?;
            ensure(
                it.mark == head.active && it.reported == head.active,
                "a node does not report the active key",
            )?;
        }
        let used = (1..=128).filter(|key| state.used & head.holds & (1 << (key - 1)) != 0);
        let after = used.filter(|key| pool.is_after(*key, head.active)).count();
        ensure(after == 0, "a later key was used than the active one")
    }
}

/// What restarts leave, with nothing of what led here that no longer matters.
fn restarted(state: &State) -> State {
    let mut nodes = state.nodes;
    for node in &mut nodes {
        *node = Node {
            copy: node.durable,
            read: 0,
            retries: false,
            blind: false,
            ..*node
        };
    }
    State {
        nodes,
        saved: 0,
        tampered: 0,
        removed: 0,
        rollbacks: 0,
        leaseless: 0,
        left_out: 0,
        flight: None,
        flights: 0,
        forged: 0,
        blinds: 0,
        upgrades: 0,
        ..*state
    }
}
