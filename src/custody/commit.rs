//! Committing: the next generation becomes durable, is proven, and is then put into every further place.

use std::sync::Arc;

use super::room::FOR_ROTATIONS;
use super::slots::new_slot;
use super::tidy::Sweep;
use super::{CommitError, Custody, Head, Opened};
use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::format::generation::{self, Hash, Header, MAX_LEN, Slot};
use crate::format::mark::Mark;
use crate::format::wrapped_seed;
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{KeyId, RingId};
use crate::root::RootKey;
use crate::store::{NewGeneration, NewMark, Stamp, StoreError, StoredMark, generation_name};

/// The generation after one that was opened.
pub(super) struct Next {
    pub(super) ring: Ring,
    pub(super) slots: Vec<Slot>,
    pub(super) ring_key: Arc<Key32>,
    pub(super) parents: Vec<Hash>,
    /// Where the store must be.
    pub(super) stamp: Stamp,
    /// What is deleted once it is durable, and its mark too.
    pub(super) sweep: Sweep,
    /// How much of a generation's room it may take.
    pub(super) share: Share,
    /// The format version that it is written in.
    pub(super) format: u32,
}

impl Next {
    /// `ring` after `base`, all else as it was.
    pub(super) fn after(base: &Opened, ring: Ring) -> Self {
        Self {
            ring,
            slots: base.head.header.slots.clone(),
            ring_key: Arc::clone(&base.ring_key),
            parents: base.parents.clone(),
            stamp: base.stamp.clone(),
            sweep: Sweep::Surplus,
            share: Share::All,
            format: base.format,
        }
    }
}

/// How a generation is made.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    /// How much of its room it may take.
    pub share: Share,
    /// The format version that it is written in.
    pub format: u32,
    /// When.
    pub now: UnixTime,
}

/// How much of a generation's room a change may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Up to [`FOR_ROTATIONS`]: the rest is for the day on which a key must go.
    Rotation,
    /// All of it.
    All,
}

impl Custody {
    /// Makes `next` the ring: durable, read back, opened and tested; then the mirror and the mark. The caller may use it
    /// once this has returned.
    pub fn commit(&self, base: &Opened, next: Ring, now: UnixTime) -> Result<Opened, CommitError> {
        refuse_frozen(base)?;
        self.succeed(base, Next::after(base, next), now)
    }

    /// As [`Custody::commit`], of a step of a rotation: under no root slot that another history has removed. One that is no
    /// emergency leaves room for those.
    pub fn rotate(
        &self,
        base: &Opened,
        next: Ring,
        share: Share,
        now: UnixTime,
    ) -> Result<Opened, CommitError> {
        refuse_frozen(base)?;
        refuse_unfinished(base)?;
        let next = Next {
            share,
            ..Next::after(base, next)
        };
        self.succeed(base, next, now)
    }

    /// Stores a join, so that one generation has everything; what is no join stays as it is.
    pub fn store_join(&self, opened: Opened, now: UnixTime) -> Result<Opened, CommitError> {
        if !opened.joined {
            return Ok(opened);
        }
        self.commit(&opened, opened.ring.clone(), now)
    }

    /// Writes what comes after `base`, frozen or not: whoever calls this has decided.
    pub(super) fn succeed(&self, base: &Opened, next: Next, now: UnixTime) -> Result<Opened, CommitError> {
        let new = self.prepare(
            next.ring,
            next.parents,
            next.slots,
            &next.ring_key,
            Making {
                share: next.share,
                // In files nobody else has to read it.
                format: match self.shared {
                    true => next.format,
                    false => generation::VERSION,
                },
                now,
            },
        )?;
        let mut opened = self.write(new, &next.stamp)?;
        opened.mark = self.next_mark(base.mark.as_ref(), &opened, now);
        let is_same = Arc::ptr_eq(&base.ring_key, &next.ring_key);
        // Under another ring key its record counts no more.
        opened.backup = base.backup.clone().filter(|_| is_same);
        let others = base.keys.iter().filter(|key| !Arc::ptr_eq(key, &next.ring_key));
        opened.keys.extend(others.cloned());
        opened.here.extend_from_slice(&base.here);
        opened.passed.clone_from(&base.passed);
        opened.warnings.extend(opened.backup_warning());
        opened.warnings.extend(opened.growth_warning(now));
        self.put_in_place(&opened, opened.mark.as_ref(), true)?;
        // It is in use whatever comes of this: what stays is found again.
        let gone = self.tidy(&opened, next.sweep).unwrap_or_default();
        opened.stamp.0.retain(|name| !gone.contains(name));
        Ok(opened)
    }

