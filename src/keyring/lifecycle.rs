//! Pure transitions from one generation to the next. Time and key bytes come in as arguments; a refusal says why.
//!
//! A rotation activates the key that was prepared a period ago and prepares the next, so every copy of the ring holds a
//! key long before anything is encrypted under it. *Why not prepare and activate at once?* A node or a backup that
//! missed the last minute would then lack the key that protects the newest objects.

use std::sync::Arc;

use super::members::{MAX_REGISTERED, NodeName};
use super::names::{KeyId, RingId};
use super::ring::{Activate, Key, KeyState, Proposal, Ring, UnixTime};
use crate::crypto::secret::Key32;

/// Why a transition does not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One proposal at a time.
    #[error("a rotation to {0} is already in flight")]
    InFlight(KeyId),
    /// The next key must be able to encrypt.
    #[error("the next key {0} is suspended")]
    NextSuspended(KeyId),
    /// No key of that name.
    #[error("key {0} is not in the ring")]
    Unknown(KeyId),
    /// Without its active key kube-apiserver could not write.
    #[error("key {0} is active; rotate first, then suspend it")]
    IsActive(KeyId),
    /// Nothing to suspend.
    #[error("key {0} is suspended already")]
    IsSuspended(KeyId),
    /// Nothing to resume.
    #[error("key {0} is not suspended")]
    IsNotSuspended(KeyId),
    /// Sequences and generations are 64 bits and never wrap.
    #[error("the ring has used up its sequence numbers")]
    Exhausted,
    /// Its copy is registered already.
    #[error("node {0} is registered already")]
    IsRegistered(NodeName),
    /// Two machines of one name: each would answer for the other.
    #[error("node {0} is registered by another instance")]
    SecondInstance(NodeName),
    /// A rotation would wait for too many.
    #[error("{MAX_REGISTERED} nodes are registered, which is the most")]
    TooManyNodes,
    /// No registered node of that name.
    #[error("no node {0} is registered")]
    UnknownNode(NodeName),
    /// A key that was reported is in no history that is known: a change would be built on less than was used.
    #[error("key {0} has been reported, and the ring has an older one active")]
    BelowMark(KeyId),
    /// A root that another history of the ring removed would open what comes.
    #[error("another history of the ring removed a root slot that is still there")]
    RemovalUnfinished,
    /// Removals of roots in two histories, each of which was joined over the other.
    #[error("the ring has two ring keys, and each of them names the other replaced")]
    TwoRingKeys,
    /// The ring breaks its own rules; it was never checked.
    #[error("the ring has no active or no pre-active key")]
    Incomplete,
}

/// Generation 1: one active key and its successor.
pub fn create(id: RingId, first: Key32, next: Key32, now: UnixTime) -> Ring {
    let mut active = new_key(id, 1, first, 1, now);
    active.state = KeyState::Active;
    active.activated = Some(now);
    Ring {
        id,
        generation: 1,
        keys: vec![active, new_key(id, 2, next, 1, now)],
        tombstones: Vec::new(),
        proposal: None,
        machine: None,
        development: false,
        members: Vec::new(),
        replaced: Vec::new(),
        removed: Vec::new(),
        retirements: Vec::new(),
        superseding: Vec::new(),
    }
}

/// Activates the pre-active key and prepares `next`. Ends the proposal in flight, if there is one.
pub fn activate(ring: &Ring, next: Key32, now: UnixTime) -> Result<Ring, Refusal> {
    let waiting = ring.pre_active().ok_or(Refusal::Incomplete)?;
    if waiting.suspended {
        return Err(Refusal::NextSuspended(waiting.id.clone()));
    }
    let mut after = successor(ring)?;
    let generation = after.generation;
    for key in &mut after.keys {
        match key.state {
            KeyState::Active => deactivate(key, generation, now),
            KeyState::PreActive => {
                key.state = KeyState::Active;
                key.changed = generation;
                key.activated = Some(now);
            }
            KeyState::Deactivated => {}
        }
    }
    after.proposal = None;
    prepare(&mut after, next, now)?;
    Ok(after)
}

