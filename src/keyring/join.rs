//! Joining two histories of one ring: a restored backup, a copied directory, a VM rolled back. No key is ever lost.

use super::lifecycle::{self, Refusal};
use super::members::{self, MAX_RECORDS};
use super::names::{KeyId, RingId, RingKeyId, SlotId};
use super::retirement;
use super::ring::{Key, KeyState, MAX_REMOVALS, Ring, UnixTime};
use crate::crypto::RandomnessError;
use crate::crypto::secret::Key32;

/// Why two histories cannot be joined. Nothing is decided by guessing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError {
    /// Two rings, not two histories of one.
    #[error("ring {0} and ring {1} are two rings")]
    OtherRing(RingId, RingId),
    /// The one thing that must never happen.
    #[error("key {0} has two different values")]
    TwoKeysOneName(KeyId),
    /// A node has reported a key that neither side holds.
    #[error("key {0} was in use and is in neither history")]
    Missing(KeyId),
    /// One history is a throw-away ring.
    #[error("one history is a development ring")]
    Development,
    /// More nodes than a ring holds, and none of them removed.
    #[error("together the histories have {0} nodes, at most {MAX_RECORDS} are accepted")]
    TooManyNodes(usize),
    /// More replaced ring keys, or removed root slots, than a ring holds: forgetting one would let its holder back in.
    #[error("together the histories have more than {MAX_REMOVALS} replaced ring keys or removed root slots")]
    TooManyRemovals,
    /// No next key could be made.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No bytes for a next key.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
}

/// True when `newer` already says everything that `older` says, so that no join is needed.
pub fn covers(newer: &Ring, older: &Ring) -> bool {
    let has = |key: &Key| {
        let ours = newer.key(&key.id);
        ours.is_some_and(|ours| same_bytes(ours, key) && says(ours, key))
    };
    newer.id == older.id
        && members::cover(&newer.members, &older.members)
        && retirement::cover(&newer.retirements, &older.retirements)
        && subset(&older.replaced, &newer.replaced)
        && subset(&older.removed, &newer.removed)
        && older.tombstones.iter().all(|tomb| newer.is_destroyed(&tomb.id))
        && older
            .keys
            .iter()
            .all(|key| newer.is_destroyed(&key.id) || has(key))
}

/// True when `newer` has every key of `older`, or has destroyed it: what can be lost with a generation whose word counts for
/// nothing.
pub fn has_keys(newer: &Ring, older: &Ring) -> bool {
    newer.id == older.id && lacks(newer, older).next().is_none()
}

/// The keys of `older` that `newer` neither has nor has destroyed.
pub fn lacks<'a>(newer: &'a Ring, older: &'a Ring) -> impl Iterator<Item = &'a Key> {
    let has = |key: &Key| newer.key(&key.id).is_some_and(|ours| same_bytes(ours, key));
    let lacking = move |key: &&Key| !newer.is_destroyed(&key.id) && !has(key);
    older.keys.iter().filter(lacking)
}

/// True when `ours` is what [`merge`] makes of both. Two histories can change one key in generations of one number.
fn says(ours: &Key, theirs: &Key) -> bool {
    stands(ours) >= stands(theirs)
        && suspension(ours) >= suspension(theirs)
        && ours.decrypt_only >= theirs.decrypt_only
}

/// The state and how late it was set; of two set in generations of one number, the one further along.
fn stands(key: &Key) -> (u64, KeyState) {
    (key.changed, key.state)
}

/// The suspension and how late it was set; of two set in generations of one number, suspended.
fn suspension(key: &Key) -> (u64, bool) {
    (key.suspension, key.suspended)
}

/// The union of both: every key, every tombstone, for each key the state and the suspension that were set later; the
/// machine is that of the newer side. Active becomes the highest key that was ever active in either history or in
/// `reported`; `fresh` becomes the next key if neither side has one that is newer.
pub fn join(
    one: &Ring,
    other: &Ring,
    reported: &[KeyId],
    fresh: Key32,
    now: UnixTime,
) -> Result<Ring, JoinError> {
    join_all(one, &[other], reported, fresh, now)
}

