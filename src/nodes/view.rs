//! What a node sees: what it holds, and what it last read.

use super::Why;
use crate::format::generation::Hash;
use crate::format::node::{Acknowledgement, Nonce};
use crate::keyring::KeyId;
use crate::keyring::members::{Instance, Member, NodeName};
use crate::keyring::ring::{Ring, UnixTime};

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
}

/// What a node's acknowledgement says, verified: its MAC fits, and it lay under the name that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What the node has acknowledged.
    pub said: Acknowledgement,
    /// This node's wall clock when it first read these bytes, where it saw them come; for comparing clocks.
    pub seen: Option<UnixTime>,
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
/// the nonce of one moment, read in one transaction.
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

impl View<'_> {
    pub(super) fn record(&self, name: &NodeName) -> Option<&Record> {
        self.records.iter().find(|it| it.said.name == *name)
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
