//! Root slots: adding one, and removing one for good.
//!
//! A slot counts once it has opened what it sealed. Removing one replaces the ring key, seals the new one for every root
//! that stays, and takes the older generations out of the store: they open with the removed root.

use std::sync::Arc;

use super::commit::{Next, refuse_frozen};
use super::{CommitError, Custody, OpenError, Opened};
use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::format::generation::{Header, MAX_SLOTS, Slot, slot_context, slot_name};
use crate::keyring::RingId;
use crate::keyring::ring::UnixTime;
use crate::root::{RootError, RootKey};

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
        refuse_frozen(base)?;
        let mut slots = base.head.header.slots.clone();
        if slots.len() + roots.len() > MAX_SLOTS {
            return Err(CommitError::Slots(format!(
                "the ring has {} root slots and at most {MAX_SLOTS}",
                slots.len()
            )));
        }
        for root in roots {
            slots.push(new_slot(root.as_ref(), base.ring.id, &base.ring_key)?);
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
        refuse_frozen(base)?;
        let header = &base.head.header;
        let ring_key = Arc::new(Key32::generate()?);
        let (mut slots, mut without) = (Vec::new(), Vec::new());
        for slot in header.slots.iter().filter(|slot| !gone.contains(&slot.id)) {
            match roots.iter().find(|root| opens(**root, header, slot).is_ok()) {
                // The same slot to people: its id and its name stay.
                Some(root) => slots.push(sealed_slot(*root, base.ring.id, &ring_key, slot.id, &slot.name)?),
                None => without.push(slot.name.clone()),
            }
        }
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
        let next = Next {
            ring: base.successor()?,
            slots,
            ring_key,
            prune: if self.shared {
                Vec::new()
            } else {
                base.opened_names.clone()
            },
        };
        let opened = self.succeed(base, next, now)?;
        let left = if self.shared {
            Vec::new()
        } else {
            self.left_beside(&opened)?
        };
        Ok((opened, left))
    }

    /// Finishes a removal that broke off: what the removed roots open is taken out of the store and its mirror. Returns
    /// the names of older generations that are still there.
    pub fn finish_removal(&self, base: &Opened, now: UnixTime) -> Result<Vec<String>, CommitError> {
        refuse_frozen(base)?;
        let mut older = base.opened_names.clone();
        older.retain(|name| *name != base.head.name);
        self.settle_and_prune(
            base,
            self.next_mark(base.mark.as_ref(), base, now).as_ref(),
            &older,
        )?;
        self.left_beside(base)
    }

    /// Generations up to the one that is open, itself apart, that are still in the store or its mirror.
    fn left_beside(&self, opened: &Opened) -> Result<Vec<String>, CommitError> {
        let copies = self.store.load()?.copies;
        let head = &opened.head;
        let older = |name: &str| super::open::generation_of(name) <= head.header.generation;
        let left = copies
            .into_iter()
            .filter(|copy| older(&copy.name) && copy.name != head.name);
        Ok(left.map(|copy| copy.place).collect())
    }
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
pub(super) fn new_slot(root: &dyn RootKey, ring: RingId, ring_key: &Key32) -> Result<Slot, CommitError> {
    sealed_slot(root, ring, ring_key, random()?, &slot_name(&root.describe()))
}

/// Seals the ring key with a root, and opens it again.
fn sealed_slot(
    root: &dyn RootKey,
    ring: RingId,
    ring_key: &Key32,
    id: [u8; 16],
    name: &str,
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
    })
}