    /// Makes the first generation, with one slot for each root. A slot counts once it has opened what it sealed.
    pub fn create(
        &self,
        ring: Ring,
        further: &[Arc<dyn RootKey>],
        now: UnixTime,
    ) -> Result<Opened, CommitError> {
        let ring_key = Arc::new(Key32::generate()?);
        let roots = self.roots.iter().chain(further);
        let slots = roots
            .map(|root| new_slot(root.as_ref(), ring.id, &ring_key, now))
            .collect::<Result<Vec<_>, _>>()?;
        let new = self.prepare(
            ring,
            Vec::new(),
            slots,
            &ring_key,
            Making {
                share: Share::All,
                format: generation::VERSION,
                now,
            },
        )?;
        let mut opened = self.write(new, &Stamp::default())?;
        opened.mark = self.next_mark(None, &opened, now);
        self.settle(&opened, opened.mark.as_ref())?;
        Ok(opened)
    }

    /// Brings every further place up to what is open: the mirror's copy and the mark. To be done before a generation
    /// that somebody else committed is used; repeating it changes nothing.
    pub fn settle(&self, opened: &Opened, mark: Option<&Mark>) -> Result<(), CommitError> {
        self.put_in_place(opened, mark, false)?;
        if opened.surplus && mark.is_some() && !opened.joined && opened.frozen.is_none() {
            let _ = self.tidy(opened, Sweep::Surplus);
        }
        Ok(())
    }

    /// `decided` where an operator has, also over a mark that is nobody's.
    fn put_in_place(&self, opened: &Opened, mark: Option<&Mark>, decided: bool) -> Result<(), CommitError> {
        let Some(mark) = mark else {
            return Ok(());
        };
        let supersedes = |known: &StoredMark| Self::supersedes(opened, mark, known, decided);
        let new = NewMark {
            bytes: &mark.encode(&opened.ring_key),
            supersedes: &supersedes,
        };
        self.store
            .settle(&opened.head.name, &opened.head.bytes, &new)
            .map_err(|why| CommitError::Settle {
                generation: opened.head.header.generation,
                why,
            })
    }

    /// The mark after `opened` is used. `seen` moves with the reported key, and where it lies in the future: the clock was
    /// ahead then, or is behind now, and a time that is still to come would keep a node that restarts from ever rotating.
    /// A suspended key that was given up stays suspended, were it to come back. What is frozen, or joined and not stored yet,
    /// is reported all the same: the mark then says so, and goes on naming the generation that it named; where there is
    /// none, none is made.
    pub fn next_mark(&self, known: Option<&Mark>, opened: &Opened, now: UnixTime) -> Option<Mark> {
        let mut next = Mark::of(&opened.ring, opened.head.hash, now)?;
        if opened.frozen.is_some() || opened.joined {
            let known = known?;
            (next.generation, next.hash) = (known.generation, known.hash);
            (next.reported, next.destroyed) = (next.reported.max(known.reported.clone()), known.destroyed);
        }
        let given_up = |id: &&KeyId| opened.ring.key(id).is_none() && !opened.ring.is_destroyed(id);
        let suspended = known.iter().flat_map(|known| &known.suspended);
        let missing: Vec<KeyId> = suspended.filter(given_up).cloned().collect();
        next.suspended.extend(missing);
        next.suspended.sort_unstable();
        let seen = known
            .filter(|known| known.reported == next.reported)
            .map(|known| known.seen)
            .filter(|seen| *seen <= now);
        Some(Mark {
            seen: seen.unwrap_or(now),
            ..next
        })
    }

    /// The bytes of a generation, checked, before any store has it.
    pub fn prepare(
        &self,
        ring: Ring,
        parents: Vec<Hash>,
        slots: Vec<Slot>,
        ring_key: &Arc<Key32>,
        making: Making,
    ) -> Result<Prepared, CommitError> {
        let Making { share, format, now } = making;
        ring.check().map_err(|rule| {
            CommitError::Store(StoreError::Corrupt(format!(
                "the next generation breaks a rule: {rule}"
            )))
        })?;
        refuse_repeated(&ring, ring_key)?;
        let header = Header {
            ring_id: ring.id,
            generation: ring.generation,
            parents,
            writer: self.writer,
            proposal_id: random()?,
            written: now,
            slots,
        };
        let bytes = generation::encode_as(&header, &ring, ring_key, format)?;
        let (keys, length) = (ring.keys.len(), bytes.len());
        if length > MAX_LEN {
            return Err(CommitError::Full { keys, length });
        }
        if share == Share::Rotation && length > FOR_ROTATIONS {
            return Err(CommitError::Reserved { keys, length });
        }
        let stored = generation::parse(&bytes)
            .map_err(|why| CommitError::Store(StoreError::Corrupt(why.to_string())))?;
        Ok(Prepared {
            name: generation_name(header.generation, &stored.hash),
            hash: stored.hash,
            format: stored.format,
            header,
            bytes,
            ring,
            ring_key: Arc::clone(ring_key),
        })
    }

