//! What an event makes of a state: a step of a node, done as `serve` does it, or something that befalls the cluster.

use crate::model::{Action, Broken, Flight, Model, Node, Rules, State};
use crate::pool::{EMPTY, Move, Said, Sight, What};

impl Model {
    /// The state afterwards; itself where the action changes nothing.
    pub fn take(&mut self, state: &State, action: Action) -> Result<State, Broken> {
        let mut next = *state;
        match action {
            Action::Read(node) => {
                next.nodes[usize::from(node)].read = state.store;
                next.leaseless &= !(1 << node);
            }
            Action::Take(node)
            | Action::TakeUnheard(node)
            | Action::TakeLate(node)
            | Action::TakeGone(node, _)
            | Action::TakeWithout(node, _) => self.step(&mut next, node, action)?,
            Action::Arrive => {
                if let Some(flight) = next.flight.take() {
                    self.write(&mut next, flight, Action::Arrive)?;
                }
            }
            Action::Flush(node) => flush(&mut next.nodes[usize::from(node)]),
            Action::Crash(node) => {
                let it = &mut next.nodes[usize::from(node)];
                (it.read, it.copy, it.retries) = (0, it.durable, false);
            }
            Action::RollBack(node) => self.roll_back(&mut next, node),
            Action::LoseDisk(node) => {
                let it = &mut next.nodes[usize::from(node)];
                *it = Node {
                    instance: it.instance + 1,
                    program: it.program,
                    blind: it.blind,
                    ..Node::default()
                };
                next.losses += 1;
            }
            Action::LoseLease(node) => next.leaseless |= 1 << node,
            Action::RemoveRoot(node) => self.remove_root(&mut next, node),
            Action::Blind(node) => {
                next.nodes[usize::from(node)].blind = true;
                next.blinds += 1;
            }
            Action::See(node) => next.nodes[usize::from(node)].blind = false,
            Action::Upgrade(node) => {
                let it = &mut next.nodes[usize::from(node)];
                (it.program, it.read) = (2, 0);
                next.upgrades += 1;
            }
            Action::ForgeHead | Action::ForgeShown | Action::ForgeRecord(_) | Action::PutBack => {
                self.forge(&mut next, action);
            }
            Action::Due => next.periods += 1,
            Action::Fresh => self.fresh(&mut next),
            Action::Save => next.saved = state.store,
            Action::Restore if state.saved > 0 => {
                (next.store, next.epoch) = (state.saved, state.epoch + 1);
            }
            Action::Wipe => (next.store, next.epoch) = (EMPTY, state.epoch + 1),
            _ => self.tamper(&mut next, action),
        }
        self.report(state, &mut next)?;
        Ok(next)
    }

    /// Whether a rotation is due for a node with this read.
    fn is_due(&self, state: &State, node: u8) -> bool {
        let it = &state.nodes[usize::from(node)];
        let head = self.pool.store(it.read).head;
        it.retries || head > 0 && self.pool.entry(head).activations <= state.periods
    }

    /// Whether a node waits for an operator, its name being another instance's.
    pub fn is_refused(&mut self, state: &State, node: u8) -> bool {
        let sight = self.sight(state, node, Action::Take(node));
        sight.store > 0 && self.pool.next(sight) == Move::Refused
    }

    /// Whether a node waits for an operator to decide between two ring keys.
    pub fn is_undecided(&mut self, state: &State, node: u8) -> bool {
        let sight = self.sight(state, node, Action::Take(node));
        sight.store > 0 && self.pool.next(sight) == Move::TwoRingKeys
    }

    /// For people: what a node is about to do.
    pub fn shown(&mut self, state: &State, node: u8) -> String {
        let sight = self.sight(state, node, Action::Take(node));
        format!("{sight:?} {:?}", self.pool.next(sight))
    }

    fn sight(&self, state: &State, node: u8, action: Action) -> Sight {
        let it = &state.nodes[usize::from(node)];
        let without = match (action, self.rules) {
            (Action::TakeWithout(_, other), _) => 1 << other,
            (_, Rules { unasked: true, .. }) => u8::MAX,
            (_, Rules { live_only: true, .. }) => state.leaseless,
            _ => 0,
        };
        Sight {
            node,
            instance: it.instance,
            program: it.program,
            blind: it.blind,
            copy: it.copy,
            mark: self.mark(it, it.copy),
            store: it.read,
            due: self.is_due(state, node),
            without,
            gone: if let Action::TakeGone(_, gone) = action {
                gone
            } else {
                0
            },
            epoch: state.epoch,
        }
    }

    /// One step of the product's, done as `serve` does it.
    fn step(&mut self, state: &mut State, node: u8, action: Action) -> Result<(), Broken> {
        let read = state.nodes[usize::from(node)].read;
        if read == 0 {
            return Ok(());
        }
        let sight = self.sight(state, node, action);
        let next = self.pool.next(sight);
        let it = &mut state.nodes[usize::from(node)];
        match next {
            Move::Stay | Move::Refused | Move::TwoRingKeys => return Ok(()),
            Move::Copy | Move::Adopt(_) => {
                it.copy = match next {
                    Move::Adopt(version) => version,
                    _ => self.pool.store(read).head,
                };
                if !self.rules.early {
                    flush(it);
                }
                return Ok(());
            }
            Move::Mark => {
                if !self.rules.early {
                    flush(it);
                }
                let copy = self.pool.entry(it.copy);
                (it.mark, it.mark_under) = (copy.active, copy.lineage);
                return Ok(());
            }
            _ => {}
        }
        let said = Said {
            version: it.copy,
            hand: 0,
            program: it.program,
            instance: it.instance,
            mark: sight.mark,
            shown: 0,
        };
        it.read = 0;
        let flight = Flight {
            node,
            read,
            said,
            next,
        };
        if matches!(action, Action::TakeLate(_)) {
            (state.flight, state.flights) = (Some(flight), state.flights + 1);
            return Ok(());
        }
        self.write(state, flight, action)
    }

