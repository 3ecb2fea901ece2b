//! What was opened, put together: the newest version, other histories of the ring, what the node has reported.

use std::sync::Arc;

use super::open::{Damage, Version};
use super::{Head, Opened};
use crate::crypto::secret::Key32;
use crate::format::mark::{self, Mark};
use crate::keyring::join::{self, JoinError};
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{NotServing, RingId};
use crate::store::{KEPT, Loaded};

/// Puts the newest version, other histories, the marks and the damage together.
pub(super) fn assemble(
    mut versions: Vec<Version>,
    ring_key: Arc<Key32>,
    damage: &Damage,
    mut loaded: Loaded,
    now: UnixTime,
) -> Opened {
    let older = versions.split_off(1);
    let head = versions.swap_remove(0);
    let (warnings, frozen) = complaints(&mut loaded.warnings, damage, &head);
    let mut opened = Opened {
        ring: head.ring,
        ring_key,
        parents: vec![head.stored.hash],
        prunable: older.iter().skip(KEPT - 2).map(|it| it.name.clone()).collect(),
        head: Head {
            name: head.name,
            hash: head.stored.hash,
            header: head.stored.header,
            bytes: head.bytes,
        },
        stamp: loaded.stamp,
        mark: None,
        refusing: None,
        frozen,
        joined: false,
        warnings,
    };
    heed_other_rings(&mut opened, &loaded.marks);
    let marks = marks(&mut opened, &loaded.marks);
    for version in &older {
        join_history(&mut opened, version, &marks, now);
    }
    let highest = |mark: &Mark| (mark.reported.sequence(), mark.generation);
    if let Some(mark) = marks.into_iter().max_by_key(highest) {
        apply_mark(&mut opened, mark);
    }
    opened
}

/// What a person should know of the copies that did not open, and whether that forbids a change.
fn complaints(known: &mut Vec<String>, damage: &Damage, head: &Version) -> (Vec<String>, Option<String>) {
    let mut warnings = std::mem::take(known);
    warnings.extend(damage.iter().map(|(_, why)| why.to_string()));
    let mut frozen = damage
        .iter()
        .find(|(number, _)| *number > head.ring.generation)
        .map(|(number, why)| format!("generation {number} cannot be used: {why}"));
    if !head.writable {
        let reason = "a newer kekring wrote this ring; this one serves it and never writes it";
        warnings.push(reason.into());
        frozen.get_or_insert_with(|| reason.into());
    }
    (warnings, frozen)
}

/// A mark of another ring cannot be verified with this ring's key: its name alone says enough.
fn heed_other_rings(opened: &mut Opened, marks: &[Vec<u8>]) {
    let ours = opened.ring.id;
    let mut named = marks.iter().filter_map(|bytes| mark::ring_id(bytes));
    if let Some(other) = named.find(|id| *id != ours) {
        refuse_other_ring(opened, other);
    }
}

fn marks(opened: &mut Opened, stored: &[Vec<u8>]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for bytes in stored {
        match mark::decode(bytes, &opened.ring_key) {
            Ok(mark) => marks.push(mark),
            Err(why) => opened.warnings.push(format!("the mark cannot be used: {why}")),
        }
    }
    if stored.is_empty() {
        let reason = "the mark is missing: an older ring put in this one's place would not be noticed";
        opened.warnings.push(reason.into());
    }
    marks
}

/// An older generation that the newest does not cover is another history: a restored backup, a copied directory.
fn join_history(opened: &mut Opened, other: &Version, marks: &[Mark], now: UnixTime) {
    if join::covers(&opened.ring, &other.ring) {
        return;
    }
    // A join counts as one generation, however many histories it joins.
    let base = Ring {
        generation: opened.head.header.generation,
        ..opened.ring.clone()
    };
    let reported: Vec<_> = marks.iter().map(|mark| mark.reported.clone()).collect();
    let joined = Key32::generate()
        .map_err(|why| why.to_string())
        .and_then(|fresh| {
            join::join(&base, &other.ring, &reported, fresh, now).map_err(|why: JoinError| why.to_string())
        });
    match joined {
        Ok(ring) => {
            opened.warnings.push(format!(
                "two histories of the ring were joined: generation {} ({}) does not descend from generation {}",
                opened.head.header.generation, opened.head.name, other.name
            ));
            opened.ring = ring;
            opened.joined = true;
            opened.parents.push(other.stored.hash);
            opened.parents.sort_unstable();
            opened.prunable.retain(|name| *name != other.name);
        }
        Err(why) => {
            let reason = format!(
                "two histories of the ring cannot be joined: {} and {}: {why}",
                opened.head.name, other.name
            );
            opened.warnings.push(reason.clone());
            opened.frozen.get_or_insert(reason);
        }
    }
}

/// An older ring never reports a lower sequence and never lifts a suspension or a destruction.
fn apply_mark(opened: &mut Opened, mark: Mark) {
    if mark.generation > opened.head.header.generation {
        let reason = format!(
            "this node has used generation {}, and the newest that can be used is {}",
            mark.generation, opened.head.header.generation
        );
        opened.warnings.push(reason.clone());
        opened.frozen.get_or_insert(reason);
        for key in &mut opened.ring.keys {
            if mark.suspended.contains(&key.id) && !key.suspended {
                key.suspended = true;
                // The mark does not say since when; nothing of this frozen ring is stored.
                key.suspension = opened.ring.generation;
            }
        }
        opened.ring.keys.retain(|key| !mark.destroyed.contains(&key.id));
    }
    if let Some(active) = opened.ring.active().map(|key| key.id.clone())
        && active.sequence() < mark.reported.sequence()
    {
        opened.refusing = Some(NotServing::BelowMark {
            active,
            reported: mark.reported.clone(),
        });
    }
    opened.mark = Some(mark);
}

/// A ring that is not the one it should be reports no key and is not changed.
pub(super) fn refuse_other_ring(opened: &mut Opened, expected: RingId) {
    let reason = NotServing::OtherRing {
        found: opened.ring.id,
        expected,
    };
    opened.frozen.get_or_insert_with(|| reason.to_string());
    opened.refusing = Some(reason);
}
