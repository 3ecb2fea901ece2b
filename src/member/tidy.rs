//! Taking out of etcd what the newest generation says too, each by its proof, and telling of what stays: what does not open
//! here, and what holds anything that the ring lacks, is never deleted.
//!
//! Whoever can write to etcd can put any number of generations there. So few are read in one pass, by the ring keys at hand
//! alone, and each once for each head.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Look, Member, MemberError};
use crate::crypto::secret::Key32;
use crate::custody::{Finding, Opened, Version};
use crate::etcd::{Revision, WITHIN};
use crate::format::covered::{Covered, Durable};
use crate::format::generation::Hash;
use crate::store::{Entry, KEPT_ON_ETCD, Named};

/// Most generations that are read in one pass: each may be as long as etcd takes.
const AT_ONCE: usize = 8;
/// Replaced ring keys that are kept.
const MOST_REPLACED: usize = 4;
/// Names of those that do not open which are told.
const MOST_TOLD: usize = 3;

/// What was found of the generations beside the head, for this head and these ring keys.
#[derive(Default)]
pub(super) struct Judged {
    under: Option<(Hash, usize)>,
    known: HashMap<Spot, Finding>,
}

/// Where a generation lies, and since when.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Spot {
    place: Place,
    name: String,
    at: Revision,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    History,
    Shown,
}

impl Place {
    fn of(self, name: &str) -> String {
        match self {
            Self::History => format!("gen/{name}"),
            Self::Shown => format!("shown/{name}"),
        }
    }
}

impl Member {
    /// Deletes what is proven to be covered by the head, which is this node's copy, and returns what is to be told of the
    /// rest. While histories are parted nothing goes. What is not done now is done in a later pass.
    pub(super) fn tidy(&mut self, look: &Look, opened: Option<&Opened>, within: Duration) -> Vec<String> {
        let (Some(head), Some(opened)) = (look.head.as_deref(), opened) else {
            return Vec::new();
        };
        let is_copy = head.stored.hash == opened.head.hash && !opened.joined;
        if look.fork.is_some() || !is_copy || opened.frozen.is_some() {
            return Vec::new();
        }
        let (history, spots) = spots(look, head);
        let outcome = self
            .judge(&spots, look, head, opened, within)
            .and_then(|()| self.remove(&history, opened));
        if let Err(why) = outcome {
            tracing::debug!(%why, "what lies beside the newest generation in etcd is looked at later");
        }
        self.told(opened)
    }

    /// Takes the ring out of etcd, where its newest generation there is this node's copy. Returns what stays.
    pub fn take_away(&self, opened: &Opened) -> Result<Vec<String>, MemberError> {
        let snapshot = self.store.read(WITHIN)?;
        let (Some(id), Some(head)) = (snapshot.id, &snapshot.newest) else {
            return Ok(Vec::new());
        };
        if head.bytes != opened.head.bytes {
            return Err(MemberError::Copy("etcd holds another newest generation".into()));
        }
        let durable = Durable::read(&opened.head.bytes, &opened.ring_key);
        let durable = durable.map_err(|why| MemberError::Copy(why.to_string()))?;
        let prove = |found: Vec<Entry>| {
            let found = found.into_iter().filter_map(|it| {
                let name = (it.name.as_str(), it.name.as_str());
                Some(
                    proof(&opened.find(&durable, opened.keys(), name, &it.bytes))?
                        .0
                        .clone(),
                )
            });
            found.collect::<Vec<Covered>>()
        };
        let (mut older, mut shown) = (Vec::new(), Vec::new());
        let names = |all: &[Named]| all.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        for few in names(&snapshot.names).chunks(AT_ONCE) {
            older.extend(prove(self.store.generations(&snapshot, few, WITHIN)?));
        }
        for few in names(&snapshot.shown).chunks(AT_ONCE) {
            shown.extend(prove(self.store.shown(&snapshot, few, WITHIN)?));
        }
        Ok(self.store.take_away(id, head, (&older, &shown))?)
    }

    /// Keeps the ring keys of what opened by a root and counts for nothing, a few of them.
    pub(super) fn note_replaced(&mut self, opened: Option<&Opened>, versions: &[&Version]) {
        let Some(opened) = opened else {
            return;
        };
        for version in versions {
            let held = opened.keys().iter().chain(&self.replaced);
            let known = held.into_iter().any(|key| key.expose() == version.key.expose());
            if !known && opened.ring.replaced.binary_search(&version.lineage).is_ok() {
                self.replaced.push(Arc::clone(&version.key));
            }
        }
        let too_many = self.replaced.len().saturating_sub(MOST_REPLACED);
        self.replaced.drain(..too_many);
    }

