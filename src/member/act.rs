//! Doing one step. Whatever becomes of it, the next look tells.

use std::sync::Arc;
use std::time::Duration;

use super::{Look, Member, MemberError};
use crate::crypto::secret::Key32;
use crate::crypto::{kdf, random};
use crate::custody::{CommitError, Custody, Derivations, Making, Share, Slot, Version, test_keys};
use crate::etcd::Revision;
use crate::format::FormatError;
use crate::format::covered::{Covered, Durable};
use crate::format::generation::{Hash, MAX_SLOTS};
use crate::format::superseded::Superseded;
use crate::keyring::RingKeyId;
use crate::nodes::{self, Commit, Step, View};
use crate::store::{Change, StoreError, generation_name};

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
            Step::Adopt { hash } => {
                let shown = look
                    .shown
                    .iter()
                    .find(|it| it.stored.hash == *hash)
                    .ok_or_else(gone)?;
                Ok(store.local().copy(&shown.name, &shown.bytes)?)
            }
            // Whoever reads the copy again writes its mark.
            Step::Mark | Step::Idle | Step::NoRing | Step::Refused(_) | Step::Wait { .. } => Ok(()),
            Step::Publish => {
                let copy = self.copy(custody, view)?;
                // Its name is what its bytes say, whatever its file is called.
                let name = generation_name(copy.stored.header.generation, &copy.stored.hash);
                Ok(store.show(copy.ring.id.0, &name, &copy.bytes, within)?)
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
                let key = || Key32::generate().map_err(CommitError::from);
                let fresh = [key()?, key()?, key()?];
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
        let held: Vec<_> = self.own.iter().map(|it| Arc::clone(&it.key)).collect();
        for copy in copies {
            // For what a stranger put beside it, no root is asked.
            let Some(bytes) = copy.bytes.ok().filter(|it| kdf::sha256(it) == hash) else {
                continue;
            };
            let mut derivations = Derivations::of_an_opening();
            let opened = custody.open_one(&copy.place, &copy.name, &bytes, &held, &mut derivations);
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
        let superseded = superseded(&commit, look);
        let making = Making {
            share: share(&commit),
            format: commit.format,
            now: view.now,
        };
        let new = custody.prepare(commit.ring, commit.parents, slots, &key, making)?;
        let joined = joined(&commit.joined, look, &new.bytes, &key)?;
        let head = look.head_name.as_deref();
        let change = Change {
            name: &new.name,
            bytes: &new.bytes,
            head,
            fork: commit.fork,
            joined: &joined,
            superseded: &superseded,
        };
        let verify = |again: &[u8]| new.verify(again);
        let id = new.ring_id().0;
        self.store.commit(id, &change, &verify, within)?;
        Ok(())
    }
}

/// Ring key and slots of the newest of a generation's parents, which are all under one ring key; of several, the slots of all
/// but those that were removed.
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
        let known = slots.iter().any(|known| known.id == slot.id);
        let removed =
            commit.ring.removed.binary_search(&slot.id).is_ok() && !newest.stored.header.slots.contains(slot);
        if slots.len() < MAX_SLOTS && !known && !removed {
            slots.push(slot.clone());
        }
    }
    Some((slots, Arc::clone(&newest.key)))
}

/// What nodes have shown and the new generation says: it goes in the very transaction that makes that durable.
fn joined(
    hashes: &[Hash],
    look: &Look,
    bytes: &[u8],
    key: &Key32,
) -> Result<Vec<(Covered, Revision)>, CommitError> {
    if hashes.is_empty() {
        return Ok(Vec::new());
    }
    let corrupt = |why: FormatError| StoreError::Corrupt(why.to_string());
    let durable = Durable::read(bytes, key).map_err(corrupt)?;
    let shown = look.shown.iter().filter(|it| hashes.contains(&it.stored.hash));
    let proofs = shown.filter_map(|it| {
        let covered = durable.covers(&it.name, it.stored.hash, &it.ring, it.lineage)?;
        Some((covered, *look.shown_at.get(&it.name)?))
    });
    Ok(proofs.collect())
}

/// The records that a commit leaves, one for each ring key that it replaces among them.
fn superseded(commit: &Commit, look: &Look) -> Vec<Vec<u8>> {
    let known: Vec<&Arc<Version>> = look.head.iter().chain(&look.shown).collect();
    let (ring_id, generation) = (commit.ring.id, commit.ring.generation);
    let record = |lost: &RingKeyId| {
        let version = known.iter().find(|it| it.lineage == *lost)?;
        Some(Superseded { ring_id, generation }.encode(&version.key))
    };
    let mut records = commit.superseded.clone();
    records.extend(commit.lost.iter().filter_map(record));
    records
}

fn share(commit: &Commit) -> Share {
    match commit.rotates {
        true => Share::Rotation,
        false => Share::All,
    }
}

fn gone() -> MemberError {
    MemberError::Store(StoreError::Corrupt("there is no ring to do this with".into()))
}
