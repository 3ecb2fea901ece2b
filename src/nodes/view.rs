//! What a node sees: what it holds, and what it last read.

use super::Why;
use crate::format::generation::Hash;
use crate::format::node::{Acknowledgement, Nonce};
use crate::keyring::members::{Instance, Member, NodeName};
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::{KeyId, RingKeyId, lineage};

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its name, one of its own in the cluster.
    pub name: NodeName,
    /// Its copy, made with it and kept beside it.
    pub instance: Instance,
    /// The format version that it reads and writes.
    pub format: u32,
}

/// A generation that has been opened and checked.
#[derive(Clone, Copy, Debug)]
pub struct Version<'a> {
    /// Its content.
    pub ring: &'a Ring,
    /// Its identity.
    pub hash: Hash,
    /// The fingerprint of the ring key that it is sealed under.
    pub lineage: RingKeyId,
    /// The format version that it is written in.
    pub format: u32,
    /// Whether it has a root slot that another history of the ring removed.
    pub unfinished: bool,
}

/// What a node's acknowledgement says, verified: its MAC fits, and it lay under the name that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the node has acknowledged.
    pub said: Acknowledgement,
    /// This node's wall clock when it first read these bytes, where it saw them come; for comparing clocks.
    pub seen: Option<UnixTime>,
    /// The fingerprint of the ring key under which it verified.
    pub lineage: RingKeyId,
}

/// Whether this node wants a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Not now; what is in flight is finished all the same.
    NotDue,
    /// By the schedule, for the head that was read.
    Due,
    /// An operator wants this key to become active.
    Asked(KeyId),
}

/// What a node holds, and what its last linearizable read of the store held: the head, the acknowledgements, what is shown and
/// the nonce, all of one moment.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// This node.
    pub me: &'a Me,
    /// The newest generation in the durable copy.
    pub copy: Option<Version<'a>>,
    /// The highest key that this node has reported or may have, as its durable mark says.
    pub mark: Option<&'a KeyId>,
    /// The head of the store.
    pub head: Option<Version<'a>>,
    /// The acknowledgements, this node's own included; those that do not verify are left out.
    pub records: &'a [Record],
    /// The heads that nodes have shown.
    pub shown: &'a [Version<'a>],
    /// The nonce of the fork, while there is one.
    pub fork: Option<Nonce>,
    /// Whether a rotation is wanted.
    pub rotation: Rotation,
    /// Nodes that an operator says are gone, for this one activation.
    pub without: &'a [NodeName],
    /// Nodes that an operator says are gone for good: the next commit removes them, also a join that waits for them.
    pub gone: &'a [NodeName],
    /// The wall clock.
    pub now: UnixTime,
}

impl<'a> View<'a> {
    /// The head, this node's copy and what is shown.
    pub(super) fn versions(&self) -> impl Iterator<Item = Version<'a>> + use<'a, '_> {
        self.head.iter().chain(&self.copy).chain(self.shown).copied()
    }

    /// The ring keys that none of those names replaced.
    fn unreplaced(&self) -> Vec<RingKeyId> {
        let all: Vec<(RingKeyId, &Ring)> = self.versions().map(|it| (it.lineage, it.ring)).collect();
        lineage::unreplaced(&all)
    }

    /// Whether what is under that ring key counts: one of the others replaced it where not.
    pub(super) fn counts(&self, version: Version<'_>) -> bool {
        self.unreplaced().contains(&version.lineage)
    }

    /// The ring key that is the ring's. Where the ring keys themselves do not tell, that of this node's copy, under which its
    /// mark is.
    pub(super) fn lineage(&self) -> Option<RingKeyId> {
        let unreplaced = self.unreplaced();
        let own = self
            .copy
            .map(|it| it.lineage)
            .filter(|it| unreplaced.contains(it));
        own.or_else(|| unreplaced.first().copied())
    }

    /// Whether each of two ring keys names the other replaced. Then no later generation under either tells more, and whoever
    /// joined would only be joined over by the others.
    pub(super) fn is_mutual(&self, one: Version<'_>, other: Version<'_>) -> bool {
        let names = |one: RingKeyId, other: RingKeyId| {
            self.versions()
                .any(|it| it.lineage == one && it.ring.replaced.binary_search(&other).is_ok())
        };
        names(one.lineage, other.lineage) && names(other.lineage, one.lineage)
    }

    /// The newest generation that is shown under a ring key that was not replaced.
    pub(super) fn newest_shown(&self) -> Option<Version<'a>> {
        let counting = self.shown.iter().copied().filter(|it| self.counts(*it));
        counting.max_by_key(|it| (it.ring.generation, it.hash))
    }

    /// Whether that generation lies beside the head.
    pub(super) fn is_shown(&self, hash: Hash) -> bool {
        self.shown.iter().any(|it| it.hash == hash)
    }

    /// What a node has acknowledged. While there is one history, the head's ring key alone vouches for it; otherwise any that
    /// was not replaced. What is under another is nobody's word: who holds it may have been removed.
    pub(super) fn record(&self, name: &NodeName) -> Option<&Record> {
        let unreplaced = self.unreplaced();
        let head = self.head.filter(|it| self.fork.is_none() && self.counts(*it));
        let vouches = |key: RingKeyId| match head {
            Some(head) => key == head.lineage,
            None => unreplaced.contains(&key),
        };
        let mut records = self.records.iter();
        records.find(|it| it.said.name == *name && vouches(it.lineage))
    }

    /// The acknowledgement of the copy that is registered.
    pub(super) fn record_of(&self, member: &Member) -> Result<&Record, Why> {
        match self.record(&member.name) {
            None => Err(Why::Silent),
            Some(record) if record.said.instance != member.instance => Err(Why::OtherInstance),
            Some(record) => Ok(record),
        }
    }
}
