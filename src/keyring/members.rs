//! The nodes that keep a copy of the ring. They stand in the ring itself: one compare-and-swap then orders who joins and
//! what becomes active, and who can write to the store without the ring key can neither add nor take away a node.
//!
//! A rotation waits for every registered node, however long it has been silent: its API server may still read. Only an
//! operator's word removes one. The record of a removal is kept, so that an older history does not bring the node back.

use std::fmt;
use std::str::FromStr;

use super::lifecycle::{self, Refusal};
use super::ring::Ring;

/// Most registered nodes. Control planes have 3 to 7; each node is one more that a rotation waits for.
pub const MAX_REGISTERED: usize = 64;

/// Most records, removed nodes included: machines that are replaced under new names leave one each. 256 of the longest
/// take 75 kB of the 1 MiB that a generation may have.
pub const MAX_RECORDS: usize = 256;

/// Longest name of a node, in bytes: a DNS-1123 subdomain, as Kubernetes names its nodes
/// (`DNS1123SubdomainMaxLength`, k8s.io/apimachinery pkg/util/validation).
pub const MAX_NAME: usize = 253;

/// 16 random bytes that name one local copy of the ring, made with it: two machines of one name differ in it.
pub type Instance = [u8; 16];

/// The name of a node: a DNS-1123 subdomain in lower case, 1 to [`MAX_NAME`] bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text names no node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a node name: 1 to {MAX_NAME} letters a-z, digits, '-' and '.', and each part begins and ends with a letter or a digit"
)]
pub struct MalformedNodeName;

impl FromStr for NodeName {
    type Err = MalformedNodeName;

    fn from_str(text: &str) -> Result<Self, MalformedNodeName> {
        let outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let label = |part: &str| {
            let bytes = part.as_bytes();
            bytes.iter().all(|byte| outer(byte) || *byte == b'-')
                && bytes.first().is_some_and(outer)
                && bytes.last().is_some_and(outer)
        };
        match text.len() <= MAX_NAME && text.split('.').all(label) {
            true => Ok(Self(text.to_owned())),
            false => Err(MalformedNodeName),
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a rotation waits for a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Membership {
    /// Gone, by an operator's word.
    Removed,
    /// It keeps a copy, and each key that becomes active must be in it.
    Registered,
}

/// What the ring knows of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name; one record for each.
    pub name: NodeName,
    /// The copy that is registered, or was.
    pub instance: Instance,
    /// The generation that last set this record.
    pub since: u64,
    /// Whether it counts.
    pub membership: Membership,
}

impl Member {
    /// Which of two records of one name is the later. Of two set in generations of one number, the registered one: waiting
    /// for a node too many is safe.
    fn stands(&self) -> (u64, Membership, Instance) {
        (self.since, self.membership, self.instance)
    }
}

/// The registered nodes of a list, by name.
pub fn registered(members: &[Member]) -> impl Iterator<Item = &Member> {
    members
        .iter()
        .filter(|it| it.membership == Membership::Registered)
}

/// The record of that name.
pub fn find<'a>(members: &'a [Member], name: &NodeName) -> Option<&'a Member> {
    members.iter().find(|it| it.name == *name)
}

/// The next generation, in which `name` is registered as `instance`; also after a removal. Refused for the name of a node
/// that is registered as another instance, whether that one is alive or not.
pub fn register(ring: &Ring, name: &NodeName, instance: Instance) -> Result<Ring, Refusal> {
    match find(&ring.members, name) {
        Some(known) if known.membership == Membership::Registered => {
            return Err(match known.instance == instance {
                true => Refusal::IsRegistered(name.clone()),
                false => Refusal::SecondInstance(name.clone()),
            });
        }
        _ if registered(&ring.members).count() >= MAX_REGISTERED => {
            return Err(Refusal::TooManyNodes);
        }
        _ => {}
    }
    set(ring, name, instance, Membership::Registered)
}

/// The next generation, in which no rotation waits for `name` any more.
pub fn remove(ring: &Ring, name: &NodeName) -> Result<Ring, Refusal> {
    let known = find(&ring.members, name).filter(|it| it.membership == Membership::Registered);
    let known = known.ok_or_else(|| Refusal::UnknownNode(name.clone()))?;
    set(ring, name, known.instance, Membership::Removed)
}

fn set(ring: &Ring, name: &NodeName, instance: Instance, membership: Membership) -> Result<Ring, Refusal> {
    let mut after = lifecycle::successor(ring)?;
    let record = Member {
        name: name.clone(),
        instance,
        since: after.generation,
        membership,
    };
    after.members.retain(|it| it.name != *name);
    after.members.push(record);
    after.members.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    trim(&mut after.members);
    Ok(after)
}

/// Forgets the oldest removals beyond [`MAX_RECORDS`]. Should an older history bring such a node back, a rotation waits for
/// it and names it.
fn trim(members: &mut Vec<Member>) {
    while members.len() > MAX_RECORDS {
        let removed = members.iter().filter(|it| it.membership == Membership::Removed);
        let Some(oldest) = removed.min_by_key(|it| it.since).map(|it| it.name.clone()) else {
            return;
        };
        members.retain(|it| it.name != oldest);
    }
}

/// The records of both, for each name the one that was set later; by name.
pub fn merge(one: &[Member], other: &[Member]) -> Vec<Member> {
    let mut all = one.to_vec();
    for theirs in other {
        match all.iter_mut().find(|ours| ours.name == theirs.name) {
            Some(ours) if ours.stands() < theirs.stands() => *ours = theirs.clone(),
            Some(_) => {}
            None => all.push(theirs.clone()),
        }
    }
    all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    trim(&mut all);
    all
}

/// True when `newer` has for each record of `older` one that says as much. A removal that `newer` has forgotten, or never
/// knew, leaves nothing to wait for.
pub(super) fn cover(newer: &[Member], older: &[Member]) -> bool {
    older.iter().all(|theirs| match find(newer, &theirs.name) {
        Some(ours) => ours.stands() >= theirs.stands(),
        None => theirs.membership == Membership::Removed,
    })
}
