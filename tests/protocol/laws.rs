//! What must hold: in every state, and of every activation and report.

use crate::model::{Action, Broken, Model, Node, State};
use crate::pool::What;

impl Model {
    /// A key becomes active only where every registered node has it on its disk.
    pub fn check_commit(
        &self,
        state: &mut State,
        head: u16,
        version: u16,
        what: What,
        action: Action,
    ) -> Result<(), Broken> {
        // Who knows of no later ring key believes whoever has this one.
        if what != What::Activate || !self.is_unreplaced(state, self.pool.entry(version).lineage) {
            return Ok(());
        }
        if self.pool.is_unfinished(head) {
            return Err("a rotation while a root that another history removed still opens the ring".into());
        }
        if let Action::TakeWithout(_, other) = action {
            state.excused |= 1 << other;
            state.left_out += 1;
        }
        let after = self.pool.entry(version);
        for node in 0..self.bounds.nodes {
            let counts = self.counts(state, head, node);
            let held = self.pool.holds(state.nodes[usize::from(node)].durable);
            if counts && held & (1 << (after.active - 1)) == 0 {
                return Err(format!(
                    "key {} becomes active, and node {node} lacks it",
                    after.active
                ));
            }
        }
        if state.epoch == 0 && after.activations > state.periods + state.fresh + 1 {
            return Err(format!(
                "{} rotations, of which {} were due",
                after.activations - 1,
                state.periods
            ));
        }
        Ok(())
    }

    /// Whether a node that is registered in `head` must hold what is used: it has the disk that it registered with, and nothing
    /// excuses it.
    pub fn counts(&self, state: &State, head: u16, node: u8) -> bool {
        let (entry, at) = (self.pool.entry(head), usize::from(node));
        let same = entry.instances[at] == state.nodes[at].instance;
        same && entry.registered & !state.excused & (1 << node) != 0
    }

    /// What each node reports now, and that it never takes back what it reported.
    pub fn report(&self, before: &State, state: &mut State) -> Result<(), Broken> {
        for node in 0..self.bounds.nodes {
            let it = &state.nodes[usize::from(node)];
            let now = match self.rules.unmarked && it.durable > 0 {
                true => self.pool.entry(it.durable).active,
                false => self.pool.reportable(it.durable, self.mark(it, it.durable)),
            };
            if now > 0
                && self.pool.is_after(it.reported, now)
                && !self.is_lost(it, it.reported, it.reported_under)
            {
                return Err(format!("node {node} reports key {now} after key {}", it.reported));
            }
            let was = &before.nodes[usize::from(node)];
            if was.instance == it.instance
                && self.pool.is_after(was.mark, it.mark)
                && !self.is_lost(it, was.mark, was.mark_under)
            {
                return Err(format!("the mark of node {node} goes back"));
            }
            let it = &mut state.nodes[usize::from(node)];
            if it.durable == self.pool.store(state.store).head {
                state.excused &= !(1 << node);
            }
            if now > 0 {
                let under = self.pool.entry(it.durable).lineage;
                (it.reported, it.reported_under) = (now, under);
                state.used |= 1 << (now - 1);
                let mut known = state.used_under.iter_mut();
                let known = known.find(|it| it.0 == 0 || it.0 == under).unwrap();
                (known.0, known.1) = (under, known.1 | 1 << (now - 1));
            }
        }
        Ok(())
    }

    /// What the mark of a node says to a copy; nothing where it is under another ring key.
    pub fn mark(&self, node: &Node, copy: u16) -> u8 {
        match copy > 0 && self.pool.entry(copy).lineage == node.mark_under {
            true => node.mark,
            false => 0,
        }
    }

    /// Whether a key was in use in a history under a replaced ring key alone, as the copy of the node says: what that history
    /// did after the ring key was replaced counts for nothing, so its nodes may go back to what the ring uses.
    fn is_lost(&self, node: &Node, key: u8, under: u16) -> bool {
        let replaced = node.durable > 0 && self.pool.replaces(node.durable, under);
        replaced && self.pool.entry(node.durable).activated & (1 << (key - 1)) == 0
    }