/// Proposes to activate the pre-active key as soon as every node has acknowledged it (`Auto`), or by hand (`Manual`).
pub fn propose(ring: &Ring, id: [u8; 16], activate: Activate) -> Result<Ring, Refusal> {
    if let Some(proposal) = &ring.proposal {
        return Err(Refusal::InFlight(proposal.key_id.clone()));
    }
    let waiting = ring.pre_active().ok_or(Refusal::Incomplete)?;
    if waiting.suspended {
        return Err(Refusal::NextSuspended(waiting.id.clone()));
    }
    let key_id = waiting.id.clone();
    let mut after = successor(ring)?;
    after.proposal = Some(Proposal { id, activate, key_id });
    Ok(after)
}

/// Proposes to activate a key that nobody has seen yet: `fresh` takes the pre-active key's place, which is deactivated
/// unused. For a compromise (`Auto`), or by hand (`Manual`).
pub fn propose_fresh(
    ring: &Ring,
    fresh: Key32,
    id: [u8; 16],
    activate: Activate,
    now: UnixTime,
) -> Result<Ring, Refusal> {
    if let Some(proposal) = &ring.proposal {
        return Err(Refusal::InFlight(proposal.key_id.clone()));
    }
    let mut after = successor(ring)?;
    let generation = after.generation;
    for key in &mut after.keys {
        if key.state == KeyState::PreActive {
            deactivate(key, generation, now);
        }
    }
    let key_id = prepare(&mut after, fresh, now)?;
    after.proposal = Some(Proposal { id, activate, key_id });
    Ok(after)
}

/// Suspends a key, so that it neither encrypts nor decrypts, or resumes it. Never the active key, which only its
/// successor replaces; resuming it is allowed, since a join can leave it suspended.
pub fn suspend(ring: &Ring, id: &KeyId, suspended: bool) -> Result<Ring, Refusal> {
    let mut after = successor(ring)?;
    let generation = after.generation;
    let key = after
        .keys
        .iter_mut()
        .find(|key| key.id == *id)
        .ok_or_else(|| Refusal::Unknown(id.clone()))?;
    if key.suspended == suspended {
        return Err(match suspended {
            true => Refusal::IsSuspended(id.clone()),
            false => Refusal::IsNotSuspended(id.clone()),
        });
    }
    if suspended && key.state == KeyState::Active {
        return Err(Refusal::IsActive(id.clone()));
    }
    key.suspended = suspended;
    key.suspension = generation;
    Ok(after)
}

/// Goes on where newer generations are lost for good: above generation `used` and above the key that was `reported` last.
/// That key becomes active where the ring has it, as the next key that it was; where it is lost too, a fresh one does. The
/// sequence after `reported` is left out: the lost generation had prepared a key of that number.
pub fn accept(
    ring: &Ring,
    used: u64,
    reported: Option<&KeyId>,
    fresh: [Key32; 2],
    now: UnixTime,
) -> Result<Ring, Refusal> {
    let mut after = ring.clone();
    after.generation = ring
        .generation
        .max(used)
        .checked_add(1)
        .ok_or(Refusal::Exhausted)?;
    let active = ring.active().ok_or(Refusal::Incomplete)?;
    let Some(reported) = reported.filter(|id| id.sequence() > active.id.sequence()) else {
        return Ok(after);
    };
    let skipped = reported.sequence().checked_add(1).ok_or(Refusal::Exhausted)?;
    let there = |key: &Key| key.id == *reported && !key.suspended && !key.decrypt_only;
    let again = ring.keys.iter().find(|key| there(key)).map(|key| key.id.clone());
    renew(&mut after, again.as_ref(), skipped, fresh, now)?;
    Ok(after)
}

/// Makes a fresh key active that is above `above` and above every key of the ring, and another the next: for a ring that
/// goes on beside another one, whose keys it does not all know.
pub fn go_above(ring: &Ring, above: u64, fresh: [Key32; 2], now: UnixTime) -> Result<Ring, Refusal> {
    let mut after = ring.clone();
    renew(&mut after, None, above, fresh, now)?;
    Ok(after)
}

