//! What a store's further places are good for: the very generation that a mark names, where the store's own place lacks it.
//! Everything else that lies there is nobody's word.

use std::sync::Arc;

use super::open::{Candidate, Given, Opening, candidates};
use super::{Custody, Derivations, OpenError};
use crate::format::generation::Hash;
use crate::format::mark;
use crate::keyring::ring::Ring;
use crate::keyring::{RingKeyId, lineage};
use crate::store::{Loaded, RingStore, StoredMark, generation_name};

impl Custody {
    /// The store's own place is lost: the generation that a mark names is brought back from a further place, where it opens
    /// and the mark verifies under its ring key.
    pub(super) fn brought_back(
        &self,
        store: &dyn RingStore,
        loaded: &Loaded,
        given: Given<'_>,
    ) -> Result<Vec<Candidate>, OpenError> {
        // The mark in its own place is the better witness.
        let own = loaded.marks.iter().find(|it| it.own);
        let Some(mark) = own.or(loaded.marks.first()) else {
            return Ok(Vec::new());
        };
        let found = named_elsewhere(store, std::slice::from_ref(mark), &[]);
        let place = store.describe();
        let opening = self.open_all(&place, found, &[], given.held, &mut Derivations::of_an_opening());
        match (opening.versions.into_iter().next(), opening.locked) {
            (Some(version), _) if mark::decode(&mark.bytes, &version.key).is_ok() => Ok(vec![Candidate {
                name: version.name,
                place: version.place,
                own: false,
                bytes: version.bytes,
                stored: version.stored,
            }]),
            (None, Some(locked)) => Err(locked),
            _ => Ok(Vec::new()),
        }
    }

    /// A mark in a further place that verifies under the ring key of the newest generation: where it names one that is not
    /// here, this place has been rolled back, and the very generation is taken from there.
    pub(super) fn newer_elsewhere(&self, store: &dyn RingStore, marks: &[StoredMark], opening: &mut Opening) {
        let all: Vec<(RingKeyId, &Ring)> = opening.versions.iter().map(|it| (it.lineage, &it.ring)).collect();
        let unreplaced = lineage::unreplaced(&all);
        let [ours] = unreplaced.as_slice() else {
            return;
        };
        let Some(key) = opening
            .versions
            .iter()
            .find(|it| it.lineage == *ours)
            .map(|it| Arc::clone(&it.key))
        else {
            return;
        };
        let valid = |it: &&StoredMark| !it.own && mark::decode(&it.bytes, &key).is_ok();
        let valid: Vec<StoredMark> = marks.iter().filter(valid).cloned().collect();
        let known: Vec<Hash> = opening.versions.iter().map(|it| it.stored.hash).collect();
        for candidate in named_elsewhere(store, &valid, &[]) {
            if let (false, Ok(open)) = (
                known.contains(&candidate.stored.hash),
                candidate.stored.open(&key),
            ) {
                opening.versions.push(candidate.opened(open, Arc::clone(&key)));
            }
        }
        opening
            .versions
            .sort_by_key(|it| std::cmp::Reverse((it.stored.header.generation, it.stored.hash)));
    }
}

/// The generations that marks name, verified or not.
pub(super) fn claimed(marks: &[StoredMark]) -> Vec<Hash> {
    let named = marks.iter().filter_map(|it| mark::claims(&it.bytes));
    named.map(|it| it.2).collect()
}

/// The very generations, by full hash, that marks name and that are not among `here`, from the further places.
pub(super) fn named_elsewhere(
    store: &dyn RingStore,
    marks: &[StoredMark],
    here: &[Candidate],
) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for (ring, number, hash) in marks.iter().filter_map(|it| mark::claims(&it.bytes)) {
        if here.iter().chain(&found).any(|it| it.stored.hash == hash) {
            continue;
        }
        let mut copies = store.elsewhere(&generation_name(number, &hash));
        let very = |it: &Candidate| it.stored.hash == hash && it.stored.header.ring_id == ring;
        let known = here.first().map(|it| it.stored.header.ring_id);
        let sound = candidates(&mut copies).0.into_iter();
        found.extend(
            sound
                .filter(|it| very(it) && known.is_none_or(|id| id == ring))
                .take(1),
        );
    }
    found
}