/// As [`join`], of any number of histories; the order does not matter. It is the generation after the newest of them, and
/// `fresh` is used once at most.
pub fn join_all(
    first: &Ring,
    others: &[&Ring],
    reported: &[KeyId],
    fresh: Key32,
    now: UnixTime,
) -> Result<Ring, JoinError> {
    let mut joined = union(first, others)?;
    settle(&mut joined, reported, fresh, now)?;
    Ok(joined)
}

/// Everything that any of them says. It may have several active and pre-active keys.
fn union(first: &Ring, others: &[&Ring]) -> Result<Ring, JoinError> {
    for other in others {
        if other.id != first.id {
            return Err(JoinError::OtherRing(first.id, other.id));
        }
        if other.development != first.development {
            return Err(JoinError::Development);
        }
    }
    let all = || others.iter().copied().chain([first]);
    let newest = all().map(|ring| ring.generation).max().unwrap_or_default();
    let mut joined = lifecycle::successor(&Ring {
        generation: newest,
        ..first.clone()
    })?;
    let proposals = all().filter_map(|ring| ring.proposal.as_ref());
    joined.proposal = proposals.max_by_key(|it| (&it.key_id, it.id)).cloned();
    // Of several that are the newest, the choice must not hang on their order. A ring that was bound stays bound.
    let newest = all().filter(|ring| ring.generation == newest);
    joined.machine = newest.filter_map(|ring| ring.machine).min();
    for other in others {
        add(&mut joined, other)?;
    }
    let destroyed = std::mem::take(&mut joined.tombstones);
    let is_destroyed = |id: &KeyId| destroyed.binary_search_by(|tomb| tomb.id.cmp(id)).is_ok();
    joined.keys.retain(|key| !is_destroyed(&key.id));
    joined.tombstones = destroyed;
    // Only now: a third history can say again what a second took back.
    let in_use = |key: &&mut Key| key.state != KeyState::Deactivated;
    for key in joined.keys.iter_mut().filter(in_use) {
        key.deactivated = None;
    }
    if joined.members.len() > MAX_RECORDS {
        return Err(JoinError::TooManyNodes(joined.members.len()));
    }
    if joined.replaced.len().max(joined.removed.len()) > MAX_REMOVALS {
        return Err(JoinError::TooManyRemovals);
    }
    Ok(joined)
}

/// Adds what `other` says, list by list; each is in ascending order, and is so again.
fn add(joined: &mut Ring, other: &Ring) -> Result<(), JoinError> {
    joined.tombstones = merged(
        std::mem::take(&mut joined.tombstones),
        &other.tombstones,
        |tomb| tomb.id.clone(),
        |ours, theirs| {
            // Whichever comes first, so that the order of the histories does not matter.
            let first = (ours.destroyed, ours.evidence).min((theirs.destroyed, theirs.evidence));
            (ours.destroyed, ours.evidence) = first;
            Ok(())
        },
    )?;
    joined.keys = merged(
        std::mem::take(&mut joined.keys),
        &other.keys,
        |key| key.id.clone(),
        |ours, theirs| match same_bytes(ours, theirs) {
            true => {
                merge(ours, theirs);
                Ok(())
            }
            false => Err(JoinError::TwoKeysOneName(theirs.id.clone())),
        },
    )?;
    joined.members = members::merge(&joined.members, &other.members);
    joined.retirements = retirement::merge(&joined.retirements, &other.retirements);
    remember(joined, &other.replaced, &other.removed);
    joined.superseding.extend_from_slice(&other.superseding);
    joined.superseding.sort_unstable();
    joined.superseding.dedup();
    Ok(())
}

/// Adds replaced ring keys and removed slots to those that a ring knows of.
pub fn remember(ring: &mut Ring, replaced: &[RingKeyId], removed: &[SlotId]) {
    ring.replaced.extend_from_slice(replaced);
    ring.replaced.sort_unstable();
    ring.replaced.dedup();
    ring.removed.extend_from_slice(removed);
    ring.removed.sort_unstable();
    ring.removed.dedup();
}

