//! Opening: find the newest generation that can be used, and notice everything that is odd about it.

use std::sync::Arc;

use super::attempts::Attempts;
use super::elsewhere::{claimed, named_elsewhere};
use super::frozen::Reason;
use super::history::{assemble, refuse_other_ring};
use super::unlock::{Asking, Derivations, Turn};
use super::{Custody, OpenError, Opened};
use crate::crypto::secret::Key32;
use crate::format::FormatError;
use crate::format::generation::{self, Hash, OpenGeneration, Stored};
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{RingKeyId, members};
use crate::store::{RingStore, StoreError, StoredCopy, StoredMark};

/// A copy whose clear part is sound.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) place: String,
    pub(super) own: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) stored: Stored,
}

impl Candidate {
    pub(super) fn opened(self, open: OpenGeneration, key: Arc<Key32>) -> Version {
        Version {
            name: self.name,
            place: self.place,
            own: self.own,
            bytes: self.bytes,
            stored: self.stored,
            lineage: RingKeyId::of(open.ring.id, &key),
            ring: open.ring,
            key,
            writable: open.writable,
        }
    }
}

/// What came of opening every copy.
#[derive(Default)]
pub(super) struct Opening {
    pub(super) versions: Vec<Version>,
    pub(super) damage: Damage,
    /// Why the newest that no key opens does not.
    pub(super) locked: Option<OpenError>,
    /// How the roots fared.
    pub(super) turns: Vec<Turn>,
}

/// A copy that opened.
pub struct Version {
    /// Its name in the store.
    pub name: String,
    /// Where it lies, for people.
    pub place: String,
    /// Whether it lies in the store's own place.
    pub own: bool,
    /// Its stored bytes.
    pub bytes: Vec<u8>,
    /// Its clear part.
    pub stored: Stored,
    /// Its content.
    pub ring: Ring,
    /// What its body is sealed under.
    pub key: Arc<Key32>,
    /// That key's fingerprint.
    pub lineage: RingKeyId,
    /// False where a newer version wrote it.
    pub writable: bool,
}

impl Version {
    /// Whether this is its name, in full or without the ending.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name.trim_end_matches(".ring") == name.trim_end_matches(".ring")
    }
}

/// A copy that cannot be used.
pub(super) struct Damaged {
    /// The number in its name, or in its clear part where that is sound.
    pub(super) generation: u64,
    /// Whether it lies in the store's own place.
    pub(super) own: bool,
    pub(super) why: OpenError,
}

/// Copies that cannot be used, and why.
pub(super) type Damage = Vec<Damaged>;

/// What an opening starts from.
#[derive(Clone, Copy, Default)]
pub(super) struct Given<'a> {
    /// Ring keys of an earlier opening: while they fit, no root is asked.
    pub(super) held: &'a [Arc<Key32>],
    /// The generation for whose ring key an operator decides.
    pub(super) wanted: Option<&'a str>,
}

impl Custody {
    /// Opens the ring. `held` is the ring key of an earlier opening: while it fits, no root is asked.
    pub fn open(&self, held: Option<&Arc<Key32>>, now: UnixTime) -> Result<Opened, OpenError> {
        let held: Vec<Arc<Key32>> = held.into_iter().cloned().collect();
        let given = Given {
            held: &held,
            wanted: None,
        };
        self.open_in(self.store.as_ref(), given, now)
    }

    /// Opens the ring again, with every ring key that opened something before.
    pub fn reopen(&self, current: &Opened, now: UnixTime) -> Result<Opened, OpenError> {
        let given = Given {
            held: &current.keys,
            wanted: None,
        };
        self.open_in(self.store.as_ref(), given, now)
    }

    /// Opens the ring as an operator decides between two ring keys: that of the generation of this name is the ring's.
    pub fn open_for(&self, current: &Opened, head: &str, now: UnixTime) -> Result<Opened, OpenError> {
        let given = Given {
            held: &current.keys,
            wanted: Some(head),
        };
        self.open_in(self.store.as_ref(), given, now)
    }

