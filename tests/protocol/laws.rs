//! What must hold: in every state, and of every activation and report.

use crate::model::{Action, Broken, Model, State};
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
        if what != What::Activate {
            return Ok(());
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
            let it = &mut state.nodes[usize::from(node)];
            let now = match self.rules.unmarked && it.durable > 0 {
                true => self.pool.entry(it.durable).active,
                false => self.pool.reportable(it.durable, it.mark),
            };
            if now > 0 && self.pool.is_after(it.reported, now) {
                return Err(format!("node {node} reports key {now} after key {}", it.reported));
            }
            let was = &before.nodes[usize::from(node)];
            if was.instance == it.instance && self.pool.is_after(was.mark, it.mark) {
                return Err(format!("the mark of node {node} goes back"));
            }
            if it.durable == self.pool.store(state.store).head {
                state.excused &= !(1 << node);
            }
            if now > 0 {
                it.reported = now;
                state.used |= 1 << (now - 1);
            }
        }
        Ok(())
    }

    /// What holds in every state.
    pub fn check(&self, state: &State) -> Result<(), Broken> {
        let all = (0..self.bounds.nodes).fold(0, |all, node| {
            all | self.pool.holds(state.nodes[usize::from(node)].durable)
        });
        // Where a disk was lost, what was on no other is in the store.
        if state.used & !all != 0 && state.losses == 0 {
            return Err(format!("keys {:b} are in no copy", state.used & !all));
        }
        let head = self.pool.store(state.store).head;
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