/// Two ascending lists as one; of two of one name, `both` makes the one that stays.
fn merged<T: Clone, K: Ord>(
    ours: Vec<T>,
    theirs: &[T],
    name: impl Fn(&T) -> K,
    both: impl Fn(&mut T, &T) -> Result<(), JoinError>,
) -> Result<Vec<T>, JoinError> {
    let mut all = Vec::with_capacity(ours.len().max(theirs.len()));
    let mut theirs = theirs.iter().peekable();
    for mut one in ours {
        while let Some(other) = theirs.next_if(|it| name(it) < name(&one)) {
            all.push(other.clone());
        }
        if let Some(other) = theirs.next_if(|it| name(it) == name(&one)) {
            both(&mut one, other)?;
        }
        all.push(one);
    }
    all.extend(theirs.cloned());
    Ok(all)
}

/// Whether the one ascending list is a part of the other.
fn subset<T: Ord>(part: &[T], whole: &[T]) -> bool {
    part.iter().all(|it| whole.binary_search(it).is_ok())
}

/// State and suspension are taken apart from each other: an activation in one history never lifts the suspension of
/// another. A key that so becomes active and suspended is for people to decide on.
fn merge(ours: &mut Key, theirs: &Key) {
    (ours.changed, ours.state) = stands(ours).max(stands(theirs));
    (ours.suspension, ours.suspended) = suspension(ours).max(suspension(theirs));
    let earliest = [ours.activated, theirs.activated].into_iter().flatten().min();
    ours.activated = earliest;
    ours.deactivated = ours.deactivated.max(theirs.deactivated);
    ours.decrypt_only |= theirs.decrypt_only;
}

/// One active key, the highest ever in use; one next key above it, the proposed one first; the rest deactivated. A key that
/// only decrypts is neither, and does not count as reported.
fn settle(ring: &mut Ring, reported: &[KeyId], fresh: Key32, now: UnixTime) -> Result<(), JoinError> {
    let used = |key: &&Key| key.activated.is_some() && !key.decrypt_only;
    let counts = |id: &&KeyId| !ring.is_destroyed(id) && ring.key(id).is_none_or(|key| !key.decrypt_only);
    let active = ring
        .keys
        .iter()
        .filter(used)
        .map(|key| &key.id)
        .chain(reported)
        .filter(counts)
        .max()
        .cloned()
        .ok_or(Refusal::Incomplete)?;
    if ring.key(&active).is_none() {
        return Err(JoinError::Missing(active));
    }
    let next = next(ring, &active);
    let generation = ring.generation;
    for key in &mut ring.keys {
        if key.id == active {
            if key.state != KeyState::Active {
                key.state = KeyState::Active;
                key.changed = generation;
                key.activated = key.activated.or(Some(now));
                key.deactivated = None;
            }
        } else if Some(&key.id) != next.as_ref() && key.state != KeyState::Deactivated {
            lifecycle::deactivate(key, generation, now);
        }
    }
    if next.is_none() {
        lifecycle::prepare(ring, fresh, now)?;
        ring.keys.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    }
    ring.proposal = ring
        .proposal
        .take()
        .filter(|it| Some(&it.key_id) == next.as_ref());
    Ok(())
}

/// A key that was proposed because others may be known to an attacker goes before a key that was merely prepared.
fn next(ring: &Ring, active: &KeyId) -> Option<KeyId> {
    let waiting = ring
        .keys
        .iter()
        .filter(|key| {
            key.state == KeyState::PreActive && !key.decrypt_only && key.id.sequence() > active.sequence()
        })
        .map(|key| &key.id);
    let proposed = ring.proposal.as_ref().map(|it| &it.key_id);
    waiting.max_by_key(|id| (Some(*id) == proposed, *id)).cloned()
}

fn same_bytes(one: &Key, other: &Key) -> bool {
    use subtle::ConstantTimeEq;
    bool::from(one.material.expose().ct_eq(other.material.expose()))
}
