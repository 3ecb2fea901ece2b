//! A cluster as a state: what each node keeps on its disk, what it last read, what the store holds, and what API servers may
//! have encrypted with.
//!
//! Each node runs its own steps in its own order, and any of them can be the last before a crash: all that a crash takes is
//! what was read, and a node reads again at any time. A node that is down, cut off or slow is one that takes no step for a
//! while. It acts on what it read, however old that is. A commit whose answer is
//! lost needs no action of its own: after every commit a node forgets what it knew, whether it heard of the result or not.
//!
//! A key counts as used from the moment that a node's mark allows it to be reported, and for ever: that node's API server may
//! write under it at any time, also while its plugin is away, and any API server may read what it wrote.

use crate::pool::{Move, NODES, Pool, Said, Store};

/// Most ring keys under which anything is reported in one run.
pub const LINEAGES: usize = 8;

/// What a node has. `copy` and `durable` differ only where a rule is broken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Node {
    /// How often its disk was lost: each copy has an instance of its own.
    pub instance: u8,
    pub copy: u16,
    pub durable: u16,
    pub mark: u8,
    /// The ring key that the mark is under.
    pub mark_under: u16,
    /// The highest key that it has reported, and the ring key of the copy that it was in.
    pub reported: u8,
    pub reported_under: u16,
    /// The format that its program reads.
    pub program: u8,
    /// No root of it opens a ring key that it does not have already.
    pub blind: bool,
    /// What it last read of the store, and 0 before that.
    pub read: u32,
    /// Broken: it does a rotation again, since it never heard that it is done.
    pub retries: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct State {
    pub nodes: [Node; NODES],
    pub store: u32,
    pub saved: u32,
    /// Keys that somebody may have encrypted with, as bits.
    pub used: u128,
    /// The same, by the ring key of the copy in which they were.
    pub used_under: [(u16, u128); LINEAGES],
    /// How many rotations have become due.
    pub periods: u8,
    pub nonces: u8,
    /// How often the store was put back.
    pub epoch: u8,
    /// How often records were deleted or put back, nodes removed, fresh keys asked for, copies rolled back.
    pub tampered: u8,
    pub removed: u8,
    pub fresh: u8,
    /// Nodes that need not hold every key until they have caught up, as bits: their disk has gone back, or an operator went on
    /// without them.
    pub excused: u8,
    pub left_out: u8,
    /// A write that was given up and is still under way.
    pub flight: Option<Flight>,
    pub flights: u8,
    pub rollbacks: u8,
    pub losses: u8,
    /// How often a root was removed, what the first was removed from, and what somebody did with that.
    pub roots: u8,
    pub stolen: u16,
    pub forged: u8,
    pub blinds: u8,
    pub upgrades: u8,
    /// Broken: nodes whose lease has run out, as bits.
    pub leaseless: u8,
}

/// A write to the store: what was read before, and what is to be written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flight {
    pub node: u8,
    pub read: u32,
    pub said: Said,
    pub next: Move,
}

/// What may happen, and how often.
#[derive(Clone, Copy, Default, Debug)]
pub struct Bounds {
    pub nodes: u8,
    /// How many are registered, and have a copy, from the beginning.
    pub registered: u8,
    pub periods: u8,
    pub restores: u8,
    pub tampers: u8,
    pub removals: u8,
    pub fresh: u8,
    pub rollbacks: u8,
    pub losses: u8,
    /// Activations without a node, by an operator's word.
    pub left_out: u8,
    /// Writes that arrive late.
    pub flights: u8,
    /// Roots that are removed, so that the ring key is replaced.
    pub roots: u8,
    /// Deeds of somebody who has the ring key that the first removal replaced, and can write to the store.
    pub forgeries: u8,
    /// Nodes whose roots are away.
    pub blinds: u8,
    /// Programs that are replaced by one that reads a later format.
    pub upgrades: u8,
    /// What has happened when it begins.
    pub begin: &'static [Action],
}

/// Roots were removed in two histories, of which the store has the second.
pub const TWO_REMOVALS: &[Action] = &[
    Action::Save,
    Action::RemoveRoot(0),
    Action::Restore,
    Action::RemoveRoot(1),
];

/// What is done wrong on purpose. The product's own functions are the same in all of them.
#[derive(Clone, Copy, Default, Debug)]
pub struct Rules {
    /// A rotation waits only for nodes whose lease lives.
    pub live_only: bool,
    /// The acknowledgement is written before the copy is durable.
    pub early: bool,
    /// A key becomes active with nobody asked.
    pub unasked: bool,
    /// A rotation of unknown outcome is done again.
    pub blind_retry: bool,
    /// A start reports what the copy says, whatever the mark says.
    pub unmarked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Read(u8),
    Take(u8),
    /// As `Take`, and the answer of the commit is lost.
    TakeUnheard(u8),
    /// As `Take`; what it writes is under way until `Arrive`, or for ever.
    TakeLate(u8),
    Arrive,
    /// As `Take`, with an operator's word that the second node is gone.
    TakeWithout(u8, u8),
    Flush(u8),
    Crash(u8),
    RollBack(u8),
    LoseDisk(u8),
    LoseLease(u8),
    Due,
    /// As `Take`, with an operator's word that these nodes are gone for good.
    TakeGone(u8, u8),
    Fresh,
    Save,
    Restore,
    Wipe,
    DeleteRecord(u8),
    ReplayRecord(u8),
    /// A root is removed, by a verb on that node.
    RemoveRoot(u8),
    /// Its roots are away, or back.
    Blind(u8),
    See(u8),
    /// Its program reads a later format from now on.
    Upgrade(u8),
    /// Under the ring key that was replaced first: a head, what is shown, and what a node acknowledges.
    ForgeHead,
    ForgeShown,
    ForgeRecord(u8),
    /// The generation from which a root was first removed is the head again.
    PutBack,
    ReplayFork,
    DeleteFork,
    WriteFork,
    DeleteShown,
}