    /// The same for any store of the ring.
    pub(super) fn open_in(
        &self,
        store: &dyn RingStore,
        given: Given<'_>,
        now: UnixTime,
    ) -> Result<Opened, OpenError> {
        let place = store.describe();
        let mut loaded = store.load().map_err(|why| store_error(place.clone(), why))?;
        let is_lost = loaded.copies.is_empty();
        let (mut candidates, mut damage) = candidates(&mut loaded.copies);
        refuse_two_rings(&place, &candidates)?;
        // Its own directory names a generation that it lacks, or holds damaged.
        let own: Vec<StoredMark> = loaded.marks.iter().filter(|it| it.own).cloned().collect();
        candidates.extend(named_elsewhere(store, &own, &candidates));
        if candidates.is_empty() {
            candidates = self.brought_back(store, &loaded, given)?;
        }
        if candidates.is_empty() {
            return Err(self.nothing(store, place, is_lost, &loaded.marks, damage));
        }
        sort(&mut candidates);
        let named = claimed(&loaded.marks);
        let mut derivations = Derivations::of_an_opening();
        let mut opening = self.open_all(&place, candidates, &named, given.held, &mut derivations);
        self.newer_elsewhere(store, &loaded.marks, &mut opening);
        self.refuse_replaced(&place, loaded.witness.take(), &opening.versions)?;
        damage.extend(opening.damage);
        damage.sort_by_key(|it| std::cmp::Reverse(it.generation));
        if opening.versions.is_empty() {
            return Err(opening.locked.unwrap_or_else(|| damage.swap_remove(0).why));
        }
        let mut opened = assemble(opening.versions, &damage, loaded, given.wanted, now);
        opened.turns = opening.turns;
        opened.warnings.extend(opened.backup_warning());
        opened.warnings.extend(opened.growth_warning(now));
        if opened.ring.development != self.development {
            return Err(OpenError::Development {
                place,
                development: opened.ring.development,
            });
        }
        Ok(self.bind_to_machine(self.expect(opened)))
    }

    /// Why there is nothing to open.
    fn nothing(
        &self,
        store: &dyn RingStore,
        place: String,
        is_lost: bool,
        marks: &[StoredMark],
        mut damage: Damage,
    ) -> OpenError {
        if !is_lost && !damage.is_empty() {
            return damage.swap_remove(0).why;
        }
        if !marks.is_empty() || !store.further().is_empty() {
            return OpenError::RingGone(place);
        }
        match self.development {
            true => OpenError::NoDevelopmentRing(place),
            false => OpenError::NoRing(place),
        }
    }

    /// Opens one generation by itself, wherever it comes from. Its keys have been tried before it counts. No more key
    /// derivations are done than `derivations` has left.
    pub fn open_one(
        &self,
        place: &str,
        name: &str,
        bytes: &[u8],
        held: &[Arc<Key32>],
        derivations: &mut Derivations,
    ) -> Result<Version, OpenError> {
        let stored = generation::parse(bytes).map_err(|why| OpenError::Format {
            place: place.to_owned(),
            why,
        })?;
        let candidate = Candidate {
            name: name.to_owned(),
            place: place.to_owned(),
            own: true,
            bytes: bytes.to_vec(),
            stored,
        };
        let mut opening = self.open_all(place, vec![candidate], &[], held, derivations);
        let Some(version) = opening.versions.pop() else {
            return Err(opening
                .locked
                .unwrap_or_else(|| opening.damage.swap_remove(0).why));
        };
        let one = version.ring.id;
        if let Some(other) = self.expected.filter(|id| *id != one) {
            let place = place.to_owned();
            return Err(OpenError::TwoRings { place, one, other });
        }
        if version.ring.development != self.development {
            return Err(OpenError::Development {
                place: place.to_owned(),
                development: version.ring.development,
            });
        }
        Ok(version)
    }

    /// The generation whose clear part tells of the ring where no root does: that which the mark names, or else the newest.
    pub(super) fn newest(&self) -> Result<Stored, OpenError> {
        let store = self.store.as_ref();
        let place = store.describe();
        let mut loaded = store.load().map_err(|why| store_error(place.clone(), why))?;
        let is_lost = loaded.copies.is_empty();
        loaded.copies.extend(loaded.witness.take());
        let (mut candidates, damage) = candidates(&mut loaded.copies);
        let own: Vec<StoredMark> = loaded.marks.iter().filter(|it| it.own).cloned().collect();
        let asked = if is_lost { &loaded.marks } else { &own };
        candidates.extend(named_elsewhere(store, asked, &candidates));
        sort(&mut candidates);
        // A generation that counts for nothing can have a higher number; the mark in its own place knows better.
        let named = claimed(&own);
        candidates.sort_by_key(|it| !named.contains(&it.stored.hash));
        let newest = candidates.into_iter().next();
        newest
            .map(|it| it.stored)
            .ok_or_else(|| self.nothing(store, place, is_lost, &loaded.marks, damage))
    }

    /// Another ring than the configuration names decrypts what it can and reports no key.
    fn expect(&self, mut opened: Opened) -> Opened {
        if let Some(expected) = self.expected.filter(|id| *id != opened.ring.id) {
            refuse_other_ring(&mut opened, expected);
        }
        opened
    }