    fn write(&self, new: Prepared, base: &Stamp) -> Result<Opened, CommitError> {
        let verify = |again: &[u8]| new.verify(again);
        let (name, stamp) = self.store.save(
            &NewGeneration {
                generation: new.header.generation,
                hash: new.hash,
                bytes: &new.bytes,
                verify: &verify,
            },
            base,
        )?;
        Ok(Opened {
            parents: vec![new.hash],
            format: new.format,
            keys: vec![Arc::clone(&new.ring_key)],
            here: vec![new.hash],
            stamp,
            head: Head {
                name,
                hash: new.hash,
                header: new.header,
                bytes: new.bytes,
            },
            ring: new.ring,
            ring_key: new.ring_key,
            mark: None,
            backup: None,
            refusing: None,
            frozen: None,
            joined: false,
            warnings: Vec::new(),
            passed: Vec::new(),
            turns: Vec::new(),
            surplus: false,
            beside: Vec::new(),
            above: 0,
            removed: Vec::new(),
        })
    }
}

/// A generation that is checked, and in no store yet.
pub struct Prepared {
    /// Its name in every store.
    pub name: String,
    /// Its identity.
    pub hash: Hash,
    /// Its stored bytes.
    pub bytes: Vec<u8>,
    format: u32,
    header: Header,
    ring: Ring,
    ring_key: Arc<Key32>,
}

impl Prepared {
    /// Whose generation it is.
    pub fn ring_id(&self) -> RingId {
        self.header.ring_id
    }

    /// Whether what a store gives back is this: it opens, has every key, and each key seals and opens.
    pub fn verify(&self, again: &[u8]) -> Result<(), String> {
        verify(again, &self.ring, &self.ring_key)
    }
}

/// What was read back must open, hold every key, and seal and open under each of them.
fn verify(bytes: &[u8], ring: &Ring, ring_key: &Key32) -> Result<(), String> {
    let again = generation::parse(bytes)
        .and_then(|stored| stored.open(ring_key))
        .map_err(|why| why.to_string())?;
    let names = |ring: &Ring| -> Vec<_> { ring.keys.iter().map(|key| key.id.clone()).collect() };
    if names(&again.ring) != names(ring) {
        return Err("it does not hold the keys that were written".into());
    }
    test_keys(ring, &again.ring)
}

/// What each key of one ring seals, the same key of the other must open.
pub fn test_keys(written: &Ring, read: &Ring) -> Result<(), String> {
    let ring_id = written.id;
    for (written, read) in written.keys.iter().zip(&read.keys) {
        let probe = written.id.fingerprint();
        let opened = wrapped_seed::wrap(ring_id, &written.id, &written.material, probe)
            .map_err(|why| why.to_string())
            .and_then(|sealed| {
                wrapped_seed::unwrap(ring_id, &read.id, &read.material, &sealed)
                    .map_err(|why| why.to_string())
            })?;
        if opened.expose() != probe {
            return Err(format!("key {} does not open what it sealed", written.id));
        }
    }
    Ok(())
}

/// A generator that repeats itself is caught where it matters most: a key that was just made has the bytes of no other.
/// Keys that exist already are kept, whatever they are: a join must not fail over them.
fn refuse_repeated(ring: &Ring, ring_key: &Key32) -> Result<(), CommitError> {
    let Some((newest, others)) = ring
        .keys
        .split_last()
        .filter(|(it, _)| it.changed == ring.generation)
    else {
        return Ok(());
    };
    let mut known = others.iter().map(|key| key.material.as_ref()).chain([ring_key]);
    match known.any(|key| key.expose() == newest.material.expose()) {
        true => Err(CommitError::Repeated),
        false => Ok(()),
    }
}

/// A rotation would seal its keys for a root that another history of the ring has removed.
fn refuse_unfinished(base: &Opened) -> Result<(), CommitError> {
    let slots: Vec<String> = base.unfinished().map(|slot| slot.name.clone()).collect();
    match slots.is_empty() {
        true => Ok(()),
        false => Err(CommitError::Unfinished(slots.join(", "))),
    }
}

pub(super) fn refuse_frozen(base: &Opened) -> Result<(), CommitError> {
    base.frozen
        .clone()
        .map_or(Ok(()), |reason| Err(CommitError::Frozen(reason)))
}
