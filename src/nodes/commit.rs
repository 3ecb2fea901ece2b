//! The generation that a step commits, and the conditions under which the store takes it.

use super::{Step, Version, View, going};
use crate::crypto::secret::Key32;
use crate::format::generation::Hash;
use crate::format::node::Nonce;
use crate::keyring::KeyId;
use crate::keyring::join::{self, JoinError};
use crate::keyring::lifecycle::{self, Refusal};
use crate::keyring::members::{self, NodeName};
use crate::keyring::ring::{Activate, Ring, UnixTime};

/// A generation to be written, in one transaction and under all of these conditions.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its content.
    pub ring: Ring,
    /// Its parents, ascending.
    pub parents: Vec<Hash>,
    /// The head must still be this one; none: there must be none.
    pub head: Option<Hash>,
    /// The nonce must still be this one, and goes; none: there must be none.
    pub fork: Option<Nonce>,
    /// Generations that were shown and are in this one now; they may go.
    pub joined: Vec<Hash>,
}

/// Why there is no such generation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The step commits nothing, or needs a head and there is none.
    #[error("the step {0:?} commits no generation")]
    NoCommit(Step),
    /// The ring does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The histories do not join; people must decide.
    #[error("the nodes' histories of the ring do not join: {0}")]
    Join(#[from] JoinError),
}

/// The commit of a step that [`super::step`] gave for this very view. `fresh` becomes the next key where one is made; `id`
/// names a proposal.
pub fn commit(
    view: &View<'_>,
    step: &Step,
    fresh: Key32,
    id: [u8; 16],
    now: UnixTime,
) -> Result<Commit, CommitError> {
    let none = || CommitError::NoCommit(step.clone());
    if *step == Step::Join {
        return joined(view, fresh, now).ok_or_else(none)?;
    }
    let head = view.head.ok_or_else(none)?;
    let ring = match step {
        Step::Register => members::register(head.ring, &view.me.name, view.me.instance)?,
        Step::Remove { names } => without(lifecycle::successor(head.ring)?, names)?,
        Step::Propose => lifecycle::propose(head.ring, id, Activate::Auto)?,
        Step::Activate => lifecycle::activate(head.ring, fresh, now)?,
        _ => return Err(none()),
    };
    Ok(Commit {
        ring,
        parents: vec![head.hash],
        head: Some(head.hash),
        fork: None,
        joined: Vec::new(),
    })
}

/// The head and everything shown, this node's copy among it. Active is the highest key that any of them used or any node reported.
fn joined(view: &View<'_>, fresh: Key32, now: UnixTime) -> Option<Result<Commit, CommitError>> {
    let mut all: Vec<Version<'_>> = view.head.iter().chain(view.shown).copied().collect();
    all.sort_unstable_by_key(|it| it.hash);
    all.dedup_by_key(|it| it.hash);
    let (first, others) = all.split_first()?;
    let others: Vec<&Ring> = others.iter().map(|it| it.ring).collect();
    let reported = reported(view, &all);
    Some(
        join::join_all(first.ring, &others, &reported, fresh, now)
            .map_err(CommitError::Join)
            .and_then(|ring| {
                let gone = going(view, &ring.members);
                Ok(without(ring, &gone)?)
            })
            .map(|ring| Commit {
                ring,
                parents: all.iter().map(|it| it.hash).collect(),
                head: view.head.map(|it| it.hash),
                fork: view.fork,
                joined: view.shown.iter().map(|it| it.hash).collect(),
            }),
    )
}

/// `ring` without these nodes, as the very generation that it is.
fn without(ring: Ring, names: &[NodeName]) -> Result<Ring, Refusal> {
    let before = ring.generation.checked_sub(1).ok_or(Refusal::Incomplete)?;
    let remove = |ring: Ring, name| {
        let base = Ring {
            generation: before,
            ..ring
        };
        members::remove(&base, name)
    };
    names.iter().try_fold(ring, remove)
}

/// The keys that nodes have reported. A key that nobody shows counts only where a node that is still registered reported
/// it: then it is lost, and people must decide. Of a node that was removed, an operator has said that it is gone.
fn reported(view: &View<'_>, all: &[Version<'_>]) -> Vec<KeyId> {
    let known = |id: &KeyId| all.iter().any(|it| it.ring.key(id).is_some());
    let union = all
        .iter()
        .fold(Vec::new(), |union, it| members::merge(&union, &it.ring.members));
    let registered = |name: &NodeName| members::registered(&union).any(|it| it.name == *name);
    let said = view.records.iter().filter_map(|it| {
        let id = it.said.reported.as_ref()?;
        (known(id) || registered(&it.said.name)).then_some(id)
    });
    said.chain(view.mark).cloned().collect()
}