/// `again`, or else a fresh key, becomes active, and a fresh one the next; both sequences are above `above`.
fn renew(
    ring: &mut Ring,
    again: Option<&KeyId>,
    above: u64,
    fresh: [Key32; 2],
    now: UnixTime,
) -> Result<(), Refusal> {
    let (id, generation) = (ring.id, ring.generation);
    ring.proposal = None;
    let in_use = |key: &&mut Key| key.state != KeyState::Deactivated;
    for key in ring.keys.iter_mut().filter(in_use) {
        deactivate(key, generation, now);
    }
    let mut sequence = ring.highest_sequence().max(above);
    let mut make = |material| {
        sequence = sequence.checked_add(1).ok_or(Refusal::Exhausted)?;
        Ok(new_key(id, sequence, material, generation, now))
    };
    let [first, next] = fresh;
    let active = match ring.keys.iter_mut().find(|key| Some(&key.id) == again) {
        Some(key) => key,
        None => {
            ring.keys.push(make(first)?);
            ring.keys.last_mut().ok_or(Refusal::Incomplete)?
        }
    };
    active.state = KeyState::Active;
    active.changed = generation;
    active.deactivated = None;
    active.activated = active.activated.or(Some(now));
    ring.keys.push(make(next)?);
    Ok(())
}

/// Takes in, on an operator's word, the keys of generations that count for nothing by themselves: those that the ring lacks
/// and has not destroyed. They decrypt and never do more. A suspension that any of them brings stays.
pub fn take_in<'a>(ring: &Ring, others: impl Iterator<Item = &'a Ring>, now: UnixTime) -> Ring {
    let generation = ring.generation;
    let lacks = |key: &&Key| ring.key(&key.id).is_none() && !ring.is_destroyed(&key.id);
    let take = |theirs: &Key| Key {
        state: KeyState::Deactivated,
        changed: generation,
        suspension: if theirs.suspended { generation } else { 0 },
        deactivated: theirs.deactivated.or(Some(now)),
        decrypt_only: true,
        ..theirs.clone()
    };
    let lacking = others.flat_map(|other| &other.keys).filter(lacks);
    let mut taken: Vec<Key> = lacking.map(take).collect();
    taken.sort_by(|a, b| a.id.cmp(&b.id));
    taken.dedup_by(|again, first| {
        let same = again.id == first.id;
        if same {
            first.suspended |= again.suspended;
            first.suspension = first.suspension.max(again.suspension);
            first.activated = first.activated.or(again.activated);
        }
        same
    });
    let mut after = ring.clone();
    after.keys.append(&mut taken);
    after.keys.sort_by(|a, b| a.id.cmp(&b.id));
    after
}

/// The same content as the next generation: for a change that lies outside the keys.
pub fn successor(ring: &Ring) -> Result<Ring, Refusal> {
    let mut after = ring.clone();
    after.generation = ring.generation.checked_add(1).ok_or(Refusal::Exhausted)?;
    Ok(after)
}

/// Adds a pre-active key with the next sequence.
pub(super) fn prepare(ring: &mut Ring, material: Key32, now: UnixTime) -> Result<KeyId, Refusal> {
    let sequence = ring.highest_sequence().checked_add(1).ok_or(Refusal::Exhausted)?;
    let key = new_key(ring.id, sequence, material, ring.generation, now);
    let id = key.id.clone();
    ring.keys.push(key);
    Ok(id)
}

pub(super) fn deactivate(key: &mut Key, generation: u64, now: UnixTime) {
    key.state = KeyState::Deactivated;
    key.changed = generation;
    key.deactivated = Some(now);
}

fn new_key(ring: RingId, sequence: u64, material: Key32, generation: u64, now: UnixTime) -> Key {
    Key {
        id: KeyId::derive(ring, sequence, &material),
        material: Arc::new(material),
        state: KeyState::PreActive,
        suspended: false,
        suspension: 0,
        changed: generation,
        created: now,
        activated: None,
        deactivated: None,
        decrypt_only: false,
    }
}
