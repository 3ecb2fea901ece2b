//! Opening: find the newest generation that can be used, and notice everything that is odd about it.

use std::sync::Arc;

use super::history::{assemble, refuse_other_ring};
use super::{Custody, OpenError, Opened};
use crate::crypto::secret::Key32;
use crate::format::generation::{self, Stored, slot_context};
use crate::keyring::ring::{Ring, UnixTime};
use crate::root::RootError;
use crate::store::{Loaded, StoreError};

/// A copy whose clear part is sound.
struct Candidate {
    name: String,
    place: String,
    bytes: Vec<u8>,
    stored: Stored,
}

/// A copy that opened.
pub(super) struct Version {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
    pub(super) stored: Stored,
    pub(super) ring: Ring,
    /// False where a newer version wrote it.
    pub(super) writable: bool,
}

impl Custody {
    /// Opens the ring. `held` is the ring key of an earlier opening: while it fits, no root is asked.
    pub fn open(&self, held: Option<&Arc<Key32>>, now: UnixTime) -> Result<Opened, OpenError> {
        let place = self.store.describe();
        let mut loaded = self.store.load().map_err(|why| OpenError::Store {
            place: place.clone(),
            why,
        })?;
        if loaded.copies.is_empty() {
            return Err(match loaded.marks.as_slice() {
                [] => OpenError::NoRing(place),
                _ => OpenError::RingGone(place),
            });
        }
        let (candidates, mut damage) = candidates(&mut loaded);
        let Some(newest) = candidates.first() else {
            return Err(damage.swap_remove(0).1);
        };
        let id = newest.stored.header.ring_id;
        if let Some(other) = candidates
            .iter()
            .map(|it| it.stored.header.ring_id)
            .find(|it| *it != id)
        {
            return Err(OpenError::TwoRings {
                place,
                one: id,
                other,
            });
        }
        let ring_key = match held {
            Some(key) if candidates.iter().any(|it| it.stored.open(key).is_ok()) => Arc::clone(key),
            _ => Arc::new(self.ring_key(&place, &candidates)?),
        };
        let (versions, unopened) = open_all(candidates, &ring_key);
        damage.extend(unopened);
        damage.sort_by_key(|(generation, _)| std::cmp::Reverse(*generation));
        if versions.is_empty() {
            return Err(damage.swap_remove(0).1);
        }
        let opened = assemble(versions, ring_key, &damage, loaded, now);
        if opened.ring.development != self.development {
            return Err(OpenError::Development {
                place,
                development: opened.ring.development,
            });
        }
        Ok(self.bind_to_machine(self.expect(opened)))
    }

    /// Another ring than the configuration names decrypts what it can and reports no key.
    fn expect(&self, mut opened: Opened) -> Opened {
        if let Some(expected) = self.expected.filter(|id| *id != opened.ring.id) {
            refuse_other_ring(&mut opened, expected);
        }
        opened
    }

    /// Asks the roots in their order, each for the slots of its kind, newest generation first.
    fn ring_key(&self, place: &str, candidates: &[Candidate]) -> Result<Key32, OpenError> {
        let mut tried: Vec<(String, RootError)> = Vec::new();
        for root in &self.roots {
            // Slots outlive rotations: the same one stands in every generation and is tried once.
            let mut seen = Vec::new();
            for candidate in candidates {
                let header = &candidate.stored.header;
                let mut slots = header
                    .slots
                    .iter()
                    .filter(|slot| slot.kind == i32::from(root.kind()));
                let outcome = slots.try_for_each(|slot| {
                    if seen.contains(&slot) {
                        return Ok(());
                    }
                    seen.push(slot);
                    let context = slot_context(header.ring_id, &slot.id, slot.kind);
                    match root.open(&slot.sealed, &context) {
                        Ok(key) => Err(Ok(key)),
                        // It is this slot's fault: the next one may be sound.
                        Err(why @ (RootError::WrongRoot | RootError::Corrupt(_))) => {
                            note(&mut tried, root.describe(), why);
                            Ok(())
                        }
                        Err(why) => Err(Err(why)),
                    }
                });
                match outcome {
                    Err(Ok(key)) => return Ok(key),
                    // The root itself is in trouble: asking it again for an older generation does not help.
                    Err(Err(why)) => {
                        note(&mut tried, root.describe(), why);
                        break;
                    }
                    Ok(()) => {}
                }
            }
        }
        Err(OpenError::Roots {
            place: place.to_owned(),
            tried,
        })
    }

    /// Three file rings on three nodes would be three rings: on another machine a ring serves and is not changed.
    fn bind_to_machine(&self, mut opened: Opened) -> Opened {
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
        opened.warnings.push(reason.to_owned());
        opened.frozen.get_or_insert_with(|| reason.to_owned());
        opened
    }
}

fn note(tried: &mut Vec<(String, RootError)>, root: String, why: RootError) {
    if !tried.iter().any(|known| known.0 == root && known.1 == why) {
        tried.push((root, why));
    }
}

/// Generations that cannot be used, and why.
pub(super) type Damage = Vec<(u64, OpenError)>;

/// Splits what was loaded into copies with a sound clear part and the errors of the rest.
fn candidates(loaded: &mut Loaded) -> (Vec<Candidate>, Damage) {
    let (mut candidates, mut damage) = (Vec::new(), Vec::new());
    for copy in loaded.copies.drain(..) {
        let number = copy
            .name
            .split('-')
            .nth(1)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
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
    candidates.sort_by_key(|it| std::cmp::Reverse((it.stored.header.generation, it.stored.hash)));
    (candidates, damage)
}

fn store_error(place: String, why: StoreError) -> OpenError {
    OpenError::Store { place, why }
}

fn open_all(candidates: Vec<Candidate>, key: &Key32) -> (Vec<Version>, Damage) {
    let (mut versions, mut damage) = (Vec::<Version>::new(), Vec::new());
    for candidate in candidates {
        if versions
            .iter()
            .any(|known| known.stored.hash == candidate.stored.hash)
        {
            continue;
        }
        match candidate.stored.open(key) {
            Ok(open) => versions.push(Version {
                name: candidate.name,
                bytes: candidate.bytes,
                stored: candidate.stored,
                ring: open.ring,
                writable: open.writable,
            }),
            Err(why) => {
                let number = candidate.stored.header.generation;
                damage.push((
                    number,
                    OpenError::Format {
                        place: candidate.place,
                        why,
                    },
                ));
            }
        }
    }
    (versions, damage)
}