/// A law that was broken, in words.
pub type Broken = String;

pub struct Model {
    pub pool: Pool,
    pub bounds: Bounds,
    pub rules: Rules,
}

impl Model {
    pub fn new(bounds: Bounds, rules: Rules) -> Self {
        Self {
            pool: Pool::new(usize::from(bounds.nodes)),
            bounds,
            rules,
        }
    }

    pub fn start(&mut self) -> State {
        let first = self.pool.first(usize::from(self.bounds.registered));
        let store = Store {
            head: first,
            ..Store::default()
        };
        let mut state = State {
            store: self.pool.put(store),
            ..State::default()
        };
        state.nodes.iter_mut().for_each(|it| it.program = 1);
        for node in &mut state.nodes[..usize::from(self.bounds.registered)] {
            (node.copy, node.durable) = (first, first);
        }
        for action in self.bounds.begin {
            state = self.take(&state, *action).unwrap();
        }
        state
    }

    /// Everything that may happen next.
    pub fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.clear();
        for node in 0..self.bounds.nodes {
            self.actions_of(state, node, actions);
        }
        self.actions_of_the_world(state, actions);
    }

    fn actions_of(&self, state: &State, node: u8, actions: &mut Vec<Action>) {
        let (bounds, rules) = (self.bounds, self.rules);
        let it = &state.nodes[usize::from(node)];
        if it.read != state.store {
            actions.push(Action::Read(node));
        }
        if it.read > 0 {
            actions.push(Action::Take(node));
        }
        if it.retries {
            actions.push(Action::Crash(node));
        }
        if state.flights < bounds.flights && state.flight.is_none() && it.read > 0 {
            actions.push(Action::TakeLate(node));
        }
        if state.left_out < bounds.left_out && it.read > 0 {
            let others = (0..bounds.nodes).filter(|other| *other != node);
            actions.extend(others.map(|other| Action::TakeWithout(node, other)));
        }
        if rules.blind_retry && it.read > 0 {
            actions.push(Action::TakeUnheard(node));
        }
        if it.copy != it.durable {
            actions.push(Action::Flush(node));
            actions.push(Action::Crash(node));
        }
        if rules.live_only && state.leaseless & (1 << node) == 0 {
            actions.push(Action::LoseLease(node));
        }
        if state.rollbacks < bounds.rollbacks && it.copy > 0 {
            actions.push(Action::RollBack(node));
        }
        if state.losses < bounds.losses && it.copy > 0 {
            actions.push(Action::LoseDisk(node));
        }
        if state.removed < bounds.removals && it.read > 0 {
            let others = (0..bounds.nodes).filter(|other| *other != node);
            actions.extend(others.map(|other| Action::TakeGone(node, 1 << other)));
        }
        if state.tampered < bounds.tampers {
            actions.push(Action::DeleteRecord(node));
            actions.push(Action::ReplayRecord(node));
        }
        self.actions_with_roots(state, node, actions);
    }

    fn actions_with_roots(&self, state: &State, node: u8, actions: &mut Vec<Action>) {
        let bounds = self.bounds;
        let it = &state.nodes[usize::from(node)];
        if state.roots < bounds.roots && self.may_remove_root(state, node) {
            actions.push(Action::RemoveRoot(node));
        }
        if state.blinds < bounds.blinds && !it.blind {
            actions.push(Action::Blind(node));
        }
        if it.blind {
            actions.push(Action::See(node));
        }
        if state.upgrades < bounds.upgrades && it.program == 1 {
            actions.push(Action::Upgrade(node));
        }
        if state.stolen > 0 && state.forged < bounds.forgeries {
            actions.push(Action::ForgeRecord(node));
        }
    }

    /// The verb refuses where this node's copy is not the head, and is not to help whoever forged one.
    pub fn may_remove_root(&self, state: &State, node: u8) -> bool {
        let it = &state.nodes[usize::from(node)];
        let store = self.pool.store(state.store);
        let up_to_date = it.durable > 0 && it.durable == store.head && store.fork == 0;
        up_to_date && !it.blind && !self.pool.entry(store.head).foreign
    }

    fn actions_of_the_world(&self, state: &State, actions: &mut Vec<Action>) {
        let bounds = self.bounds;
        if state.flight.is_some() {
            actions.push(Action::Arrive);
        }
        if state.periods < bounds.periods {
            actions.push(Action::Due);
        }
        if state.stolen > 0 && state.forged < bounds.forgeries {
            actions.extend([Action::ForgeHead, Action::ForgeShown, Action::PutBack]);
        }
        if state.fresh < bounds.fresh {
            actions.push(Action::Fresh);
        }
        if state.epoch < bounds.restores {
            actions.push(Action::Restore);
            actions.push(Action::Wipe);
        }
        if (state.epoch < bounds.restores || state.tampered < bounds.tampers) && state.saved == 0 {
            actions.push(Action::Save);
        }
        if state.tampered < bounds.tampers {
            actions.extend([
                Action::ReplayFork,
                Action::DeleteFork,
                Action::WriteFork,
                Action::DeleteShown,
            ]);
        }
    }
}
