//! Random changes of a ring, the same for the same seed.

use kekring::crypto::kdf::{Context, sha256};
use kekring::crypto::secret::Key32;
use kekring::format::superseded::Superseded;
use kekring::keyring::join::remember;
use kekring::keyring::lifecycle::{self, Refusal};
use kekring::keyring::retirement::Retirement;
use kekring::keyring::ring::{Activate, KeyState, Ring, Tombstone, UnixTime};
use kekring::keyring::{RingId, RingKeyId};
use proptest::prelude::*;
use proptest::sample::Index;

/// One change.
#[derive(Clone, Debug)]
pub enum Step {
    Activate,
    Propose(Activate),
    Suspend(Index),
    Resume(Index),
    Destroy(Index),
    /// The keys of a stranger's history, on an operator's word.
    TakeIn(Foreign),
    /// A root of that number, and with it the ring key.
    RemoveRoot(u8),
    /// The decision of that number, for a key; or it is taken back.
    Retire(u8, Index, bool),
}

/// A history of the same ring, which nobody else has: how many rotations long, and whether its first key is suspended in it.
#[derive(Clone, Debug)]
pub struct Foreign {
    rotations: u8,
    suspended: bool,
}

impl Foreign {
    pub fn any() -> impl Strategy<Value = Self> {
        (0..6_u8, any::<bool>()).prop_map(|(rotations, suspended)| Self { rotations, suspended })
    }

    fn ring(&self, source: &mut Source, id: RingId) -> Ring {
        let mut ring = lifecycle::create(id, source.key(), source.key(), source.now());
        for _ in 0..self.rotations {
            ring = lifecycle::activate(&ring, source.key(), source.now()).unwrap();
        }
        let first = &mut ring.keys[0];
        (first.suspended, first.suspension) = (self.suspended, u64::from(self.suspended));
        ring
    }
}

/// What the verbs of rotation do.
pub fn rotations() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            3 => Just(Step::Activate),
            1 => Just(Step::Propose(Activate::Auto)),
            1 => Just(Step::Propose(Activate::Manual)),
        ],
        0..12,
    )
}

/// Rotations, and what an operator does to single keys.
pub fn changes() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            4 => Just(Step::Activate),
            1 => Just(Step::Propose(Activate::Auto)),
            1 => Just(Step::Propose(Activate::Manual)),
            1 => any::<Index>().prop_map(Step::Suspend),
            1 => any::<Index>().prop_map(Step::Resume),
            1 => any::<Index>().prop_map(Step::Destroy),
            1 => Foreign::any().prop_map(Step::TakeIn),
            1 => (0..4_u8).prop_map(Step::RemoveRoot),
            1 => (0..3_u8, any::<Index>(), any::<bool>()).prop_map(|(id, key, back)| Step::Retire(id, key, back)),
        ],
        0..8,
    )
}

/// A source of key bytes and of time, with a name of its own.
pub struct Source {
    name: &'static str,
    count: u64,
}

impl Source {
    pub fn new(name: &'static str) -> Self {
        Self { name, count: 0 }
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.count += 1;
        sha256(Context::new(self.name).with(&self.count.to_be_bytes()).as_bytes())
    }

    pub fn key(&mut self) -> Key32 {
        Key32::take(&mut self.bytes())
    }

    /// Sometimes before the last one: clocks jump.
    pub fn now(&mut self) -> UnixTime {
        UnixTime(1_790_000_000 + u64::from(self.bytes()[0]))
    }

    pub fn ring(&mut self) -> Ring {
        let id = RingId(self.bytes()[..16].try_into().unwrap());
        lifecycle::create(id, self.key(), self.key(), self.now())
    }

