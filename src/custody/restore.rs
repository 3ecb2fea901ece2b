//! Taking a backup in: what it is to the ring that is here, and the changes that a plain join does not make.

use std::sync::Arc;

use super::commit::{Next, Share, refuse_frozen};
use super::history::FARTHEST;
use super::slots::{Sealed, sealed_anew};
use super::{CommitError, Custody, Opened};
use crate::crypto::secret::Key32;
use crate::format::generation;
use crate::format::mark;
use crate::keyring::join::{self, remember};
use crate::keyring::lifecycle::{self, Refusal};
use crate::keyring::members;
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{KeyId, RingId};
use crate::root::RootKey;
use crate::store::{Backup, StoreError};

/// What a backup is to the ring that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Under the same ring key: the two join.
    Same,
    /// Under a ring key that is not the ring's any more, or never was: its keys are taken in, to decrypt.
    Replaced,
    /// It names the ring key that is here replaced: a root was removed, and the ring here is from before that.
    Newer,
}

impl Relation {
    /// What `copy` is to `here`.
    pub fn of(here: &Opened, copy: &Opened) -> Self {
        let (ours, theirs) = (here.lineage(), copy.lineage());
        let names = |ring: &Ring, key| ring.replaced.binary_search(&key).is_ok();
        match (names(&here.ring, theirs), names(&copy.ring, ours)) {
            _ if ours == theirs => Self::Same,
            (false, true) => Self::Newer,
            _ => Self::Replaced,
        }
    }
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The ring has everything that the backup has.
    Nothing,
    /// The backup is among the generations, and joins them at the next opening.
    Put,
    /// Its keys are in the ring, to decrypt.
    TakenIn,
    /// The ring goes on under the backup's ring key, with this active key.
    WentOver(KeyId),
}

impl Custody {
    /// Takes a backup in, which opens as `copy`, where the ring that is here is `here`. Nothing is ever overwritten.
    pub fn restore(
        &self,
        here: Option<&Opened>,
        copy: &Opened,
        backup: &Backup,
        now: UnixTime,
    ) -> Result<Restored, CommitError> {
        let Some(here) = here else {
            self.put_backup(backup)?;
            return Ok(Restored::Put);
        };
        match Relation::of(here, copy) {
            Relation::Same => {
                if here.says_it_all(copy) {
                    return Ok(Restored::Nothing);
                }
                self.put_backup(backup)?;
                Ok(Restored::Put)
            }
            Relation::Replaced if join::has_keys(&here.ring, &copy.ring) => Ok(Restored::Nothing),
            Relation::Replaced => self.take_in(here, copy, now).map(|_| Restored::TakenIn),
            Relation::Newer => {
                let after = self.go_over(here, copy, now)?;
                let active = after.ring.active().ok_or(Refusal::Incomplete)?;
                Ok(Restored::WentOver(active.id.clone()))
            }
        }
    }

    /// Takes in, on an operator's word, the keys of a backup under a ring key that is not the ring's: they decrypt, and that
    /// key counts as replaced from now on.
    pub fn take_in(&self, base: &Opened, copy: &Opened, now: UnixTime) -> Result<Opened, CommitError> {
        refuse_frozen(base)?;
        let mut ring = lifecycle::take_in(&base.successor()?, std::iter::once(&copy.ring), now);
        // Who holds a replaced ring key can write what he likes about others, and about slots. One that the ring did not know
        // lost only now.
        if base.ring.replaced.binary_search(&copy.lineage()).is_err() {
            let mut names = copy.ring.replaced.clone();
            names.retain(|name| *name != base.lineage());
            names.push(copy.lineage());
            remember(&mut ring, &names, &copy.ring.removed);
        }
        let share = Share::Rotation;
        let next = Next {
            share,
            ..Next::after(base, ring)
        };
        self.succeed(base, next, now)
    }

    /// Goes over to a backup that names the ring key here replaced: its ring key and slots are the ring's, every key that was
    /// here still decrypts, and a fresh key becomes active, above all that was ever reported.
    pub fn go_over(&self, base: &Opened, copy: &Opened, now: UnixTime) -> Result<Opened, CommitError> {
        let generation = base.ring.generation.max(copy.ring.generation);
        let generation = generation.checked_add(1).ok_or(Refusal::Exhausted)?;
        let after = Ring {
            generation,
            machine: base.ring.machine,
            members: members::merge(&copy.ring.members, &base.ring.members),
            ..copy.ring.clone()
        };
        let fresh = [Key32::generate()?, Key32::generate()?];
        let after = lifecycle::go_above(&after, base.highest(), fresh, now)?;
        let mut ring = lifecycle::take_in(&after, std::iter::once(&base.ring), now);
        for key in &mut ring.keys {
            if let Some(ours) = base.ring.key(&key.id) {
                key.decrypt_only = true;
                if ours.suspended && !key.suspended {
                    (key.suspended, key.suspension) = (true, generation);
                }
            }
        }
        // The backup need not know of every removal that happened here.
        let mut names = base.ring.replaced.clone();
        names.retain(|name| *name != copy.lineage());
        names.push(base.lineage());
        remember(&mut ring, &names, &base.ring.removed);
        let mut parents = vec![base.head.hash, copy.head.hash];
        parents.sort_unstable();
        let next = Next {
            slots: copy.head.header.slots.clone(),
            ring_key: Arc::clone(&copy.ring_key),
            parents,
            ..Next::after(base, ring)
        };
        self.succeed(base, next, now)
    }