    /// A write arrives at the store, which takes it under its conditions.
    fn write(&mut self, state: &mut State, flight: Flight, action: Action) -> Result<(), Broken> {
        let node = usize::from(flight.node);
        let read = self.pool.store(flight.read).clone();
        let mut store = self.pool.store(state.store).clone();
        match flight.next {
            Move::OpenFork { instead_of } => {
                if store.head == read.head && store.fork == instead_of {
                    state.nonces += 1;
                    store.fork = state.nonces;
                }
            }
            Move::Publish => {
                let version = flight.said.version;
                if let Err(at) = store.shown.binary_search(&version) {
                    store.shown.insert(at, version);
                }
            }
            Move::Acknowledge { shown } => store.said[node] = Said { shown, ..flight.said },
            Move::Commit { version, what } => {
                let fork = if what == What::Join { read.fork } else { 0 };
                if store.head == read.head && store.fork == fork {
                    self.check_commit(state, store.head, version, what, action)?;
                    if matches!(action, Action::TakeGone(..)) && matches!(what, What::Remove | What::Join) {
                        state.removed += 1;
                    }
                    (store.head, store.fork) = (version, 0);
                    if what == What::Join {
                        store.shown.retain(|it| !read.shown.contains(it));
                    }
                    let unheard = matches!(action, Action::TakeUnheard(_));
                    state.nodes[node].retries = unheard && what == What::Activate;
                }
            }
            Move::Stay | Move::Refused | Move::TwoRingKeys => {}
            Move::Copy | Move::Adopt(_) | Move::Mark => {}
        }
        state.store = self.pool.put(store);
        Ok(())
    }

    fn roll_back(&self, state: &mut State, node: u8) {
        let it = &mut state.nodes[usize::from(node)];
        if let Some(parent) = self.pool.entry(it.durable).parents.first() {
            (it.copy, it.durable, it.read) = (*parent, *parent, 0);
            state.excused |= 1 << node;
            state.rollbacks += 1;
        }
    }

    /// An operator asks for a fresh key, somewhere, on the head as it is.
    fn fresh(&mut self, state: &mut State) {
        let mut store = self.pool.store(state.store).clone();
        if store.head == 0 || store.fork > 0 {
            return;
        }
        if let Some(version) = self.pool.fresh(store.head, state.epoch) {
            store.head = version;
            state.store = self.pool.put(store);
            state.fresh += 1;
        }
    }

    /// The ring key is replaced. The verb leaves its node's copy up to date.
    fn remove_root(&mut self, state: &mut State, node: u8) {
        if !self.may_remove_root(state, node) {
            return;
        }
        let mut store = self.pool.store(state.store).clone();
        if state.stolen == 0 {
            state.stolen = store.head;
        }
        store.head = self.pool.remove_root(store.head, state.epoch);
        let it = &mut state.nodes[usize::from(node)];
        (it.copy, it.durable, it.read) = (store.head, store.head, 0);
        state.store = self.pool.put(store);
        state.roots += 1;
    }

    /// Somebody who has the ring key that was replaced first, and can write to the store.
    fn forge(&mut self, state: &mut State, action: Action) {
        let mut store = self.pool.store(state.store).clone();
        let forged = self.pool.forged(state.stolen, state.epoch);
        match action {
            Action::ForgeHead => store.head = forged,
            Action::PutBack => store.head = state.stolen,
            Action::ForgeShown => {
                if let Err(at) = store.shown.binary_search(&forged) {
                    store.shown.insert(at, forged);
                }
            }
            Action::ForgeRecord(node) => {
                let version = if store.head > 0 { store.head } else { forged };
                store.said[usize::from(node)] = Said {
                    version,
                    hand: self.pool.entry(state.stolen).lineage,
                    program: 2,
                    instance: self.pool.entry(version).instances[usize::from(node)],
                    mark: 0,
                    shown: store.fork,
                };
            }
            _ => {}
        }
        // What anybody makes of the same store afterwards is made of other randomness.
        if matches!(action, Action::ForgeHead | Action::PutBack) {
            state.epoch += 1;
        }
        state.store = self.pool.put(store);
        state.forged += 1;
    }

    /// Somebody who can write to the store, and has no ring key.
    fn tamper(&mut self, state: &mut State, action: Action) {
        let mut store = self.pool.store(state.store).clone();
        let saved = self.pool.store(state.saved);
        match action {
            Action::DeleteRecord(node) => store.said[usize::from(node)] = Said::default(),
            Action::ReplayRecord(node) => {
                store.said[usize::from(node)] = saved.said[usize::from(node)];
            }
            Action::ReplayFork => (store.fork, store.shown) = (saved.fork, saved.shown.clone()),
            Action::DeleteFork => store.fork = 0,
            Action::WriteFork => {
                state.nonces += 1;
                store.fork = state.nonces;
            }
            Action::DeleteShown => store.shown.clear(),
            _ => {}
        }
        let after = self.pool.put(store);
        if after != state.store {
            state.store = after;
            state.tampered += 1;
        }
    }
}

fn flush(node: &mut Node) {
    node.durable = node.copy;
}
