//! Doing one step. Whatever becomes of it, the next look tells.

use std::sync::Arc;
use std::time::Duration;

use super::{Look, Member, MemberError};
use crate::crypto::secret::Key32;
use crate::crypto::{kdf, random};
use crate::custody::{CommitError, Custody, Derivations, Slot, Version, test_keys};
use crate::format::generation::{Hash, MAX_SLOTS};
use crate::nodes::{self, Commit, Step, View};
use crate::store::{Change, StoreError};

impl Member {
    pub(super) fn act(
        &self,
        step: &Step,
        look: &Look,
        view: &View<'_>,
        custody: &Custody,
        within: Duration,
    ) -> Result<(), MemberError> {
        let store = &self.store;
        match step {
            Step::Copy => {
                let head = look.head.as_ref().ok_or_else(gone)?;
                Ok(store.local().copy(&head.name, &head.bytes)?)
            }
            // Whoever reads the copy again writes its mark.
            Step::Mark | Step::Idle | Step::NoRing | Step::Refused(_) | Step::Wait { .. } => Ok(()),
            Step::Publish => {
                let copy = self.copy(custody, view)?;
                Ok(store.show(copy.ring.id.0, &copy.name, &copy.bytes, within)?)
            }
            Step::OpenFork { instead_of } => {
                let id = look.id.or(view.copy.map(|it| it.ring.id.0)).ok_or_else(gone)?;
                let head = look.head_name.as_deref();
                let nonce = random().map_err(CommitError::from)?;
                Ok(store.open_fork(id, nonce, head, *instead_of, within)?)
            }
            Step::Acknowledge { shown } => {
                let said = nodes::acknowledgement(view, *shown).ok_or_else(gone)?;
                let copy = self.copy(custody, view)?;
                test_keys(&copy.ring, &copy.ring).map_err(MemberError::Copy)?;
                let bytes = said.encode(&copy.key);
                let known = look.at.get(said.name.as_str()).copied();
                Ok(store.acknowledge(said.ring_id.0, said.name.as_str(), &bytes, known, within)?)
            }
            Step::Register | Step::Remove { .. } | Step::Join | Step::Propose | Step::Activate => {
                let fresh = Key32::generate().map_err(CommitError::from)?;
                let proposal = random().map_err(CommitError::from)?;
                let commit = nodes::commit(view, step, fresh, proposal, view.now)?;
                self.commit(commit, look, custody, view, within)
            }
        }
    }

    /// This node's copy as it lies on its disk now, read back and opened: what it acknowledges and shows is that.
    fn copy(&self, custody: &Custody, view: &View<'_>) -> Result<Version, MemberError> {
        let hash = view.copy.map(|it| it.hash).ok_or_else(gone)?;
        let copies = custody.store.load()?.copies;
        let held = self.own.as_ref().map(|it| Arc::clone(&it.key));
        for copy in copies {
            // For what a stranger put beside it, no root is asked.
            let Some(bytes) = copy.bytes.ok().filter(|it| kdf::sha256(it) == hash) else {
                continue;
            };
            let mut derivations = Derivations::of_an_opening();
            let opened = custody.open_one(&copy.place, &copy.name, &bytes, held.as_ref(), &mut derivations);
            if let Ok(version) = opened {
                return Ok(version);
            }
        }
        Err(MemberError::Copy(
            "the generation that is in use does not lie in its directory any more".into(),
        ))
    }

    fn commit(
        &self,
        commit: Commit,
        look: &Look,
        custody: &Custody,
        view: &View<'_>,
        within: Duration,
    ) -> Result<(), MemberError> {
        // An operator removes a node from a machine that has no copy, too.
        let own = match view.copy {
            Some(_) => Some(self.copy(custody, view)?),
            None => None,
        };
        let (slots, key) = sealed(&commit, look, own.as_ref()).ok_or_else(gone)?;
        let new = custody.prepare(commit.ring, commit.parents, slots, &key, view.now)?;
        let shown = |hash: &Hash| look.shown.iter().find(|it| it.stored.hash == *hash);
        let joined: Vec<String> = commit
            .joined
            .iter()
            .filter_map(|hash| Some(shown(hash)?.name.clone()))
            .collect();
        let head = look.head_name.as_deref();
        let change = Change {
            name: &new.name,
            bytes: &new.bytes,
            head,
            fork: commit.fork,
            joined: &joined,
            prune: &crate::store::surplus(&look.names, head, &[]),
        };
        let verify = |again: &[u8]| new.verify(again);
        let id = new.ring_id().0;
        self.store.commit(id, &change, &verify, within)?;
        Ok(())
    }
}

/// Ring key and slots of the newest of a generation's parents: a ring key that was replaced stays so. Of several under the
/// same key, the slots of all.
fn sealed(commit: &Commit, look: &Look, own: Option<&Version>) -> Option<(Vec<Slot>, Arc<Key32>)> {
    let versions = look.head.iter().chain(&look.shown).map(Arc::as_ref).chain(own);
    let mut parents: Vec<&Version> = versions
        .filter(|it| commit.parents.contains(&it.stored.hash))
        .collect();
    parents.sort_unstable_by_key(|it| std::cmp::Reverse((it.stored.header.generation, it.stored.hash)));
    let newest = parents.first().copied()?;
    let mut slots: Vec<Slot> = Vec::new();
    let same_key = |it: &&&Version| it.key.expose() == newest.key.expose();
    for slot in parents
        .iter()
        .filter(same_key)
        .flat_map(|it| &it.stored.header.slots)
    {
        if slots.len() < MAX_SLOTS && !slots.iter().any(|known| known.id == slot.id) {
            slots.push(slot.clone());
        }
    }
    Some((slots, Arc::clone(&newest.key)))
}

fn gone() -> MemberError {
    MemberError::Store(StoreError::Corrupt("there is no ring to do this with".into()))
}
