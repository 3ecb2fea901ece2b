//! Root slots: adding one, and removing one for good.
//!
//! A slot counts once it has opened what it sealed. Removing one replaces the ring key, seals the new one for every root
//! that stays, and takes the older generations out of the store: they open with the removed root.

use std::sync::Arc;

use super::commit::{Next, refuse_frozen};
use super::tidy::Sweep;
use super::{CommitError, Custody, OpenError, Opened};
use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::format::generation::{self, Header, MAX_SLOTS, Slot, slot_context, slot_name};
use crate::format::superseded::Superseded;
use crate::keyring::join;
use crate::keyring::ring::{MAX_REMOVALS, UnixTime};
use crate::keyring::{RingId, SlotId};
use crate::root::{RootError, RootKey};
use crate::store::StoredCopy;

impl Custody {
    /// The clear part of the newest generation that has a sound one: the slots, where no root opens them. Nothing of it
    /// is verified.
    pub fn header(&self) -> Result<Header, OpenError> {
        Ok(self.newest()?.header)
    }

    /// Makes a slot for each of `roots`.
    pub fn add_slots(
        &self,
        base: &Opened,
        roots: &[Arc<dyn RootKey>],
        now: UnixTime,
    ) -> Result<Opened, CommitError> {
        refuse_unless_for_slots(base)?;
        let mut slots = base.head.header.slots.clone();
        if slots.len() + roots.len() > MAX_SLOTS {
            return Err(CommitError::Slots(format!(
                "the ring has {} root slots and at most {MAX_SLOTS}",
                slots.len()
            )));
        }
        for root in roots {
            let mut new = new_slot(root.as_ref(), base.ring.id, &base.ring_key, now)?;
            let known = slots
                .iter()
                .find(|it| (it.kind, &it.name) == (new.kind, &new.name));
            new.replaces = known.map(|slot| slot.id);
            slots.push(new);
        }
        let next = Next {
            slots,
            ..Next::after(base, base.successor()?)
        };
        self.succeed(base, next, now)
    }

    /// Removes the slots of these ids and replaces the ring key. Each slot that stays is sealed anew by one of `roots`,
    /// and refused where none of them opens it. Returns also the names of older generations that are still there. Where
    /// several nodes keep the ring, those stay until each of them has acknowledged this one; then
    /// [`Custody::finish_removal`] takes them away.
    pub fn remove_slots(
        &self,
        base: &Opened,
        gone: &[[u8; 16]],
        roots: &[&dyn RootKey],
        now: UnixTime,
    ) -> Result<(Opened, Vec<String>), CommitError> {
        refuse_unless_for_slots(base)?;
        let removals = base.ring.replaced.len().max(base.ring.removed.len() + gone.len());
        if removals >= MAX_REMOVALS {
            return Err(CommitError::Slots(format!(
                "root slots were removed {MAX_REMOVALS} times, which is the most that a ring remembers"
            )));
        }
        let ring_key = Arc::new(Key32::generate()?);
        let Sealed { slots, without } = sealed_anew(base, &ring_key, gone, roots, now)?;
        if !without.is_empty() {
            return Err(CommitError::Slots(format!(
                "the ring key is replaced, and the roots of these slots are not at hand to take the new one: {}",
                without.join(", ")
            )));
        }
        if slots.is_empty() {
            return Err(CommitError::Slots(
                "no slot would be left, and nothing would open the ring".into(),
            ));
        }
        let mut ring = base.successor()?;
        join::remember(&mut ring, &[base.lineage()], gone);
        if self.shared {
            let (ring_id, generation) = (ring.id, ring.generation);
            let record = Superseded { ring_id, generation };
            ring.superseding.push(record.encode(&base.ring_key));
            ring.superseding.sort_unstable();
        }
        let next = Next {
            slots,
            ring_key,
            sweep: match self.shared {
                true => Sweep::Surplus,
                false => Sweep::Removal,
            },
            ..Next::after(base, ring)
        };
        let opened = self.succeed(base, next, now)?;
        let left = if self.shared {
            Vec::new()
        } else {
            self.left_beside(&opened)?
        };
        Ok((opened, left))
    }

