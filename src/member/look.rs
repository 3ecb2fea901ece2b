//! One look at the ring on etcd: everything of one moment, opened and checked.
//!
//! What is read follows from what opens: the head, then the words of the nodes that are registered in it, then, where
//! histories have parted, what those have shown. What a stranger adds is asked for by nobody.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Holder, Member, MemberError, Refused, left};
use crate::crypto::kdf;
use crate::crypto::secret::Key32;
use crate::custody::{Derivations, OpenError, Opened, Version};
use crate::etcd::Revision;
use crate::format::FormatError;
use crate::format::generation::Hash;
use crate::format::node::{self, Nonce};
use crate::keyring::members::{self, NodeName};
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{RingKeyId, lineage};
use crate::nodes::Record;
use crate::store::{Entry, Named, RingStore, Snapshot, StoreError, generation_name};

/// What does not open is tried again after so many seconds: the root that opens it may come later.
const AGAIN: u64 = 300;
/// Most key derivations in so many seconds for what nodes have shown while histories are parted.
const DERIVED: (usize, u64) = (4, 60);

/// Generations that are read of those that nodes have shown: there are registered nodes as many.
const MOST_SHOWN: usize = members::MAX_REGISTERED;

/// How many of them are in memory at once.
const AT_ONCE: usize = 4;

/// What a look found.
pub struct Look {
    /// Which ring.
    pub id: Option<[u8; 16]>,
    /// The newest generation. Its name is what its bytes say, whatever it is called in etcd.
    pub head: Option<Arc<Version>>,
    /// What it is called there.
    pub head_name: Option<String>,
    /// The generations of its history.
    pub names: Vec<Named>,
    /// What nodes have shown while histories have parted, and this node's own; what does not open here is left out.
    pub shown: Vec<Arc<Version>>,
    /// When each of those was put there, by its name.
    pub shown_at: HashMap<String, Revision>,
    /// All that lies there.
    pub beside: Vec<Named>,
    /// Acknowledgements that verify and lie under the name that they name.
    pub records: Vec<Record>,
    /// The nonce while histories have parted.
    pub fork: Option<Nonce>,
    /// When each node's acknowledgement was put where it is.
    pub at: HashMap<String, Revision>,
}

/// What nodes have shown, and when each was put there, by its name.
type Shown = (Vec<Arc<Version>>, HashMap<String, Revision>);

/// How the ring on etcd stood, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The registered nodes, and the generation that each has acknowledged; none where there is no valid word of it.
    pub nodes: Vec<(NodeName, Option<u64>)>,
    /// Whether histories have parted.
    pub parted: bool,
    /// The head's generation; 0 without a head.
    pub generation: u64,
    /// What lies on etcd beside the ring's history and is kept, in words.
    pub beside: Vec<String>,
}

impl Look {
    /// Of this ring: the head, or what there is without one.
    pub(super) fn standing(&self, ring: Option<&Ring>) -> Standing {
        let Some(ring) = ring else {
            return Standing::default();
        };
        let registered = members::registered(&ring.members);
        let acknowledged = |member: &members::Member| {
            let mut said = self.records.iter().map(|it| &it.said);
            said.find(|it| it.name == member.name && it.instance == member.instance)
                .map(|it| it.generation)
        };
        Standing {
            nodes: registered.map(|it| (it.name.clone(), acknowledged(it))).collect(),
            parted: self.fork.is_some(),
            generation: self.head.as_ref().map_or(0, |it| it.ring.generation),
            beside: Vec::new(),
        }
    }
}

impl Member {
    /// Reads what there is, and opens what was not open yet.
    pub(super) fn look(
        &mut self,
        holder: &dyn Holder,
        until: Instant,
        now: UnixTime,
    ) -> Result<Look, MemberError> {
        let mut snapshot = self.store.read(left(until))?;
        if self.puts_back(holder.opened(), &snapshot, left(until))? {
            tracing::warn!(
                "the newest generation was damaged in etcd, and is put back from this node's copy"
            );
            snapshot = self.store.read(left(until))?;
        }
        self.open_all(holder, &snapshot, until, now)
    }

    /// Whether the head's bytes in etcd are not those that its name stands for, and this node's copy has those. A name holds
    /// a part of their hash, which others can be made to fit: the bytes decide.
    fn puts_back(
        &self,
        opened: Option<&Opened>,
        snapshot: &Snapshot,
        within: Duration,
    ) -> Result<bool, MemberError> {
        let (Some(id), Some(head), Some(opened)) = (snapshot.id, &snapshot.head, opened) else {
            return Ok(false);
        };
        let found = snapshot.newest.as_ref();
        if own_name(opened) != *head || found.is_some_and(|it| it.bytes == opened.head.bytes) {
            return Ok(false);
        }
        let damaged = found.map(|it| it.at);
        match self.store.put_back(id, head, damaged, &opened.head.bytes, within) {
            // Another node was faster.
            Err(StoreError::Conflict(_)) | Ok(()) => Ok(true),
            Err(why) => Err(why.into()),
        }
    }

