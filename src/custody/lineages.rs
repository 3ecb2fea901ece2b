//! Generations under several ring keys in one opening: which key is the ring's, what becomes of the rest, and what a removal
//! in another history asks for here.

use std::sync::Arc;

use super::frozen::Reason;
use super::open::Version;
use super::passed::Passed;
use super::{Custody, Derivations, OpenError, Opened, marks};
use crate::crypto::secret::Key32;
use crate::format::generation::Slot;
use crate::format::superseded;
use crate::keyring::ring::Ring;
use crate::keyring::{KeyId, NotServing, RingKeyId, join, lifecycle, lineage};
use crate::store::{StoredCopy, StoredMark};

impl Custody {
    /// Refuses a store in which every generation is under a ring key that this node's own copy knows to be replaced.
    pub(super) fn refuse_replaced(
        &self,
        place: &str,
        witness: Option<StoredCopy>,
        versions: &[Version],
    ) -> Result<(), OpenError> {
        let Some(witness) = witness else {
            return Ok(());
        };
        let Ok(bytes) = &witness.bytes else {
            return Ok(());
        };
        let keys: Vec<Arc<Key32>> = versions.iter().map(|it| Arc::clone(&it.key)).collect();
        let mut derivations = Derivations::of_an_opening();
        let opened = self.open_one(&witness.place, &witness.name, bytes, &keys, &mut derivations);
        let Ok(own) = opened else {
            return Ok(());
        };
        let known = versions.iter().chain([&own]);
        let all: Vec<(RingKeyId, &Ring)> = known.map(|it| (it.lineage, &it.ring)).collect();
        let unreplaced = lineage::unreplaced(&all);
        match versions.iter().any(|it| unreplaced.contains(&it.lineage)) || versions.is_empty() {
            true => Ok(()),
            false => Err(OpenError::Replaced(place.to_owned())),
        }
    }
}

/// Which of the ring keys that opened is the ring's.
pub(super) struct Choice {
    pub(super) winner: RingKeyId,
    /// False where neither the ring keys themselves nor this node's mark tell.
    decided: bool,
    unreplaced: Vec<RingKeyId>,
}

impl Choice {
    /// Whether nothing tells which of this ring key and the winner is the ring's.
    pub(super) fn is_undecided(&self, lineage: RingKeyId) -> bool {
        !self.decided && self.unreplaced.contains(&lineage)
    }
}

pub(super) fn choose(versions: &[Version], marks: &[StoredMark], wanted: Option<&str>) -> Choice {
    let all: Vec<(RingKeyId, &Ring)> = versions.iter().map(|it| (it.lineage, &it.ring)).collect();
    let unreplaced = lineage::unreplaced(&all);
    let newest = unreplaced.first().copied().unwrap_or(RingKeyId([0; 16]));
    let key = |id: &RingKeyId| {
        let version = versions.iter().find(|it| it.lineage == *id)?;
        Some((*id, Arc::clone(&version.key)))
    };
    let decision = match (unreplaced.len(), wanted) {
        (0 | 1, _) => Some(newest),
        (_, Some(name)) => versions.iter().find(|it| it.is_called(name)).map(|it| it.lineage),
        (_, None) => {
            let candidates: Vec<_> = unreplaced.iter().filter_map(key).collect();
            marks::own(marks, &candidates)
        }
    };
    let decision = decision.filter(|id| unreplaced.is_empty() || unreplaced.contains(id));
    Choice {
        winner: decision.unwrap_or(newest),
        decided: decision.is_some(),
        unreplaced,
    }
}

/// Every ring key that opened something, the winner's first.
pub(super) fn keys(versions: &[Version], winner: RingKeyId) -> Vec<Arc<Key32>> {
    let mut known: Vec<RingKeyId> = Vec::new();
    let mut keys = Vec::new();
    let ours = versions.iter().filter(|it| it.lineage == winner);
    for version in ours.chain(versions) {
        if !known.contains(&version.lineage) {
            known.push(version.lineage);
            keys.push(Arc::clone(&version.key));
        }
    }
    keys
}

