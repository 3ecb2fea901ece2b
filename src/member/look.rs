//! One look at the ring on etcd: everything of one moment, opened and checked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Holder, Member, MemberError, Refused};
use crate::crypto::kdf;
use crate::crypto::secret::Key32;
use crate::custody::{Derivations, OpenError, Opened, Version};
use crate::etcd::Revision;
use crate::format::FormatError;
use crate::format::generation::Hash;
use crate::format::node::{self, Nonce};
use crate::keyring::members::{self, NodeName};
use crate::keyring::ring::{Ring, UnixTime};
use crate::nodes::Record;
use crate::store::{RingStore, Said, Snapshot, StoreError, generation_name};

/// What does not open is tried again after so many seconds: the root that opens it may come later.
const AGAIN: u64 = 300;
/// Most key derivations in so many seconds for what nodes have shown while histories are parted.
const DERIVED: (usize, u64) = (4, 60);

/// What a look found.
pub struct Look {
    /// Which ring.
    pub id: Option<[u8; 16]>,
    /// The newest generation. Its name is what its bytes say, whatever it is called in etcd.
    pub head: Option<Arc<Version>>,
    /// What it is called there.
    pub head_name: Option<String>,
    /// Names of the generations of its history.
    pub names: Vec<String>,
    /// What nodes have shown; what does not open here is left out.
    pub shown: Vec<Arc<Version>>,
    /// Acknowledgements that verify and lie under the name that they name.
    pub records: Vec<Record>,
    /// The nonce while histories have parted.
    pub fork: Option<Nonce>,
    /// When each node's acknowledgement was put where it is.
    pub at: HashMap<String, Revision>,
}

/// How the ring on etcd stood, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The registered nodes, and the generation that each has acknowledged; none where there is no valid word of it.
    pub nodes: Vec<(NodeName, Option<u64>)>,
    /// Whether histories have parted.
    pub parted: bool,
    /// The head's generation; 0 without a head.
    pub generation: u64,
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
        }
    }
}

impl Member {
    /// Reads everything in one transaction, and opens what was not open yet.
    pub(super) fn look(
        &mut self,
        holder: &dyn Holder,
        within: Duration,
        now: UnixTime,
    ) -> Result<Look, MemberError> {
        let snapshot = self.store.read(within)?;
        match self.open_all(holder, &snapshot, now) {
            Err(why) if self.puts_back(holder.opened(), &snapshot, within)? => {
                tracing::warn!(%why, "the newest generation was damaged in etcd, and is put back from this node's copy");
                self.open_all(holder, &self.store.read(within)?, now)
            }
            outcome => outcome,
        }
    }

    /// Whether the head's bytes in etcd were not those that its name stands for, and this node's copy has those.
    fn puts_back(
        &self,
        opened: Option<&Opened>,
        snapshot: &Snapshot,
        within: Duration,
    ) -> Result<bool, MemberError> {
        let (Some(id), Some(head), Some(opened)) = (snapshot.id, &snapshot.head, opened) else {
            return Ok(false);
        };
        let found = snapshot.generation(head);
        let name = |bytes| generation_name(opened.head.header.generation, &kdf::sha256(bytes));
        if opened.head.name != *head || found.is_some_and(|bytes| name(bytes) == *head) {
            return Ok(false);
        }
        match self.store.put_back(id, head, found, &opened.head.bytes, within) {
            // Another node was faster.
            Err(StoreError::Conflict(_)) | Ok(()) => Ok(true),
            Err(why) => Err(why.into()),
        }
    }