    pub(super) fn open_all(
        &mut self,
        holder: &dyn Holder,
        snapshot: &Snapshot,
        until: Instant,
        now: UnixTime,
    ) -> Result<Look, MemberError> {
        let opened = holder.opened();
        let mut versions = HashMap::new();
        self.forget_old_refusals(now);
        let head = match snapshot.head_bytes()? {
            None => None,
            Some((name, bytes)) => match self.head(holder, name, bytes, &mut versions, now) {
                Ok(head) => Some(head),
                Err(why) => {
                    self.heed_records(snapshot, opened, &[], left(until));
                    return Err(why);
                }
            },
        };
        let mut nodes = self.nodes(snapshot, head.as_deref(), opened);
        let mut said = self.store.said(snapshot, &nodes, left(until))?;
        let names = self.to_read(snapshot, head.as_ref(), opened, &said);
        let opening = (until, now);
        let (shown, shown_at) = self.open_shown(holder, snapshot, &names, opening, &mut versions)?;
        let union = shown.iter().flat_map(|it| &it.ring.members);
        let more = union.map(|it| it.name.to_string());
        let more = once(more.filter(|it| !nodes.contains(it)));
        said.extend(self.store.said(snapshot, &more, left(until))?);
        nodes.extend(more);
        self.note_backup(snapshot, opened);
        let all: Vec<&Version> = head.iter().chain(&shown).map(Arc::as_ref).collect();
        self.heed_records(snapshot, opened, &all, left(until));
        self.note_replaced(opened, &all);
        self.versions = versions;
        let records = self.records(snapshot, (&nodes, &said), head.as_ref(), &shown, opened, now);
        Ok(Look {
            id: snapshot.id,
            head,
            head_name: snapshot.head.clone(),
            names: snapshot.names.clone(),
            shown,
            shown_at,
            beside: snapshot.shown.clone(),
            records,
            fork: snapshot.fork,
            at: said.into_iter().map(|it| (it.name, it.at)).collect(),
        })
    }

    /// What was refused long enough ago is tried again.
    fn forget_old_refusals(&mut self, now: UnixTime) {
        self.refused
            .retain(|_, it| now.since(it.at) < AGAIN && it.at <= now);
        self.passed_over.retain(|_, hash| self.refused.contains_key(hash));
        self.derived.retain(|at| now.since(*at) < DERIVED.1 && *at <= now);
    }

    /// The newest generation. Where it did not open a while ago, no key is derived for it again.
    fn head(
        &mut self,
        holder: &dyn Holder,
        name: &str,
        bytes: &[u8],
        versions: &mut HashMap<Hash, Arc<Version>>,
        now: UnixTime,
    ) -> Result<Arc<Version>, MemberError> {
        let hash = kdf::sha256(bytes);
        // What was shown and is the head now may have been worth no derivation before.
        let earlier = self.refused.get(&hash).filter(|it| !it.fell_short);
        let earlier = earlier.map(|it| it.why.clone());
        let mut derivations = match earlier {
            Some(_) => Derivations::at_most(0),
            None => Derivations::of_an_opening(),
        };
        let why = match self.open(holder, name, bytes, versions, &mut derivations) {
            Ok(version) => return Ok(version),
            Err(why) => earlier.unwrap_or(why),
        };
        // Where none was done, asking again costs little, and a root may be back.
        if derivations.done() > 0 {
            self.refuse(hash, why.clone(), false, now);
        }
        Err(MemberError::Open(why))
    }

    /// Whose words are read before anything that nodes have shown: this node's own and those of the registered ones; while
    /// histories have parted, of everybody of whom the head and the copy know, those that are gone last.
    fn nodes(&self, snapshot: &Snapshot, head: Option<&Version>, opened: Option<&Opened>) -> Vec<String> {
        let copy = opened.map(|it| &it.ring).filter(|_| is_parted(snapshot));
        let rings = head.map(|it| &it.ring).into_iter().chain(copy);
        let registered = rings.clone().flat_map(|it| members::registered(&it.members));
        let gone = rings.filter(|_| is_parted(snapshot)).flat_map(|it| &it.members);
        let names = registered.chain(gone).map(|it| it.name.to_string());
        once([self.name.to_string()].into_iter().chain(names))
    }