/// A ring key that lost against the ring's own counts as replaced from now on, and the removals of its history happened.
pub(super) fn outrank(opened: &mut Opened, choice: &Choice, replaced: &[Version]) {
    if !choice.decided {
        return;
    }
    let lost = |it: &&Version| choice.unreplaced.contains(&it.lineage);
    let known = (opened.ring.replaced.len(), opened.ring.removed.len());
    let sequences = replaced.iter().filter(lost).map(|it| it.ring.highest_sequence());
    opened.above = sequences.max().unwrap_or(0);
    for loser in replaced.iter().filter(lost) {
        let mut names = loser.ring.replaced.clone();
        names.retain(|name| *name != choice.winner);
        names.push(loser.lineage);
        join::remember(&mut opened.ring, &names, &loser.ring.removed);
    }
    if known != (opened.ring.replaced.len(), opened.ring.removed.len())
        && let Ok(next) = lifecycle::successor(&opened.ring)
    {
        opened.ring = next;
        opened.joined = true;
    }
}

/// While nothing tells which ring key is the ring's, no key may be reported: what all of them hold decrypts.
pub(super) fn refuse_undecided(opened: &mut Opened, undecided: Vec<Version>) {
    if undecided.is_empty() {
        return;
    }
    let ours = (opened.lineage(), opened.head.name.as_str());
    let theirs = undecided.iter().map(|it| (it.lineage, it.name.as_str()));
    let mut heads: Vec<(RingKeyId, &str)> = Vec::new();
    for (lineage, name) in std::iter::once(ours).chain(theirs) {
        if !heads.iter().any(|(known, _)| *known == lineage) {
            heads.push((lineage, name));
        }
    }
    for version in &undecided {
        if heads.contains(&(version.lineage, version.name.as_str())) {
            suspend(&mut opened.ring, &version.ring);
        }
    }
    let heads: Vec<String> = heads
        .iter()
        .map(|(_, name)| name.trim_end_matches(".ring").to_owned())
        .collect();
    opened.freeze(Reason::TwoRingKeys(heads.clone()));
    opened.refusing = Some(NotServing::TwoRingKeys(heads.join(" and ")));
    opened.beside = undecided;
}

/// What the newest generation under either ring key has suspended is suspended until somebody decides.
fn suspend(ours: &mut Ring, theirs: &Ring) {
    let generation = ours.generation;
    let suspended = |id: &KeyId| theirs.key(id).is_some_and(|key| key.suspended);
    for key in ours.keys.iter_mut().filter(|key| !key.suspended) {
        if suspended(&key.id) {
            (key.suspended, key.suspension) = (true, generation);
        }
    }
}

/// The ring key at hand was replaced while this node was away, and none here opens the new one. The record verifies under no
/// other ring key, so what opens under a later one is not bound by it.
pub(super) fn heed_record(opened: &mut Opened, record: Option<&[u8]>) {
    let known = record.and_then(|bytes| superseded::decode(bytes, &opened.ring_key).ok());
    if let Some(record) = known.filter(|it| it.ring_id == opened.ring.id) {
        opened.refusing = Some(NotServing::Superseded(record.generation));
    }
}

/// Generations under a replaced ring key: the slots that a removal left half-way, and the keys that are nowhere else.
pub(super) fn pass_over(opened: &mut Opened, replaced: &[Version]) {
    let slots = &opened.head.header.slots;
    let mut removed: Vec<Slot> = Vec::new();
    for version in replaced {
        match Passed::of(version, &opened.ring) {
            Some(passed) => {
                opened.warnings.push(passed.warning());
                opened.passed.push(passed);
            }
            None => {
                let theirs = version.stored.header.slots.iter();
                for slot in theirs {
                    if !slots.iter().chain(&removed).any(|it| it.id == slot.id) {
                        removed.push(slot.clone());
                    }
                }
            }
        }
    }
    opened.removed = removed;
}

/// A slot that another history of the ring removed must go here too: its root is not to open what comes.
pub(super) fn heed_removed_slots(opened: &mut Opened) {
    if opened.unfinished().count() == opened.head.header.slots.len() {
        opened.freeze(Reason::NoSlot);
        return;
    }
    opened.warnings.extend(opened.removal_warning());
}

impl Opened {
    /// That a removal is unfinished, in words.
    pub fn removal_warning(&self) -> Option<String> {
        let id = |slot: &Slot| data_encoding::HEXLOWER.encode(&slot.id);
        let (names, ids): (Vec<String>, Vec<String>) = self
            .unfinished()
            .map(|slot| (slot.name.clone(), id(slot)))
            .unzip();
        (!ids.is_empty()).then(|| {
            format!(
                "removal unfinished: another history of the ring removed the slot of {}, and the ring does not rotate until it goes here too; `kekring root remove {}`",
                names.join(", "),
                ids.join(" ")
            )
        })
    }
}
