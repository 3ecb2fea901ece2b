//! Opening: find the newest generation that can be used, and notice everything that is odd about it.

use std::sync::Arc;

use super::attempts::Attempts;
use super::frozen::Reason;
use super::history::{assemble, refuse_other_ring};
use super::unlock::{Asking, Derivations};
use super::{Custody, OpenError, Opened};
use crate::crypto::secret::Key32;
use crate::format::generation::{self, Hash, OpenGeneration, Stored};
use crate::format::mark;
use crate::keyring::members;
use crate::keyring::ring::{Ring, UnixTime};
use crate::store::{Loaded, RingStore, StoreError};

/// A copy whose clear part is sound.
pub(super) struct Candidate {
    name: String,
    place: String,
    bytes: Vec<u8>,
    pub(super) stored: Stored,
}

impl Candidate {
    fn opened(self, open: OpenGeneration, key: Arc<Key32>) -> Version {
        Version {
            name: self.name,
            bytes: self.bytes,
            stored: self.stored,
            ring: open.ring,
            key,
            writable: open.writable,
        }
    }
}

/// What came of opening every copy.
#[derive(Default)]
struct Opening {
    versions: Vec<Version>,
    damage: Damage,
    /// Why the newest that no key opens does not.
    locked: Option<OpenError>,
}

/// A copy that opened.
pub struct Version {
    /// Its name in the store.
    pub name: String,
    /// Its stored bytes.
    pub bytes: Vec<u8>,
    /// Its clear part.
    pub stored: Stored,
    /// Its content.
    pub ring: Ring,
    /// What its body is sealed under.
    pub key: Arc<Key32>,
    /// False where a newer version wrote it.
    pub writable: bool,
}

impl Custody {
    /// Opens the ring. `held` is the ring key of an earlier opening: while it fits, no root is asked.
    pub fn open(&self, held: Option<&Arc<Key32>>, now: UnixTime) -> Result<Opened, OpenError> {
        self.open_in(self.store.as_ref(), held, now)
    }