    /// What is read of what nodes have shown: this node's own copy, where that is not the head; while histories have parted,
    /// what a node has acknowledged, and then what there is beside, the newest first.
    fn to_read(
        &self,
        snapshot: &Snapshot,
        head: Option<&Arc<Version>>,
        opened: Option<&Opened>,
        said: &[Entry],
    ) -> Vec<String> {
        let own = opened.filter(|it| head.is_none_or(|head| head.stored.hash != it.head.hash));
        let mut names: Vec<String> = own.map(own_name).into_iter().collect();
        if is_parted(snapshot) {
            let keys = self.vouching(true, head, &[], opened);
            let words = said.iter().filter_map(|it| verified(it, snapshot.id, &keys));
            names.extend(words.map(|(it, _)| generation_name(it.generation, &it.hash)));
            let spent = self.derivations(snapshot).is_spent();
            let again = |it: &&Named| self.tried(it).is_none_or(|tried| tried.fell_short && !spent);
            let mut beside: Vec<&Named> = snapshot.shown.iter().filter(again).collect();
            // What was tried last comes last, so that nothing that is tried over and over keeps another from its turn.
            beside.sort_by_key(|it| {
                (
                    self.tried(it).map(|tried| tried.at),
                    std::cmp::Reverse(it.number()),
                )
            });
            names.extend(beside.iter().map(|it| it.name.clone()));
        }
        names = once(names.into_iter());
        names.truncate(MOST_SHOWN);
        names
    }

    /// How it came that these very bytes did not open here lately.
    fn tried(&self, it: &Named) -> Option<&Refused> {
        let hash = self.passed_over.get(&(it.name.clone(), it.at))?;
        self.refused.get(hash)
    }

    /// How many keys may be derived now for what nodes have shown. While histories have not parted, it is worth none.
    fn derivations(&self, snapshot: &Snapshot) -> Derivations {
        Derivations::at_most(match snapshot.fork {
            Some(_) => DERIVED.0.saturating_sub(self.derived.len()),
            None => 0,
        })
    }

    /// Anybody who can write to etcd can put something there: only what opens counts, and few are in memory at once. Where
    /// nothing has parted, nothing is tried but what this node has shown itself.
    fn open_shown(
        &mut self,
        holder: &dyn Holder,
        snapshot: &Snapshot,
        names: &[String],
        (until, now): (Instant, UnixTime),
        versions: &mut HashMap<Hash, Arc<Version>>,
    ) -> Result<Shown, MemberError> {
        let (mut shown, mut shown_at) = (Vec::new(), HashMap::new());
        for few in names.chunks(AT_ONCE) {
            for it in self.store.shown(snapshot, few, left(until))? {
                let own = holder.opened().is_some_and(|own| own.head.bytes == it.bytes);
                if !own && !is_parted(snapshot) {
                    continue;
                }
                let Some(version) = self.open_stranger(holder, snapshot, &it, now, versions) else {
                    continue;
                };
                shown_at.insert(it.name, it.at);
                shown.push(version);
            }
        }
        Ok((shown, shown_at))
    }

    /// Opens what anybody may have put there, unless it was refused lately.
    fn open_stranger(
        &mut self,
        holder: &dyn Holder,
        snapshot: &Snapshot,
        it: &Entry,
        now: UnixTime,
        versions: &mut HashMap<Hash, Arc<Version>>,
    ) -> Option<Arc<Version>> {
        let hash = kdf::sha256(&it.bytes);
        let mut derivations = self.derivations(snapshot);
        let refused = self.refused.get(&hash);
        if refused.is_none_or(|it| it.fell_short && !derivations.is_spent()) {
            let opened = self.open(holder, &it.name, &it.bytes, versions, &mut derivations);
            self.derived.extend(std::iter::repeat_n(now, derivations.done()));
            match opened {
                Ok(version) if version.name == it.name => return Some(version),
                Ok(version) => {
                    let place = format!("{} in etcd", it.name);
                    let why = FormatError::Corrupt(format!("its name should be {}", version.name));
                    self.refuse(hash, OpenError::Format { place, why }, false, now);
                }
                Err(why) => self.refuse(hash, why, derivations.fell_short(), now),
            }
        }
        self.passed_over.insert((it.name.clone(), it.at), hash);
        None
    }

    fn refuse(&mut self, hash: Hash, why: OpenError, fell_short: bool, at: UnixTime) {
        self.refused.insert(hash, Refused { at, why, fell_short });
    }

