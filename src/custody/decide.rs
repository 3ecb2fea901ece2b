//! What only an operator can decide: that a ring belongs to this machine now, or that what is missing is lost for good.

use super::commit::Next;
use super::frozen::Reason;
use super::{CommitError, Custody, Opened};
use crate::crypto::secret::Key32;
use crate::keyring::ring::{Ring, Tombstone, UnixTime};
use crate::keyring::{KeyId, lifecycle};

impl Custody {
    /// Binds the ring to this machine. On the machine that it came from it must not be served any more: the two would
    /// rotate apart.
    pub fn adopt(&self, base: &Opened, now: UnixTime) -> Result<Opened, CommitError> {
        if let Some(reason) = base.frozen.as_ref().filter(|it| !it.is_adoptable()) {
            return Err(CommitError::Frozen(reason.clone()));
        }
        let mut next = base.successor()?;
        let machine = self.machine_tag(next.id).ok_or(CommitError::NoMachineId)?;
        next.machine = Some(machine);
        self.succeed(base, Next::after(base, next), now)
    }

    /// Whether the ring is bound to this machine.
    pub fn is_here(&self, opened: &Opened) -> bool {
        opened.ring.machine.is_some() && opened.ring.machine == self.machine_tag(opened.ring.id)
    }

    /// Goes on from what is there, above everything that this node has ever used: what is missing is given up.
    pub fn accept(&self, base: &Opened, now: UnixTime) -> Result<Opened, CommitError> {
        if let Some(reason) = base.frozen.as_ref().filter(|it| !it.is_acceptable()) {
            return Err(CommitError::Frozen(reason.clone()));
        }
        let fresh = [Key32::generate()?, Key32::generate()?];
        let reported = base.mark.as_ref().map(|mark| &mark.reported);
        let mut next = lifecycle::accept(&base.ring, base.used(), reported, fresh, now)?;
        bury(&mut next, base, now);
        confirm_suspensions(&mut next, base);
        self.succeed(base, Next::after(base, next), now)
    }
}

impl Opened {
    /// A key that this node has reported and that no copy of the ring has.
    pub fn lost(&self) -> Option<&KeyId> {
        let reported = &self.mark.as_ref()?.reported;
        let destroyed = self.ring.tombstones.iter().any(|tomb| tomb.id == *reported);
        (self.ring.key(reported).is_none() && !destroyed).then_some(reported)
    }

    /// The highest generation that was ever seen here, readable or not.
    fn used(&self) -> u64 {
        let named = |reason: &Reason| match reason {
            Reason::Damaged { generation, .. } => Some(*generation),
            Reason::BehindMark { used, .. } => Some(*used),
            _ => None,
        };
        let named = self
            .frozen
            .iter()
            .flat_map(|frozen| frozen.reasons().filter_map(named));
        let marked = self.mark.iter().map(|mark| mark.generation);
        named.chain(marked).fold(self.head.header.generation, u64::max)
    }
}

/// The generation that made a suspension may be lost: it is made anew, so that nothing older lifts it, were it restored.
fn confirm_suspensions(ring: &mut Ring, base: &Opened) {
    let marked: Vec<&KeyId> = base.mark.iter().flat_map(|mark| &mark.suspended).collect();
    let generation = ring.generation;
    for key in ring
        .keys
        .iter_mut()
        .filter(|key| key.suspended && marked.contains(&&key.id))
    {
        key.suspension = generation;
    }
}

/// What the mark says is destroyed stays so, also where the generation that did it is lost.
fn bury(ring: &mut Ring, base: &Opened, now: UnixTime) {
    for id in base.mark.iter().flat_map(|mark| &mark.destroyed) {
        if !ring.tombstones.iter().any(|tomb| tomb.id == *id) {
            let (id, destroyed) = (id.clone(), now);
            ring.tombstones.push(Tombstone { id, destroyed });
        }
    }
    ring.tombstones.sort_unstable_by(|a, b| a.id.cmp(&b.id));
}
