//! What was opened, put together: the newest version, other histories of the ring, what the node has reported.

use std::sync::Arc;

use super::frozen::{Frozen, Reason};
use super::open::{Damage, Version};
use super::{Head, Opened};
use crate::crypto::secret::Key32;
use crate::format::backup;
use crate::format::generation::{Hash, Slot};
use crate::format::mark::{self, Mark};
use crate::keyring::join::{self, JoinError};
use crate::keyring::ring::{Key, Ring, UnixTime};
use crate::keyring::{KeyId, NotServing, RingId};
use crate::store::{KEPT, Loaded};

/// Puts the newest version, other histories, the marks and the damage together.
pub(super) fn assemble(
    mut versions: Vec<Version>,
    damage: &Damage,
    mut loaded: Loaded,
    now: UnixTime,
) -> Opened {
    let hashes: Vec<Hash> = versions.iter().map(|it| it.stored.hash).collect();
    let suspended: Vec<(Hash, Vec<KeyId>)> = versions.iter().map(suspended_in).collect();
    let older = versions.split_off(1);
    let head = versions.swap_remove(0);
    let ring_key = Arc::clone(&head.key);
    let (warnings, frozen) = complaints(&mut loaded.warnings, damage, &head);
    let record = loaded.backup.take();
    let backup = record.and_then(|bytes| backup::decode(&bytes, &ring_key).ok());
    let mut opened = Opened {
        ring: head.ring,
        opened_names: older
            .iter()
            .map(|it| it.name.clone())
            .chain([head.name.clone()])
            .collect(),
        prunable: prunable(&older, &ring_key),
        removed: half_removed(&older, &ring_key, &head.stored.header.slots),
        ring_key,
        parents: vec![head.stored.hash],
        head: Head {
            name: head.name,
            hash: head.stored.hash,
            header: head.stored.header,
            bytes: head.bytes,
        },
        stamp: loaded.stamp,
        mark: None,
        backup,
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
    match marks.into_iter().max_by_key(highest) {
        Some(mark) => {
            let said = suspended.iter().find(|(hash, _)| *hash == mark.hash);
            apply_mark(&mut opened, mark, said.map_or(&[], |(_, keys)| keys));
        }
        None => refuse_unmarked(&mut opened, damage, &loaded.marks, &hashes),
    }
    opened
}

fn suspended_in(version: &Version) -> (Hash, Vec<KeyId>) {
    let keys = version.ring.keys.iter().filter(|key| key.suspended);
    (version.stored.hash, keys.map(|key| key.id.clone()).collect())
}

/// A generation is used only once its mark is written. Where no mark is valid, nothing says that a newer one was not: one
/// that cannot be read, or one that a mark under a later ring key names. A mark that is damaged still names what is here.
fn refuse_unmarked(opened: &mut Opened, damage: &Damage, marks: &[Vec<u8>], hashes: &[Hash]) {
    let unread = damage.iter().map(|(generation, _)| *generation);
    let claimed = marks
        .iter()
        .filter_map(|bytes| mark::claimed(bytes, opened.ring.id));
    let named = claimed
        .filter(|(_, hash)| !hashes.contains(hash))
        .map(|(generation, _)| generation);
    let (newest, named) = (unread.chain(named.clone()).max(), named.max());
    let head = opened.head.header.generation;
    if let Some(used) = named.filter(|it| *it > head) {
        opened.freeze(Reason::BehindMark { used, newest: head });
    }
    let active = opened.ring.active().map(|key| key.id.clone());
    if let (Some(unread), Some(active)) = (newest.filter(|it| *it > head), active)
        && opened.refusing.is_none()
    {
        opened.refusing = Some(NotServing::Unmarked { active, unread });
    }
}

/// What the next commit removes: more than are kept, and what is sealed under an earlier ring key, whose roots may have
/// been removed.
fn prunable(older: &[Version], ring_key: &Arc<Key32>) -> Vec<String> {
    let named = |(position, it): (usize, &Version)| {
        let earlier_key = it.key.expose() != ring_key.expose();
        (position >= KEPT - 2 || earlier_key).then(|| it.name.clone())
    };
    older.iter().enumerate().filter_map(named).collect()
}

/// A removal takes what it leaves behind out of the store, unless it broke off.
fn half_removed(older: &[Version], ring_key: &Key32, left: &[Slot]) -> Vec<Slot> {
    let earlier = older.iter().filter(|it| it.key.expose() != ring_key.expose());
    let mut removed: Vec<Slot> = Vec::new();
    for slot in earlier.flat_map(|it| &it.stored.header.slots) {
        if !left.iter().chain(&removed).any(|it| it.id == slot.id) {
            removed.push(slot.clone());
        }
    }
    removed
}

/// What a person should know of the copies that did not open, and whether that forbids a change.
fn complaints(known: &mut Vec<String>, damage: &Damage, head: &Version) -> (Vec<String>, Option<Frozen>) {
    let mut warnings = std::mem::take(known);
    warnings.extend(damage.iter().map(|(_, why)| why.cause()));
    let mut frozen = None;
    for (generation, why) in damage.iter().filter(|(number, _)| *number > head.ring.generation) {
        let (generation, newer, why) = (*generation, why.is_newer(), why.cause());
        let reason = match newer {
            true => Reason::NewerGeneration { generation, why },
            false => Reason::Damaged { generation, why },
        };
        Frozen::add(&mut frozen, reason);
    }
    if !head.writable {
        Frozen::add(&mut frozen, Reason::NewerFormat);
    }
    (warnings, frozen)
}

/// A mark of another ring cannot be verified with this ring's key: its name alone says enough.
fn heed_other_rings(opened: &mut Opened, marks: &[Vec<u8>]) {
    let ours = opened.ring.id;
    let key = Arc::clone(&opened.ring_key);
    let other = |bytes: &Vec<u8>| mark::of_another_ring(bytes, ours, &key);
    if let Some(other) = marks.iter().find_map(other) {
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
    let reported: Vec<_> = marks.iter().map(|mark| mark.reported.clone()).collect();
    match joined(opened, other, &reported, now) {
        Ok(ring) => take_joined(opened, other, ring),
        // All keys that there are serve; the lost one is for people to decide on.
        Err(JoinError::Missing(id)) => {
            opened.freeze(Reason::Lost(id));
            if let Ok(ring) = joined(opened, other, &[], now) {
                take_joined(opened, other, ring);
            }
        }
        Err(why) => opened.freeze(Reason::Unjoinable {
            one: opened.head.name.clone(),
            other: other.name.clone(),
            why,
        }),
    }
}

fn joined(opened: &Opened, other: &Version, reported: &[KeyId], now: UnixTime) -> Result<Ring, JoinError> {
    // A join counts as one generation, however many histories it joins.
    let base = Ring {
        generation: opened.head.header.generation,
        ..opened.ring.clone()
    };
    let fresh = Key32::generate().map_err(JoinError::Randomness)?;
    join::join(&base, &other.ring, reported, fresh, now)
}

fn take_joined(opened: &mut Opened, other: &Version, ring: Ring) {
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

/// An older ring, or another history of it, never reports a lower sequence and never lifts a suspension or a destruction.
/// `said` is what the marked generation says is suspended, where it is there: that is in the ring, or another history has
/// resumed it. A mark can hold more: what an earlier one said, and no generation does.
fn apply_mark(opened: &mut Opened, mark: Mark, said: &[KeyId]) {
    if mark.generation > opened.head.header.generation {
        opened.freeze(Reason::BehindMark {
            used: mark.generation,
            newest: opened.head.header.generation,
        });
        opened.ring.keys.retain(|key| !mark.destroyed.contains(&key.id));
    }
    // A key that was resumed since then has a later generation for that.
    let since = |key: &Key| key.suspension > mark.generation;
    let marked = |key: &Key| mark.suspended.contains(&key.id) && !said.contains(&key.id);
    for key in &mut opened.ring.keys {
        if marked(key) && !key.suspended && !since(key) {
            key.suspended = true;
            // The mark does not say since when; the ring can say no later.
            key.suspension = opened.ring.generation;
        }
    }
    if let Some(active) = opened.ring.active().map(|key| key.id.clone())
        && active.sequence() < mark.reported.sequence()
    {
        let reported = mark.reported.clone();
        let below = NotServing::BelowMark { active, reported };
        // Another history can be as long as the marked one, or longer.
        if mark.generation <= opened.head.header.generation {
            opened.freeze(Reason::BelowMark(below.clone()));
        }
        opened.refusing = Some(below);
    }
    opened.mark = Some(mark);
    if let Some(lost) = opened.lost().cloned() {
        opened.freeze(Reason::Lost(lost));
    }
}

/// A ring that is not the one it should be reports no key and is not changed.
pub(super) fn refuse_other_ring(opened: &mut Opened, expected: RingId) {
    let reason = NotServing::OtherRing {
        found: opened.ring.id,
        expected,
    };
    Frozen::add(&mut opened.frozen, Reason::OtherRing(reason.clone()));
    opened.refusing = Some(reason);
}