    /// A backup that was made on another node is noted in this node's copy too. It may be lost: then one seems to be missing.
    fn note_backup(&mut self, snapshot: &Snapshot, opened: Option<&Opened>) {
        if let (Some(record), Some(_)) = (&snapshot.backup, opened)
            && self.backup.as_ref() != Some(record)
        {
            let known = self.store.local().load().ok().and_then(|it| it.backup);
            if known.as_ref() == Some(record) || self.store.local().note_backup(record).is_ok() {
                self.backup = Some(record.clone());
            }
        }
    }

    /// Opens a generation with the ring key at hand, or else by a root; once.
    fn open(
        &self,
        holder: &dyn Holder,
        name: &str,
        bytes: &[u8],
        versions: &mut HashMap<Hash, Arc<Version>>,
        derivations: &mut Derivations,
    ) -> Result<Arc<Version>, OpenError> {
        let known = self.versions.values().find(|it| it.bytes == bytes);
        let version = match known {
            Some(known) => Arc::clone(known),
            None => {
                let place = format!("{name} in etcd");
                let held = holder.opened().map_or(&[][..], Opened::keys);
                let custody = holder.custody();
                let mut version = custody.open_one(&place, name, bytes, held, derivations)?;
                // It becomes the name of a file.
                version.name = generation_name(version.stored.header.generation, &version.stored.hash);
                Arc::new(version)
            }
        };
        versions.insert(version.stored.hash, Arc::clone(&version));
        Ok(version)
    }

    /// The ring keys that vouch for what nodes say, as far as none of them names the other replaced.
    fn vouching(
        &self,
        parted: bool,
        head: Option<&Arc<Version>>,
        shown: &[Arc<Version>],
        opened: Option<&Opened>,
    ) -> Vec<(RingKeyId, Arc<Key32>)> {
        let known = head.into_iter().chain(shown).chain(&self.own);
        let all: Vec<(RingKeyId, &Ring)> = known.map(|it| (it.lineage, &it.ring)).collect();
        let unreplaced = lineage::unreplaced(&all);
        let heads = head.map(|it| (it.lineage, Arc::clone(&it.key)));
        let mut keys: Vec<(RingKeyId, Arc<Key32>)> = heads.into_iter().collect();
        if parted || head.is_none_or(|it| !unreplaced.contains(&it.lineage)) {
            keys.extend(shown.iter().map(|it| (it.lineage, Arc::clone(&it.key))));
            keys.extend(opened.map(|it| (it.lineage(), Arc::clone(&it.ring_key))));
        }
        keys.retain(|(lineage, _)| unreplaced.contains(lineage));
        keys
    }

    /// While there is one history, only the head's ring key vouches: whoever holds an earlier one may have been removed.
    /// Where histories have parted, each node's own.
    fn records(
        &mut self,
        snapshot: &Snapshot,
        (nodes, said): (&[String], &[Entry]),
        head: Option<&Arc<Version>>,
        shown: &[Arc<Version>],
        opened: Option<&Opened>,
        now: UnixTime,
    ) -> Vec<Record> {
        let keys = self.vouching(is_parted(snapshot), head, shown, opened);
        let mut seen: HashMap<String, _> = nodes
            .iter()
            .map(|name| (name.clone(), (Vec::new(), None)))
            .collect();
        let mut records = Vec::new();
        for it in said {
            // What was there before this node asked for it for the first time says nothing of clocks.
            let came = match self.seen.get(&it.name) {
                Some((bytes, came)) if *bytes == it.bytes => *came,
                Some(_) => Some(now),
                None => None,
            };
            seen.insert(it.name.clone(), (it.bytes.clone(), came));
            let found = verified(it, snapshot.id, &keys);
            records.extend(found.map(|(said, lineage)| Record {
                said,
                seen: came,
                lineage,
            }));
        }
        self.seen = seen;
        records
    }
}

/// Each of them once, in their order.
fn once(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = BTreeSet::new();
    names.filter(|name| known.insert(name.clone())).collect()
}

/// Whether what nodes have shown counts.
fn is_parted(snapshot: &Snapshot) -> bool {
    snapshot.fork.is_some() || snapshot.head.is_none()
}

/// What the copy is called by its bytes, whatever its file is called.
fn own_name(opened: &Opened) -> String {
    generation_name(opened.head.header.generation, &opened.head.hash)
}

fn verified(
    said: &Entry,
    id: Option<[u8; 16]>,
    keys: &[(RingKeyId, Arc<Key32>)],
) -> Option<(node::Acknowledgement, RingKeyId)> {
    let decoded = keys.iter().find_map(|(lineage, key)| {
        let said = node::decode(&said.bytes, key).ok()?;
        Some((said, *lineage))
    });
    decoded.filter(|(it, _)| it.name.as_str() == said.name && Some(it.ring_id.0) == id)
}
