//! The generation that a step commits, and the conditions under which the store takes it.

use super::{Record, Rotation, Step, Version, View, format, going};
use crate::crypto::secret::Key32;
use crate::format::generation::Hash;
use crate::format::node::Nonce;
use crate::keyring::join::{self, JoinError};
use crate::keyring::lifecycle::{self, Refusal};
use crate::keyring::members::{self, NodeName};
use crate::keyring::ring::{Activate, Ring, UnixTime};
use crate::keyring::{KeyId, RingKeyId};

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
    /// Records of ring keys that were replaced, which are left in the same transaction: who was away reads them.
    pub superseded: Vec<Vec<u8>>,
    /// Ring keys that are replaced by this generation, because they lost: each gets such a record too.
    pub lost: Vec<RingKeyId>,
    /// The format version to write it in.
    pub format: u32,
    /// Whether it is a rotation, which leaves room for emergencies.
    pub rotates: bool,
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

/// The commit of a step that [`super::step`] gave for this very view. `fresh` become the next key where one is made, and a join
/// that goes above a lost ring key takes all three; `id` names a proposal.
pub fn commit(
    view: &View<'_>,
    step: &Step,
    fresh: [Key32; 3],
    id: [u8; 16],
    now: UnixTime,
) -> Result<Commit, CommitError> {
    let none = || CommitError::NoCommit(step.clone());
    if *step == Step::Join {
        return joined(view, fresh, now).ok_or_else(none)?;
    }
    let head = view.head.ok_or_else(none)?;
    let [next, _, _] = fresh;
    let mut ring = match step {
        Step::Register => members::register(head.ring, &view.me.name, view.me.instance)?,
        Step::Remove { names } => without(lifecycle::successor(head.ring)?, names)?,
        Step::Propose => lifecycle::propose(head.ring, id, Activate::Auto)?,
        Step::Activate => lifecycle::activate(head.ring, next, now)?,
        _ => return Err(none()),
    };
    let rotates = matches!(step, Step::Propose | Step::Activate);
    let superseded = match step {
        Step::Activate => std::mem::take(&mut ring.superseding),
        _ => Vec::new(),
    };
    Ok(Commit {
        format: format(view, head.format, &ring.members),
        ring,
        parents: vec![head.hash],
        head: Some(head.hash),
        fork: None,
        joined: Vec::new(),
        superseded,
        lost: Vec::new(),
        // What an operator asked for may be an emergency; a proposal in flight was let in already.
        rotates: rotates && view.rotation == Rotation::Due && head.ring.proposal.is_none(),
    })
}

/// The head and everything shown, this node's copy among it, as far as it is under the ring's own ring key. Active is the
/// highest key that any of them used or any node reported; where more was used under a ring key that lost, a fresh one.
fn joined(view: &View<'_>, fresh: [Key32; 3], now: UnixTime) -> Option<Result<Commit, CommitError>> {
    let lineage = view.lineage()?;
    let mut all: Vec<Version<'_>> = view.head.iter().chain(view.shown).copied().collect();
    all.sort_unstable_by_key(|it| it.hash);
    all.dedup_by_key(|it| it.hash);
    let lost: Vec<Version<'_>> = all
        .iter()
        .copied()
        .filter(|it| it.lineage != lineage && view.counts(*it))
        .collect();
    all.retain(|it| it.lineage == lineage);
    let (first, others) = all.split_first()?;
    let others: Vec<&Ring> = others.iter().map(|it| it.ring).collect();
    let reported = reported(view, &all, lineage);
    let [next, above, beyond] = fresh;
    let ring = join::join_all(first.ring, &others, &reported, next, now)
        .map_err(CommitError::Join)
        .and_then(|ring| Ok(outrank(view, ring, &lost, lineage, [above, beyond], now)?))
        .and_then(|ring| {
            let gone = going(view, &ring.members);
            Ok(without(ring, &gone)?)
        });
    // Whoever is registered in an older history alone may read no more than that is written in.
    let written = all.iter().chain(&lost).map(|it| it.format).min();
    Some(ring.map(|mut ring| {
        let mut superseded = match activates(&ring, &all) {
            true => std::mem::take(&mut ring.superseding),
            false => Vec::new(),
        };
        superseded.extend(lost.iter().flat_map(|it| it.ring.superseding.iter().cloned()));
        superseded.sort_unstable();
        superseded.dedup();
        let mut losers: Vec<RingKeyId> = Vec::new();
        for loser in &lost {
            if !losers.contains(&loser.lineage) {
                losers.push(loser.lineage);
            }
        }
        Commit {
            format: format(view, written.unwrap_or(first.format), &ring.members),
            ring,
            parents: all.iter().map(|it| it.hash).collect(),
            head: view.head.map(|it| it.hash),
            fork: view.fork,
            joined: all
                .iter()
                .filter(|it| view.is_shown(it.hash))
                .map(|it| it.hash)
                .collect(),
            superseded,
            lost: losers,
            rotates: false,
        }
    }))
}

/// Whether `ring` has an active key that none of these has.
fn activates(ring: &Ring, before: &[Version<'_>]) -> bool {
    let active = |ring: &Ring| ring.active().map(|key| key.id.clone());
    before.iter().all(|it| active(it.ring) != active(ring))
}

/// A ring key that lost counts as replaced from now on, and the removals of its history happened. What was reported there is
/// never reported again by a lower number.
fn outrank(
    view: &View<'_>,
    mut ring: Ring,
    lost: &[Version<'_>],
    lineage: RingKeyId,
    fresh: [Key32; 2],
    now: UnixTime,
) -> Result<Ring, Refusal> {
    for loser in lost {
        let mut names = loser.ring.replaced.clone();
        names.retain(|name| *name != lineage);
        names.push(loser.lineage);
        join::remember(&mut ring, &names, &loser.ring.removed);
    }
    let used = lost.iter().filter_map(|it| it.ring.active()).map(|key| &key.id);
    // A node can have reported more than what it shows: its disk went back.
    let theirs = |it: &&Record| lost.iter().any(|loser| loser.lineage == it.lineage);
    let told = view.records.iter().filter(theirs);
    let told = told.filter_map(|it| it.said.reported.as_ref());
    let active = ring.active().ok_or(Refusal::Incomplete)?.id.clone();
    // Of two keys of one number, whoever reported the other would go back to this.
    let above = |id: &&KeyId| id.sequence() >= active.sequence() && **id != active;
    let Some(above) = used.chain(told).filter(above).map(KeyId::sequence).max() else {
        return Ok(ring);
    };
    let highest = lost.iter().map(|it| it.ring.highest_sequence());
    lifecycle::go_above(&ring, highest.fold(above, u64::max), fresh, now)
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
fn reported(view: &View<'_>, all: &[Version<'_>], lineage: RingKeyId) -> Vec<KeyId> {
    let known = |id: &KeyId| all.iter().any(|it| it.ring.key(id).is_some());
    let union = all
        .iter()
        .fold(Vec::new(), |union, it| members::merge(&union, &it.ring.members));
    let registered = |name: &NodeName| members::registered(&union).any(|it| it.name == *name);
    let said = view
        .records
        .iter()
        .filter(|it| it.lineage == lineage)
        .filter_map(|it| {
            let id = it.said.reported.as_ref()?;
            (known(id) || registered(&it.said.name)).then_some(id)
        });
    // Its own mark is under the ring key of its copy.
    let mark = view
        .mark
        .filter(|_| view.copy.is_some_and(|it| it.lineage == lineage));
    said.chain(mark).cloned().collect()
}