    /// What is in the store that no root opens, and that a backup would not explain: the generations, and
    /// whether the mark is one of them.
    pub fn unreadable(&self, copy: &Opened) -> Result<Unreadable, StoreError> {
        let (ring_key, known) = (&copy.ring_key, copy.head.header.generation);
        let loaded = self.store.load()?;
        let mut found = Unreadable::default();
        for copy in loaded.copies.into_iter().filter(|copy| copy.own) {
            let sound = copy.bytes.ok().and_then(|bytes| {
                let stored = generation::parse(&bytes).ok()?;
                Some((bytes, stored))
            });
            if let Some((bytes, stored)) = sound
                && stored.open(ring_key).is_err()
                && self
                    .open_one(
                        &copy.place,
                        &copy.name,
                        &bytes,
                        &[],
                        &mut super::Derivations::of_an_opening(),
                    )
                    .is_err()
            {
                let number = stored.header.generation;
                // Nobody has authenticated it: one far off is no number of this ring's.
                if number.saturating_sub(known) <= FARTHEST {
                    found.highest = found.highest.max(number);
                }
                found.names.push(copy.name);
            }
        }
        let own = loaded.marks.iter().filter(|it| it.own);
        found.mark = own.clone().any(|it| mark::decode(&it.bytes, ring_key).is_err());
        Ok(found)
    }

    /// Makes a backup the ring where newer generations or a mark are that no root opens; they are moved aside, and never
    /// deleted. The ring key is a new one, so that they are another history should their root come back; slots whose root
    /// is not at hand are left out, and named.
    pub fn abandon(
        &self,
        copy: &Opened,
        unreadable: &Unreadable,
        now: UnixTime,
    ) -> Result<Abandoned, CommitError> {
        let ring_key = Arc::new(Key32::generate()?);
        let roots: Vec<&dyn RootKey> = self.roots.iter().map(AsRef::as_ref).collect();
        let Sealed { slots, without } = sealed_anew(copy, &ring_key, &[], &roots, now)?;
        if slots.is_empty() {
            return Err(CommitError::Slots(
                "no root of the backup is at hand to take a new ring key".into(),
            ));
        }
        let generation = copy.ring.generation.max(unreadable.highest);
        let ring = Ring {
            generation: generation.checked_add(1).ok_or(Refusal::Exhausted)?,
            ..copy.ring.clone()
        };
        let fresh = [Key32::generate()?, Key32::generate()?];
        let mut ring = lifecycle::go_above(&ring, copy.highest(), fresh, now)?;
        remember(&mut ring, &[copy.lineage()], &[]);
        let mut moved = self.store.set_aside(&[], unreadable.mark, now.0)?;
        let next = Next {
            slots,
            ring_key,
            stamp: self.store.stamp()?,
            ..Next::after(copy, ring)
        };
        let opened = self.succeed(copy, next, now)?;
        moved.extend(self.store.set_aside(&unreadable.names, false, now.0)?);
        Ok(Abandoned {
            opened,
            without,
            moved,
        })
    }

    /// The ring that the mark here names, verified or not: that in the store's own place, or else one in a further place.
    pub fn marked_ring(&self) -> Result<Option<RingId>, StoreError> {
        let loaded = self.store.load()?;
        let first = loaded.marks.first();
        Ok(first.and_then(|it| mark::claims(&it.bytes)).map(|it| it.0))
    }
}

/// What became of a restore over a gap.
pub struct Abandoned {
    /// The ring as it is now.
    pub opened: Opened,
    /// Names of slots whose root was not at hand.
    pub without: Vec<String>,
    /// Where the rest is.
    pub moved: Vec<String>,
}

/// What no root opens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable {
    /// Names of generations.
    pub names: Vec<String>,
    /// The highest number that one of them has, unverified.
    pub highest: u64,
    /// Whether the mark is one of them.
    pub mark: bool,
}

impl Opened {
    /// Whether the ring has everything that a backup under its own ring key has.
    pub fn says_it_all(&self, copy: &Self) -> bool {
        let later = self.head.header.generation >= copy.head.header.generation;
        later && join::covers(&self.ring, &copy.ring)
    }

    /// The highest sequence that is known here: of a key, a destroyed key, or a report.
    fn highest(&self) -> u64 {
        let reported = self.mark.iter().map(|mark| mark.reported.sequence());
        let beside = self.beside.iter().map(|it| it.ring.highest_sequence());
        reported
            .chain(beside)
            .fold(self.ring.highest_sequence(), u64::max)
    }
}
