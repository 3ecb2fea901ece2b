//! Committing: the next generation becomes durable, is proven, and is then put into every further place.

use std::sync::Arc;

use super::slots::new_slot;
use super::{CommitError, Custody, Head, Opened};
use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::format::FormatError;
use crate::format::generation::{self, Hash, Header, MAX_LEN, Slot};
use crate::format::mark::{self, Mark};
use crate::format::wrapped_seed;
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{KeyId, RingId};
use crate::root::RootKey;
use crate::store::{NewGeneration, NewMark, Stamp, StoreError, generation_name};

/// The generation after one that was opened.
pub(super) struct Next {
    pub(super) ring: Ring,
    pub(super) slots: Vec<Slot>,
    pub(super) ring_key: Arc<Key32>,
    /// Names of generations that are removed once this one is durable.
    pub(super) prune: Vec<String>,
}

impl Next {
    /// `ring` after `base`, all else as it was.
    pub(super) fn after(base: &Opened, ring: Ring) -> Self {
        Self {
            ring,
            slots: base.head.header.slots.clone(),
            ring_key: Arc::clone(&base.ring_key),
            prune: base.prunable.clone(),
        }
    }
}

impl Custody {
    /// Makes `next` the ring: durable, read back, opened and tested; then the mirror and the mark. The caller may use it
    /// once this has returned.
    pub fn commit(&self, base: &Opened, next: Ring, now: UnixTime) -> Result<Opened, CommitError> {
        refuse_frozen(base)?;
        self.succeed(base, Next::after(base, next), now)
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
        let new = self.prepare(next.ring, base.parents.clone(), next.slots, &next.ring_key, now)?;
        let written = self.write(new, &base.stamp, &next.prune)?;
        let mut opened = Opened {
            mark: self.next_mark(base.mark.as_ref(), &written, now),
            // Under another ring key its record counts no more.
            backup: base
                .backup
                .clone()
                .filter(|_| Arc::ptr_eq(&base.ring_key, &next.ring_key)),
            ..written
        };
        opened.warnings.extend(opened.backup_warning());
        opened.warnings.extend(opened.growth_warning(now));
        self.settle_and_prune(&opened, opened.mark.as_ref(), &next.prune)?;
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
            .map(|root| new_slot(root.as_ref(), ring.id, &ring_key))
            .collect::<Result<Vec<_>, _>>()?;
        let new = self.prepare(ring, Vec::new(), slots, &ring_key, now)?;
        let mut opened = self.write(new, &Stamp::default(), &[])?;
        opened.mark = self.next_mark(None, &opened, now);
        self.settle(&opened, opened.mark.as_ref())?;
        Ok(opened)
    }

    /// Brings every further place up to what is open: the mirror's copy and the mark. To be done before a generation
    /// that somebody else committed is used; repeating it changes nothing.
    pub fn settle(&self, opened: &Opened, mark: Option<&Mark>) -> Result<(), CommitError> {
        self.settle_and_prune(opened, mark, &[])
    }

    pub(super) fn settle_and_prune(
        &self,
        opened: &Opened,
        mark: Option<&Mark>,
        prune: &[String],
    ) -> Result<(), CommitError> {
        let Some(mark) = mark else {
            return Ok(());
        };
        // A damaged mark is replaced; another ring's and a newer kekring's are not ours to lower.
        let supersedes = |known: &[u8]| match mark::decode(known, &opened.ring_key) {
            // Neither goes back, whatever the other does.
            Ok(known) => {
                known.generation <= mark.generation && known.reported <= mark.reported && known != *mark
            }
            Err(FormatError::Newer { .. }) => false,
            Err(_) => mark::of_another_ring(known, mark.ring_id, &opened.ring_key).is_none(),
        };
        let new = NewMark {
            bytes: &mark.encode(&opened.ring_key),
            supersedes: &supersedes,
        };
        self.store
            .settle(&opened.head.name, &opened.head.bytes, &new, prune)
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
            next.reported = next.reported.max(known.reported.clone());
            next.destroyed.extend_from_slice(&known.destroyed);
            next.destroyed.sort_unstable();
            next.destroyed.dedup();
        }
        let given_up = |id: &&KeyId| opened.ring.key(id).is_none() && !next.destroyed.contains(id);
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
        now: UnixTime,
    ) -> Result<Prepared, CommitError> {
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
        let bytes = generation::encode(&header, &ring, ring_key)?;
        if bytes.len() > MAX_LEN {
            let (keys, length) = (ring.keys.len(), bytes.len());
            return Err(CommitError::Full { keys, length });
        }
        let stored = generation::parse(&bytes)
            .map_err(|why| CommitError::Store(StoreError::Corrupt(why.to_string())))?;
        Ok(Prepared {
            name: generation_name(header.generation, &stored.hash),
            hash: stored.hash,
            header,
            bytes,
            ring,
            ring_key: Arc::clone(ring_key),
        })
    }

    fn write(&self, new: Prepared, base: &Stamp, prune: &[String]) -> Result<Opened, CommitError> {
        let verify = |again: &[u8]| new.verify(again);
        let (name, stamp) = self.store.save(
            &NewGeneration {
                generation: new.header.generation,
                hash: new.hash,
                bytes: &new.bytes,
                verify: &verify,
            },
            base,
            prune,
        )?;
        Ok(Opened {
            parents: vec![new.hash],
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
            prunable: Vec::new(),
            opened_names: Vec::new(),
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

pub(super) fn refuse_frozen(base: &Opened) -> Result<(), CommitError> {
    base.frozen
        .clone()
        .map_or(Ok(()), |reason| Err(CommitError::Frozen(reason)))
}