    fn judge(
        &mut self,
        spots: &[Spot],
        look: &Look,
        head: &Version,
        opened: &Opened,
        within: Duration,
    ) -> Result<(), MemberError> {
        let keys: Vec<Arc<Key32>> = opened.keys().iter().chain(&self.replaced).cloned().collect();
        let under = Some((head.stored.hash, keys.len()));
        if self.judged.under != under {
            self.judged = Judged {
                under,
                ..Judged::default()
            };
        }
        let there: HashSet<&Spot> = spots.iter().collect();
        self.judged.known.retain(|spot, _| there.contains(spot));
        let new = spots.iter().filter(|it| !self.judged.known.contains_key(it));
        let new: Vec<&Spot> = new.take(AT_ONCE).collect();
        if new.is_empty() {
            return Ok(());
        }
        let snapshot = self.store.read(within)?;
        let durable = Durable::read(&head.bytes, &opened.ring_key).ok();
        let (Some(id), Some(durable)) = (snapshot.id.filter(|_| snapshot.head == look.head_name), durable)
        else {
            return Ok(());
        };
        for place in [Place::History, Place::Shown] {
            let here = new.iter().filter(|it| it.place == place);
            let names: Vec<String> = here.map(|it| it.name.clone()).collect();
            let found = match place {
                Place::History => self.store.generations(&snapshot, &names, within)?,
                Place::Shown => self.store.shown(&snapshot, &names, within)?,
            };
            for Entry { name, bytes, at, .. } in found {
                let whole = self.store.key(&id, &place.of(&name));
                let finding = opened.find(&durable, &keys, (&name, &whole), &bytes);
                self.judged.known.insert(Spot { place, name, at }, finding);
            }
        }
        Ok(())
    }

    /// Of the ring's history, the newest stay, and what the head was made of; while a removal of a root is not finished, all
    /// that is under the ring key that it replaced.
    fn remove(&self, history: &[Spot], opened: &Opened) -> Result<(), MemberError> {
        let parents = &opened.head.header.parents;
        let (mut kept, mut gone) = (1, Vec::new());
        // What comes after one that is not judged yet may be among those that stay.
        let judged = history.iter().map_while(|it| self.judged.known.get(it));
        for (covered, ours) in judged.filter_map(proof) {
            if ours && kept < KEPT_ON_ETCD {
                kept += 1;
                continue;
            }
            let parent = parents.iter().any(|hash| covered.is_of(hash));
            if !parent && (ours || opened.ring.superseding.is_empty()) {
                gone.push(covered.clone());
            }
        }
        self.store.remove_generations(&gone, &[])?;
        let shown = self
            .judged
            .known
            .iter()
            .filter(|(it, _)| it.place == Place::Shown);
        let shown = shown.filter_map(|(_, finding)| Some(proof(finding)?.0.clone()));
        self.store.remove_shown(&shown.collect::<Vec<_>>())?;
        Ok(())
    }

    fn told(&self, opened: &Opened) -> Vec<String> {
        let (mut told, mut unopened) = (Vec::new(), Vec::new());
        for (spot, finding) in &self.judged.known {
            let whole = self.store.key(&opened.ring.id.0, &spot.place.of(&spot.name));
            match finding {
                Finding::Covered(..) | Finding::Other(None) => {}
                Finding::Other(Some(passed)) => told.push(format!(
                    "{whole} in etcd is nothing of the ring's history, and {}; it is kept: written to a file, `kekring restore FILE` takes them in, to decrypt",
                    passed.holds()
                )),
                Finding::Unopened => unopened.push(whole),
            }
        }
        told.sort_unstable();
        unopened.sort_unstable();
        if !unopened.is_empty() {
            let few: Vec<&str> = unopened.iter().take(MOST_TOLD).map(String::as_str).collect();
            told.push(format!(
                "generations in etcd that no ring key at hand opens are kept, and count for nothing: {}: {}{}",
                unopened.len(),
                few.join(", "),
                if unopened.len() > MOST_TOLD { ", ..." } else { "" }
            ));
        }
        told
    }
}

/// What of the ring's history is older than the head, the newest first, where that is more than is kept; and with that
/// everything that is to be looked at.
fn spots(look: &Look, head: &Version) -> (Vec<Spot>, Vec<Spot>) {
    let number = head.stored.header.generation;
    let others = look
        .names
        .iter()
        .filter(|it| Some(&it.name) != look.head_name.as_ref());
    let (mut older, above): (Vec<&Named>, Vec<&Named>) = others.partition(|it| it.number() <= number);
    older.sort_by_key(|it| (std::cmp::Reverse(it.number()), it.name.clone()));
    if older.len() < KEPT_ON_ETCD {
        older.clear();
    }
    let spot = |place: Place| {
        move |it: &&Named| Spot {
            place,
            name: it.name.clone(),
            at: it.at,
        }
    };
    let history: Vec<Spot> = older.iter().map(spot(Place::History)).collect();
    let mut all = history.clone();
    all.extend(above.iter().map(spot(Place::History)));
    all.extend(look.beside.iter().map(|it| spot(Place::Shown)(&it)));
    (history, all)
}

fn proof(finding: &Finding) -> Option<(&Covered, bool)> {
    match finding {
        Finding::Covered(covered, ours) => Some((covered, *ours)),
        Finding::Other(_) | Finding::Unopened => None,
    }
}
