//! Deleting what is not needed any more. Each deletion takes the proof that the durable head says all that goes, so whatever
//! does not open here, or is another history, stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::open::open_with;
use super::passed::Passed;
use super::{CommitError, Custody, Opened};
use crate::crypto::secret::Key32;
use crate::format::covered::{Covered, Durable};
use crate::format::generation;
use crate::keyring::RingKeyId;
use crate::store::{KEPT, StoreError};

/// What goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sweep {
    /// Generations under the head's own ring key, beyond those that are kept.
    Surplus,
    /// Those, and what is sealed under ring keys that the head names replaced: their roots may be removed ones.
    Removal,
}

impl Custody {
    /// Deletes what the durable head covers, from the store and its further places, as far as it can.
    ///
    /// Returns the names that are gone from the store.
    pub(super) fn tidy(&self, opened: &Opened, sweep: Sweep) -> Result<Vec<String>, CommitError> {
        let Some(gone) = self.covered(opened, sweep)? else {
            return Ok(Vec::new());
        };
        let leaving = match sweep {
            Sweep::Removal => opened.ring.superseding.as_slice(),
            Sweep::Surplus => &[],
        };
        Ok(self.store.remove(&gone, leaving)?)
    }

    /// The proofs for what may go; none for the sake of a head that is not there.
    fn covered(&self, opened: &Opened, sweep: Sweep) -> Result<Option<Vec<Covered>>, CommitError> {
        let durable = Durable::read(&opened.head.bytes, &opened.ring_key)
            .map_err(|why| CommitError::Store(StoreError::Corrupt(why.to_string())))?;
        let own = self.store.load()?.copies;
        if !own
            .iter()
            .any(|copy| copy.bytes.as_deref() == Ok(&*opened.head.bytes))
        {
            return Ok(None);
        }
        let mut kept = BTreeSet::new();
        let mut gone = Vec::new();
        let further = self.store.further();
        let own = own.iter().map(|copy| (copy, true));
        for (copy, here) in own.chain(further.iter().map(|copy| (copy, false))) {
            let bytes = copy.bytes.as_deref().unwrap_or_default();
            let Finding::Covered(covered, is_ours) =
                opened.find(&durable, opened.keys(), (&copy.name, &copy.place), bytes)
            else {
                continue;
            };
            if is_ours && here && kept.len() < KEPT - 1 {
                kept.insert(copy.name.clone());
            }
            // What the head was made of is its witness.
            let parent = opened.head.header.parents.iter().any(|hash| covered.is_of(hash));
            let wanted = (is_ours && !parent) || sweep == Sweep::Removal;
            if wanted && !kept.contains(&copy.name) {
                gone.push(covered);
            }
        }
        gone.dedup();
        Ok(Some(gone))
    }

    /// What lies beside the ring, in its own place and in further ones. No root is asked.
    pub fn beside(&self, opened: &Opened) -> Beside {
        let mut beside = Beside::default();
        let Ok(durable) = Durable::read(&opened.head.bytes, &opened.ring_key) else {
            return beside;
        };
        let own = self.store.load().map(|loaded| loaded.copies).unwrap_or_default();
        for copy in own.into_iter().chain(self.store.further()) {
            if copy.bytes.as_deref() == Ok(&*opened.head.bytes) {
                continue;
            }
            let bytes = copy.bytes.as_deref().unwrap_or_default();
            match opened.find(&durable, opened.keys(), (&copy.name, &copy.place), bytes) {
                Finding::Covered(covered, false) => beside.covered.push((covered, copy.place)),
                Finding::Covered(_, true) => {}
                Finding::Other(passed) => beside.passed.extend(passed),
                // What is damaged in its own place is told of by its name already.
                Finding::Unopened if copy.own && generation::parse(bytes).is_err() => {}
                Finding::Unopened => beside.unopened.push(copy.place),
            }
        }
        beside
    }

    /// Where generations lie that the durable head covers although nothing keeps them: for people to delete.
    pub fn leftovers(&self, opened: &Opened) -> Vec<(Covered, String)> {
        self.beside(opened).covered
    }
}

/// What lies beside the ring.
#[derive(Debug, Default)]
pub struct Beside {
    /// Under ring keys that were replaced, and the ring has all of it: these can go.
    pub covered: Vec<(Covered, String)>,
    /// What holds keys that the ring lacks.
    pub passed: Vec<Passed>,
    /// What opens with no ring key at hand, by its place.
    pub unopened: Vec<String>,
}

/// What one generation is to a durable head.
pub enum Finding {
    /// The head says all that it says; whether it is under the head's own ring key.
    Covered(Covered, bool),
    /// It opens, and that is not so; what it holds beyond the ring.
    Other(Option<Passed>),
    /// No ring key at hand opens it.
    Unopened,
}

impl Opened {
    /// What these bytes, of a generation of this name at `place`, are to the durable head of the ring, as far as one of `keys`
    /// opens them. No root is asked.
    pub fn find(
        &self,
        durable: &Durable,
        keys: &[Arc<Key32>],
        (name, place): (&str, &str),
        bytes: &[u8],
    ) -> Finding {
        let Ok(stored) = generation::parse(bytes) else {
            return Finding::Unopened;
        };
        let Some(Ok((open, key))) = open_with(&stored, keys) else {
            return Finding::Unopened;
        };
        let lineage = RingKeyId::of(open.ring.id, &key);
        match durable.covers(name, stored.hash, &open.ring, lineage) {
            Some(covered) => Finding::Covered(covered, key.expose() == self.ring_key.expose()),
            None => Finding::Other(Passed::at(name, place, &open.ring, &self.ring)),
        }
    }
}