    /// The ring after `step`.
    pub fn take(&mut self, ring: &Ring, step: &Step) -> Result<Ring, Refusal> {
        let next = self.key();
        let id = self.bytes()[..16].try_into().unwrap();
        match step {
            Step::Activate => lifecycle::activate(ring, next, self.now()),
            Step::Propose(activate) => lifecycle::propose_fresh(ring, next, id, *activate, self.now()),
            Step::Suspend(index) => set_suspended(ring, *index, true),
            Step::Resume(index) => set_suspended(ring, *index, false),
            Step::Destroy(index) => destroy(ring, *index, self.now()),
            Step::TakeIn(foreign) => {
                let after = lifecycle::successor(ring)?;
                let foreign = foreign.ring(self, ring.id);
                Ok(lifecycle::take_in(&after, [&foreign].into_iter(), self.now()))
            }
            Step::RemoveRoot(number) => remove_root(ring, *number),
            Step::Retire(number, index, withdrawn) => retire(ring, *number, *index, *withdrawn),
        }
    }

    /// The ring after all steps; one that is refused changes nothing.
    pub fn take_all(&mut self, ring: &Ring, steps: &[Step]) -> Ring {
        steps.iter().fold(ring.clone(), |ring, step| {
            self.take(&ring, step).unwrap_or_else(|_| ring.clone())
        })
    }
}

/// Of any key but the active one.
fn set_suspended(ring: &Ring, index: Index, suspended: bool) -> Result<Ring, Refusal> {
    let mut after = lifecycle::successor(ring)?;
    let at = index.index(after.keys.len());
    let key = &mut after.keys[at];
    if key.state == KeyState::Active || key.suspended == suspended {
        return Ok(ring.clone());
    }
    key.suspended = suspended;
    key.suspension = after.generation;
    Ok(after)
}

/// A key that has been active and is no longer. One that was never active here may be active in another history.
fn destroy(ring: &Ring, index: Index, now: UnixTime) -> Result<Ring, Refusal> {
    let mut after = lifecycle::successor(ring)?;
    let at = index.index(after.keys.len());
    let key = &after.keys[at];
    if key.state != KeyState::Deactivated || key.activated.is_none() {
        return Ok(ring.clone());
    }
    let id = after.keys.remove(at).id;
    after.tombstones.push(Tombstone {
        id,
        destroyed: now,
        evidence: [7; 16],
    });
    after.tombstones.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(after)
}

/// Slot and ring key of one number go together, as they do in a removal; the record is under the ring key that goes.
fn remove_root(ring: &Ring, number: u8) -> Result<Ring, Refusal> {
    let mut after = lifecycle::successor(ring)?;
    let replaced = Key32::take(&mut [number; 32]);
    let record = Superseded {
        ring_id: ring.id,
        generation: after.generation,
    };
    remember(&mut after, &[RingKeyId::of(ring.id, &replaced)], &[[number; 16]]);
    after.superseding.push(record.encode(&replaced));
    after.superseding.sort();
    after.superseding.dedup();
    Ok(after)
}

fn retire(ring: &Ring, number: u8, index: Index, withdrawn: bool) -> Result<Ring, Refusal> {
    let mut after = lifecycle::successor(ring)?;
    let id = [number; 16];
    after.retirements.retain(|it| it.id != id);
    after.retirements.push(Retirement {
        id,
        since: after.generation,
        withdrawn,
        keys: vec![index.get(&ring.keys).id.clone()],
        not_before: UnixTime(1_790_000_000),
        evidence: [number; 32],
        by: "an operator".into(),
        skipped: vec![1, 2],
    });
    after.retirements.sort();
    Ok(after)
}

/// Everything that a ring says, key bytes included.
pub fn shown(ring: &Ring) -> String {
    let keys = ring.keys.iter().map(|key| {
        let times = (key.created, key.activated, key.deactivated);
        let bytes = data_encoding::HEXLOWER.encode(key.material.expose());
        format!(
            "{} {:?} {} {} {} {} {times:?} {bytes}\n",
            key.id, key.state, key.changed, key.suspended, key.suspension, key.decrypt_only
        )
    });
    let keys: String = keys.collect();
    let rest = (
        ring.id,
        ring.generation,
        &ring.tombstones,
        &ring.proposal,
        ring.machine,
        ring.development,
        &ring.members,
    );
    // Fingerprints of ring keys do not show themselves.
    let replaced: Vec<_> = ring.replaced.iter().map(|it| it.0).collect();
    let removals = (replaced, &ring.removed, &ring.retirements, &ring.superseding);
    format!("{keys}{rest:?}{removals:?}")
}