    pub(super) fn open_all(
        &mut self,
        holder: &dyn Holder,
        snapshot: &Snapshot,
        now: UnixTime,
    ) -> Result<Look, MemberError> {
        let opened = holder.opened();
        let mut versions = HashMap::new();
        self.refused
            .retain(|_, it| now.since(it.at) < AGAIN && it.at <= now);
        let head = match snapshot.head_bytes()? {
            Some((name, bytes)) => Some(self.head(holder, name, bytes, &mut versions, now)?),
            None => None,
        };
        let shown = self.shown(holder, snapshot, &mut versions, now);
        self.note_backup(snapshot, opened);
        self.versions = versions;
        let records = self.records(snapshot, head.as_ref(), &shown, opened, now);
        self.looked = true;
        Ok(Look {
            id: snapshot.id,
            head,
            head_name: snapshot.head.clone(),
            names: snapshot
                .generations
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
            shown,
            records,
            fork: snapshot.fork,
            at: snapshot
                .acknowledged
                .iter()
                .map(|it| (it.node.clone(), it.at))
                .collect(),
        })
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

    /// What nodes have shown, as far as it opens: anybody who can write to etcd can put something there. While histories have
    /// not parted, it is worth no key derivation.
    fn shown(
        &mut self,
        holder: &dyn Holder,
        snapshot: &Snapshot,
        versions: &mut HashMap<Hash, Arc<Version>>,
        now: UnixTime,
    ) -> Vec<Arc<Version>> {
        self.derived.retain(|at| now.since(*at) < DERIVED.1 && *at <= now);
        let hashed = snapshot
            .shown
            .iter()
            .map(|(name, bytes)| (kdf::sha256(bytes), name, bytes));
        let mut all: Vec<_> = hashed.collect();
        // What was tried last comes last, so that nothing that is tried over and over keeps another from its turn.
        all.sort_by_key(|(hash, _, _)| self.refused.get(hash).map(|it| it.at));
        let mut shown = Vec::new();
        for (hash, name, bytes) in all {
            let mut derivations = Derivations::at_most(match snapshot.fork {
                Some(_) => DERIVED.0.saturating_sub(self.derived.len()),
                None => 0,
            });
            let refused = self.refused.get(&hash);
            if refused.is_some_and(|it| !it.fell_short || derivations.is_spent()) {
                continue;
            }
            let opened = self.open(holder, name, bytes, versions, &mut derivations);
            self.derived.extend(std::iter::repeat_n(now, derivations.done()));
            match opened {
                Ok(version) if version.name == *name => shown.push(version),
                Ok(version) => {
                    let place = format!("{name} in etcd");
                    let why = FormatError::Corrupt(format!("its name should be {}", version.name));
                    self.refuse(hash, OpenError::Format { place, why }, false, now);
                }
                Err(why) => self.refuse(hash, why, derivations.fell_short(), now),
            }
        }
        shown.sort_by(|one, other| one.name.cmp(&other.name));
        shown
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
                let held = holder.opened().map(|it| &it.ring_key);
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

    /// While there is one history, only the head's ring key vouches: whoever holds an earlier one may have been removed.
    /// Where histories have parted, each node's own.
    fn records(
        &mut self,
        snapshot: &Snapshot,
        head: Option<&Arc<Version>>,
        shown: &[Arc<Version>],
        opened: Option<&Opened>,
        now: UnixTime,
    ) -> Vec<Record> {
        let mut keys: Vec<Arc<Key32>> = head.map(|it| Arc::clone(&it.key)).into_iter().collect();
        if snapshot.fork.is_some() || head.is_none() {
            keys.extend(shown.iter().map(|it| Arc::clone(&it.key)));
            keys.extend(opened.map(|it| Arc::clone(&it.ring_key)));
        }
        let mut seen = HashMap::new();
        let mut records = Vec::new();
        for said in &snapshot.acknowledged {
            // What was there before this node looked for the first time says nothing of clocks.
            let came = match self.seen.get(&said.node) {
                Some((bytes, came)) if *bytes == said.bytes => *came,
                _ => Some(now).filter(|_| self.looked),
            };
            seen.insert(said.node.clone(), (said.bytes.clone(), came));
            records.extend(verified(said, snapshot.id, &keys).map(|said| Record { said, seen: came }));
        }
        self.seen = seen;
        records
    }
}

fn verified(said: &Said, id: Option<[u8; 16]>, keys: &[Arc<Key32>]) -> Option<node::Acknowledgement> {
    let decoded = keys.iter().find_map(|key| node::decode(&said.bytes, key).ok());
    decoded.filter(|it| it.name.as_str() == said.node && Some(it.ring_id.0) == id)
}