    /// Opens what can be opened, newest first. A key at hand is tried before any root; where it is, a root is asked for
    /// what is newer than all that it opens. `named` are the generations that marks name, verified or not.
    pub(super) fn open_all(
        &self,
        place: &str,
        candidates: Vec<Candidate>,
        named: &[Hash],
        held: &[Arc<Key32>],
        derivations: &mut Derivations,
    ) -> Opening {
        let mut attempts = Attempts::new(candidates, named, held);
        let mut asking = Asking::new(&self.roots, &self.calls);
        asking.unlock(&mut attempts, derivations);
        let mut opening = Opening {
            turns: asking.turns(),
            ..Opening::default()
        };
        for (candidate, outcome) in attempts.into_outcomes() {
            let known = |it: &Version| it.stored.hash == candidate.stored.hash;
            if opening.versions.iter().any(known) {
                continue;
            }
            let (generation, own) = (candidate.stored.header.generation, candidate.own);
            let mut damaged = |why| opening.damage.push(Damaged { generation, own, why });
            match outcome {
                Some(Ok((open, key))) => opening.versions.push(candidate.opened(open, key)),
                Some(Err(why)) => {
                    let place = candidate.place;
                    damaged(OpenError::Format { place, why });
                }
                None => {
                    let tried = asking.complaints(&candidate.stored.header);
                    let place = match opening.versions.as_slice() {
                        [] => place.to_owned(),
                        _ => candidate.place,
                    };
                    let why = OpenError::Roots { place, tried };
                    opening.locked.get_or_insert_with(|| why.clone());
                    damaged(why);
                }
            }
        }
        opening
    }

    /// Three file rings on three nodes would be three rings: on another machine a ring serves and is not changed.
    fn bind_to_machine(&self, mut opened: Opened) -> Opened {
        if self.shared {
            return opened;
        }
        if members::registered(&opened.ring.members).next().is_some() {
            opened.freeze(Reason::Shared);
            return opened;
        }
        let Some(bound) = opened.ring.machine else {
            let reason =
                "this file ring is bound to no machine: a copy of it elsewhere would rotate on its own";
            opened.warnings.push(reason.to_owned());
            return opened;
        };
        let reason = match self.machine_tag(opened.ring.id) {
            Some(here) if here == bound => return opened,
            Some(_) => "this file ring was made on another machine",
            None => "this file ring is bound to a machine and this machine's id cannot be read",
        };
        opened.freeze(Reason::Machine(reason));
        opened
    }
}

/// Splits what was loaded into copies with a sound clear part and the errors of the rest.
pub(super) fn candidates(copies: &mut Vec<StoredCopy>) -> (Vec<Candidate>, Damage) {
    let (mut candidates, mut damage) = (Vec::new(), Vec::new());
    for copy in copies.drain(..) {
        let (name, place, own) = (copy.name, copy.place, copy.own);
        let generation = generation_of(&name);
        let mut damaged = |why| damage.push(Damaged { generation, own, why });
        match copy.bytes.map(|bytes| (generation::parse(&bytes), bytes)) {
            Ok((Ok(stored), bytes)) => candidates.push(Candidate {
                name,
                place,
                own,
                bytes,
                stored,
            }),
            Ok((Err(why), _)) => damaged(OpenError::Format { place, why }),
            Err(why) => damaged(store_error(place, why)),
        }
    }
    sort(&mut candidates);
    (candidates, damage)
}

/// Newest first. The header decides, not the name.
fn sort(candidates: &mut [Candidate]) {
    candidates.sort_by_key(|it| std::cmp::Reverse((it.stored.header.generation, it.stored.hash)));
}

fn refuse_two_rings(place: &str, candidates: &[Candidate]) -> Result<(), OpenError> {
    let mut ids = candidates.iter().map(|it| it.stored.header.ring_id);
    let Some(one) = ids.next() else {
        return Ok(());
    };
    match ids.find(|it| *it != one) {
        Some(other) => Err(OpenError::TwoRings {
            place: place.to_owned(),
            one,
            other,
        }),
        None => Ok(()),
    }
}

/// The number in a generation's name; 0 where there is none.
pub(super) fn generation_of(name: &str) -> u64 {
    let number = name.split('-').nth(1).and_then(|text| text.parse().ok());
    number.unwrap_or(0)
}

fn store_error(place: String, why: StoreError) -> OpenError {
    OpenError::Store { place, why }
}

/// Opens a generation with the first of `keys` that fits; `None` where none does.
pub(super) fn open_with(
    stored: &Stored,
    keys: &[Arc<Key32>],
) -> Option<Result<(OpenGeneration, Arc<Key32>), FormatError>> {
    keys.iter().find_map(|key| match stored.open(key) {
        Err(FormatError::WrongKey) => None,
        outcome => Some(outcome.map(|open| (open, Arc::clone(key)))),
    })
}
