//! What only an operator can decide: that a ring belongs to this machine now, or that what is missing is lost for good.

use super::commit::Next;
use super::frozen::Reason;
use super::{CommitError, Custody, Opened};
use crate::crypto::secret::Key32;
use crate::format::mark::Mark;
use crate::keyring::ring::{Ring, UnixTime};
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

    /// Goes on from what is there, above everything that this node has ever used: what is missing is given up, and a ring
    /// key that lost is replaced.
    pub fn accept(&self, base: &Opened, now: UnixTime) -> Result<Opened, CommitError> {
        if let Some(reason) = base.frozen.as_ref().filter(|it| !it.is_acceptable()) {
            return Err(CommitError::Frozen(reason.clone()));
        }
        let fresh = [Key32::generate()?, Key32::generate()?];
        let reported = base.mark.as_ref().map(|mark| &mark.reported);
        let mut next = lifecycle::accept(&base.ring, base.used(), reported, fresh, now)?;
        if next.active().is_some_and(|key| key.id.sequence() < base.above) {
            let fresh = [Key32::generate()?, Key32::generate()?];
            next = lifecycle::go_above(&next, base.above, fresh, now)?;
        }
        confirm_suspensions(&mut next, base);
        self.succeed(base, Next::after(base, next), now)
    }

    /// The number of the generation that [`Custody::accept`] would make.
    pub fn accepted_generation(base: &Opened) -> u64 {
        base.ring.generation.max(base.used()).saturating_add(1)
    }
}

impl Opened {
    /// A key that this node has reported and that no copy of the ring has.
    pub fn lost(&self) -> Option<&KeyId> {
        let reported = &self.mark.as_ref()?.reported;
        (self.ring.key(reported).is_none() && !self.ring.is_destroyed(reported)).then_some(reported)
    }

    /// Whether a generation that is not here destroyed keys: they may be among these again.
    pub fn destruction_is_lost(&self) -> bool {
        let later = |mark: &&Mark| mark.generation > self.head.header.generation;
        let mark = self.mark.as_ref().filter(later);
        mark.is_some_and(|mark| mark.destroyed != self.ring.destroyed())
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