    /// Finishes a removal that broke off: what the removed roots open is taken out of the store and its mirror, where the
    /// durable head has all of it. Returns where older generations are that are still there.
    pub fn finish_removal(&self, base: &Opened, now: UnixTime) -> Result<Vec<String>, CommitError> {
        refuse_frozen(base)?;
        if base.joined {
            return Err(CommitError::NotStored);
        }
        let mark = self.next_mark(base.mark.as_ref(), base, now);
        self.settle(base, mark.as_ref())?;
        self.tidy(base, Sweep::Removal)?;
        self.left_beside(base)
    }

    /// Generations up to the one that is open that are still in the store or its mirror, but for those under its own ring key:
    /// the removed roots open none of them.
    fn left_beside(&self, opened: &Opened) -> Result<Vec<String>, CommitError> {
        let copies = self.store.load()?.copies.into_iter().chain(self.store.further());
        let head = &opened.head;
        let older = |name: &str| super::open::generation_of(name) <= head.header.generation;
        let ours = |copy: &StoredCopy| {
            let stored = copy.bytes.as_ref().ok().map(|bytes| generation::parse(bytes));
            stored.is_some_and(|it| it.is_ok_and(|it| it.open(&opened.ring_key).is_ok()))
        };
        let left = copies.filter(|copy| older(&copy.name) && copy.name != head.name && !ours(copy));
        Ok(left.map(|copy| copy.place).collect())
    }
}

/// A ring of which nothing but the slots is wrong has them changed.
fn refuse_unless_for_slots(base: &Opened) -> Result<(), CommitError> {
    match &base.frozen {
        Some(frozen) if frozen.is_for_slots() => Ok(()),
        _ => refuse_frozen(base),
    }
}

/// Slots that were sealed for another ring key, and the names of those whose root is not at hand.
pub(super) struct Sealed {
    pub(super) slots: Vec<Slot>,
    pub(super) without: Vec<String>,
}

/// Seals `ring_key` for each root that stays. To people each slot is the same as before: its id and its name stay.
pub(super) fn sealed_anew(
    base: &Opened,
    ring_key: &Key32,
    gone: &[SlotId],
    roots: &[&dyn RootKey],
    now: UnixTime,
) -> Result<Sealed, CommitError> {
    let header = &base.head.header;
    let (mut slots, mut without) = (Vec::new(), Vec::new());
    for slot in header.slots.iter().filter(|slot| !gone.contains(&slot.id)) {
        match roots.iter().find(|root| opens(**root, header, slot).is_ok()) {
            Some(root) => slots.push(Slot {
                replaces: slot.replaces,
                ..sealed_slot(*root, base.ring.id, ring_key, slot.id, &slot.name, now)?
            }),
            None => without.push(slot.name.clone()),
        }
    }
    Ok(Sealed { slots, without })
}

/// Whether a root opens a slot: the ring key, or why not.
pub fn opens(root: &dyn RootKey, header: &Header, slot: &Slot) -> Result<Key32, RootError> {
    if slot.kind != i32::from(root.kind()) {
        return Err(RootError::WrongRoot);
    }
    let context = slot_context(header.ring_id, &slot.id, slot.kind);
    root.open(&slot.sealed, &context)
}

/// A slot for a root that has none.
pub(super) fn new_slot(
    root: &dyn RootKey,
    ring: RingId,
    ring_key: &Key32,
    now: UnixTime,
) -> Result<Slot, CommitError> {
    sealed_slot(root, ring, ring_key, random()?, &slot_name(&root.describe()), now)
}

/// Seals the ring key with a root, and opens it again.
fn sealed_slot(
    root: &dyn RootKey,
    ring: RingId,
    ring_key: &Key32,
    id: SlotId,
    name: &str,
    now: UnixTime,
) -> Result<Slot, CommitError> {
    let kind = i32::from(root.kind());
    let failed = |why| CommitError::Root {
        root: root.describe(),
        why,
    };
    let context = slot_context(ring, &id, kind);
    let sealed = root.seal(ring_key, &context).map_err(failed)?;
    let opened = root.open(&sealed, &context).map_err(failed)?;
    if opened.expose() != ring_key.expose() {
        return Err(failed(RootError::Corrupt(
            "it opened other bytes than it sealed".into(),
        )));
    }
    let name = name.to_owned();
    Ok(Slot {
        id,
        kind,
        name,
        sealed,
        created: now,
        replaces: None,
    })
}