    /// What is in any copy, and in the store.
    fn everything(&self, state: &State) -> impl Iterator<Item = u16> {
        let store = self.pool.store(state.store);
        let copies = state.nodes.iter().map(|it| it.durable);
        copies.chain([store.head]).chain(store.shown.iter().copied())
    }

    /// Whether no generation anywhere names that ring key replaced.
    fn is_unreplaced(&self, state: &State, lineage: u16) -> bool {
        state.roots == 0 || self.pool.unreplaced(self.everything(state)).contains(&lineage)
    }

    /// What holds in every state once a ring key was replaced.
    fn check_replaced(&self, state: &State) -> Result<(), Broken> {
        let open = self.pool.unreplaced(self.everything(state));
        let all = (0..self.bounds.nodes).fold(0, |all, node| {
            all | self.pool.holds(state.nodes[usize::from(node)].durable)
        });
        for (lineage, used) in state.used_under {
            if open.contains(&lineage) && used & !all != 0 && state.losses == 0 {
                return Err(format!(
                    "keys {:b} of ring key {lineage} are in no copy",
                    used & !all
                ));
            }
        }
        let stolen = self.pool.entry(state.stolen).lineage;
        for version in self.everything(state).filter(|it| *it > 0) {
            let entry = self.pool.entry(version);
            if entry.foreign && self.pool.replaces(version, stolen) {
                return Err(format!("something foreign has come into generation {version}"));
            }
            let origin = self.pool.origin(entry.lineage);
            if !entry.foreign && origin.holds & !entry.holds != 0 {
                return Err(format!(
                    "generation {version} has lost a key of its ring key's first"
                ));
            }
            if entry
                .ring
                .replaced
                .iter()
                .any(|it| self.pool.is_ring_key(*it, entry.lineage))
            {
                return Err(format!("generation {version} names its own ring key replaced"));
            }
        }
        Ok(())
    }

    /// Every registered node can read the head.
    fn check_format(&self, state: &State, head: u16) -> Result<(), Broken> {
        let entry = self.pool.entry(head);
        for node in 0..self.bounds.nodes {
            let it = &state.nodes[usize::from(node)];
            let same = entry.instances[usize::from(node)] == it.instance;
            if same && entry.registered & (1 << node) != 0 && it.program < entry.format {
                return Err(format!(
                    "node {node} cannot read the head's format {}",
                    entry.format
                ));
            }
        }
        Ok(())
    }

    /// What holds in every state.
    pub fn check(&self, state: &State) -> Result<(), Broken> {
        let all = (0..self.bounds.nodes).fold(0, |all, node| {
            all | self.pool.holds(state.nodes[usize::from(node)].durable)
        });
        let head = self.pool.store(state.store).head;
        if self.bounds.upgrades > 0 && head > 0 {
            self.check_format(state, head)?;
        }
        if state.roots > 0 {
            self.check_replaced(state)?;
        } else if state.used & !all != 0 && state.losses == 0 {
            // Where a disk was lost, what was on no other is in the store.
            return Err(format!("keys {:b} are in no copy", state.used & !all));
        }
        if state.epoch > 0 {
            // A store that was put back: until the join, `check_commit` alone holds, and `settle` in the end.
            return Ok(());
        }
        if state.used & !self.pool.holds(head) != 0 {
            return Err("a key that is used is not in the store".into());
        }
        for node in 0..self.bounds.nodes {
            let counts = self.counts(state, head, node);
            let held = self.pool.holds(state.nodes[usize::from(node)].durable);
            if counts && state.used & !held != 0 {
                return Err(format!("node {node} cannot open keys {:b}", state.used & !held));
            }
        }
        Ok(())
    }
}
