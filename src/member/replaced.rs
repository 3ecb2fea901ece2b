//! The records that a ring key was replaced, as they lie on etcd: a node that was away meanwhile, and opens nothing under the
//! new one, learns by them to report no key. It remembers that with its copy, so that a restart without etcd does not undo it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Member, MemberError};
use crate::custody::{Opened, Version};
use crate::etcd::Revision;
use crate::format::superseded;
use crate::keyring::ring::Ring;
use crate::keyring::{RingKeyId, lineage};
use crate::store::Snapshot;

/// The records that were read, so that each is read once.
#[derive(Default)]
pub(super) struct Heeded {
    /// The ring key under which they were tried: that of this node's copy.
    under: Option<RingKeyId>,
    known: BTreeSet<(String, Revision)>,
    generation: Option<u64>,
}

impl Heeded {
    /// What replaced that ring key, where one of them says so.
    pub(super) fn generation(&self) -> Option<u64> {
        self.generation
    }
}

impl Member {
    /// Reads the records that are new, unless one of `versions`, which opened here, is under a later ring key than this
    /// node's copy: then it goes over to that one. What cannot be read now is read at the next look.
    pub(super) fn heed_records(
        &mut self,
        snapshot: &Snapshot,
        opened: Option<&Opened>,
        versions: &[&Version],
        within: Duration,
    ) {
        let Some(opened) = opened else {
            return;
        };
        let under = Some(opened.lineage());
        if self.heeded.under != under || goes_over(opened, versions) {
            self.heeded = Heeded {
                under,
                ..Heeded::default()
            };
        }
        if !goes_over(opened, versions)
            && let Err(why) = self.read_records(snapshot, opened, within)
        {
            tracing::warn!(%why, "the records of replaced ring keys are not all read");
        }
    }

    fn read_records(
        &mut self,
        snapshot: &Snapshot,
        opened: &Opened,
        within: Duration,
    ) -> Result<(), MemberError> {
        let known = &self.heeded.known;
        let all = snapshot.superseded.iter();
        let new = all.filter(|it| !known.contains(&(it.name.clone(), it.at)));
        let names: Vec<String> = new.map(|it| it.name.clone()).collect();
        for record in self.store.superseded(snapshot, &names, within)? {
            // It verifies under the very ring key that it is about: nobody else's word silences a node.
            let said = superseded::decode(&record.bytes, &opened.ring_key).ok();
            if let Some(said) = said.filter(|it| it.ring_id == opened.ring.id) {
                self.heeded.generation = Some(said.generation);
                self.store.local().note_superseded(&record.bytes)?;
            }
            self.heeded.known.insert((record.name, record.at));
        }
        Ok(())
    }
}

fn goes_over(opened: &Opened, versions: &[&Version]) -> bool {
    let own = opened.lineage();
    let opened = std::iter::once((own, &opened.ring));
    let versions = versions.iter().map(|it| (it.lineage, &it.ring));
    let all: Vec<(RingKeyId, &Ring)> = opened.chain(versions).collect();
    lineage::unreplaced(&all).iter().any(|it| *it != own)
}