    /// The same for another store of the ring.
    pub(super) fn open_in(
        &self,
        store: &dyn RingStore,
        held: Option<&Arc<Key32>>,
        now: UnixTime,
    ) -> Result<Opened, OpenError> {
        let place = store.describe();
        let (loaded, candidates, mut damage) = load(store).map_err(|why| match why {
            OpenError::NoRing(place) if self.development => OpenError::NoDevelopmentRing(place),
            other => other,
        })?;
        let Some(newest) = candidates.first() else {
            return Err(damage.swap_remove(0).1);
        };
        let one = newest.stored.header.ring_id;
        let mut ids = candidates.iter().map(|it| it.stored.header.ring_id);
        if let Some(other) = ids.find(|it| *it != one) {
            return Err(OpenError::TwoRings { place, one, other });
        }
        let marks = loaded.marks.iter();
        let named: Vec<Hash> = marks
            .filter_map(|it| mark::claimed(it, one))
            .map(|it| it.1)
            .collect();
        let mut derivations = Derivations::of_an_opening();
        let opening = self.open_all(&place, candidates, &named, held, &mut derivations);
        damage.extend(opening.damage);
        damage.sort_unstable_by_key(|(generation, _)| std::cmp::Reverse(*generation));
        if opening.versions.is_empty() {
            return Err(opening.locked.unwrap_or_else(|| damage.swap_remove(0).1));
        }
        let mut opened = assemble(opening.versions, &damage, loaded, now);
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

    /// Opens one generation by itself, wherever it comes from. Its keys have been tried before it counts. No more key
    /// derivations are done than `derivations` has left.
    pub fn open_one(
        &self,
        place: &str,
        name: &str,
        bytes: &[u8],
        held: Option<&Arc<Key32>>,
        derivations: &mut Derivations,
    ) -> Result<Version, OpenError> {
        let stored = generation::parse(bytes).map_err(|why| OpenError::Format {
            place: place.to_owned(),
            why,
        })?;
        let candidate = Candidate {
            name: name.to_owned(),
            place: place.to_owned(),
            bytes: bytes.to_vec(),
            stored,
        };
        let mut opening = self.open_all(place, vec![candidate], &[], held, derivations);
        let Some(version) = opening.versions.pop() else {
            return Err(opening.locked.unwrap_or_else(|| opening.damage.swap_remove(0).1));
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

    /// The newest generation whose clear part is sound.
    pub(super) fn newest(&self) -> Result<Stored, OpenError> {
        let (_, candidates, mut damage) = load(self.store.as_ref())?;
        let newest = candidates.into_iter().next();
        newest.map(|it| it.stored).ok_or_else(|| damage.swap_remove(0).1)
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
    fn open_all(
        &self,
        place: &str,
        candidates: Vec<Candidate>,
        named: &[Hash],
        held: Option<&Arc<Key32>>,
        derivations: &mut Derivations,
    ) -> Opening {
        let mut attempts = Attempts::new(candidates, named, held);
        let mut asking = Asking::new(&self.roots);
        asking.unlock(&mut attempts, derivations);
        let mut opening = Opening::default();
        for (candidate, outcome) in attempts.into_outcomes() {
            let known = |it: &Version| it.stored.hash == candidate.stored.hash;
            if opening.versions.iter().any(known) {
                continue;
            }
            let number = candidate.stored.header.generation;
            match outcome {
                Some(Ok((open, key))) => opening.versions.push(candidate.opened(open, key)),
                Some(Err(why)) => {
                    let place = candidate.place;
                    opening.damage.push((number, OpenError::Format { place, why }));
                }
                None => {
                    let tried = asking.complaints(&candidate.stored.header);
                    let place = match opening.versions.as_slice() {
                        [] => place.to_owned(),
                        _ => candidate.place,
                    };
                    let why = OpenError::Roots { place, tried };
                    opening.locked.get_or_insert_with(|| why.clone());
                    opening.damage.push((number, why));
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

/// Generations that cannot be used, and why.
pub(super) type Damage = Vec<(u64, OpenError)>;

fn load(store: &dyn RingStore) -> Result<(Loaded, Vec<Candidate>, Damage), OpenError> {
    let place = store.describe();
    let failed = |why| store_error(place.clone(), why);
    let mut loaded = store.load().map_err(failed)?;
    if loaded.copies.is_empty() {
        return Err(match loaded.marks.as_slice() {
            [] => OpenError::NoRing(place),
            _ => OpenError::RingGone(place),
        });
    }
    let (candidates, damage) = candidates(&mut loaded);
    Ok((loaded, candidates, damage))
}

/// Splits what was loaded into copies with a sound clear part and the errors of the rest.
fn candidates(loaded: &mut Loaded) -> (Vec<Candidate>, Damage) {
    let (mut candidates, mut damage) = (Vec::new(), Vec::new());
    for copy in loaded.copies.drain(..) {
        let number = generation_of(&copy.name);
        let place = copy.place;
        match copy.bytes.map(|bytes| (generation::parse(&bytes), bytes)) {
            Ok((Ok(stored), bytes)) => candidates.push(Candidate {
                name: copy.name,
                place,
                bytes,
                stored,
            }),
            Ok((Err(why), _)) => damage.push((number, OpenError::Format { place, why })),
            Err(why) => damage.push((number, store_error(place, why))),
        }
    }
    // The header decides, not the name.
    candidates.sort_unstable_by_key(|it| std::cmp::Reverse((it.stored.header.generation, it.stored.hash)));
    (candidates, damage)
}

/// The number in a generation's name; 0 where there is none.
pub(super) fn generation_of(name: &str) -> u64 {
    let number = name.split('-').nth(1).and_then(|text| text.parse().ok());
    number.unwrap_or(0)
}

fn store_error(place: String, why: StoreError) -> OpenError {
    OpenError::Store { place, why }
}
