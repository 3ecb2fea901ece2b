//! Several nodes and one ring: what a node does next, as a plain function of what it holds and what it last read.
//!
//! The store holds the ring's newest generation, its *head*, which changes by compare-and-swap alone; one acknowledgement
//! for each node; and, while histories have parted, the nonce of that fork and the heads that nodes have shown.
//!
//! ```text
//! a node, always     read ─▶ copy, fsync, read back ─▶ mark ─▶ acknowledge ─▶ the key may be reported
//! a rotation         due ─▶ every registered node holds the next key ─▶ activate
//!                        └▶ somebody is missing ─▶ propose, wait, say for whom ─▶ any node activates
//! a fork             the head does not cover my copy ─▶ nonce ─▶ all show their heads ─▶ any node joins
//! ```
//!
//! *Why is it safe?* A key is reported only where it is active in a durable copy. It becomes active by a commit on the head
//! in which every registered node's acknowledgement was checked, and the registrations are part of that head: a node that
//! came meanwhile moves the head, and the commit fails. A copy never loses a key, so an acknowledgement stays true,
//! whoever deletes it or puts an old one back. `tests/protocol` runs these functions through every order of events.
//!
//! No step is remembered: after each one, and after a commit whose outcome is unknown, the node reads again. What it wants
//! is named by the key that is to become active, so that no repeated attempt does it twice.

mod clock;
mod commit;
mod fork;
mod rotation;
mod view;

pub use commit::{Commit, CommitError, commit};
pub use view::{Me, Record, Rotation, Version, View};

use crate::format::generation::Hash;
use crate::format::node::{Acknowledgement, Nonce};
use crate::keyring::KeyId;
use crate::keyring::join;
use crate::keyring::lifecycle::Refusal;
use crate::keyring::members::{self, Member, Membership, NodeName};
use crate::keyring::ring::Ring;

/// An acknowledgement that says nothing new is written again after so many seconds, so that the others can compare clocks
/// and people see when a node was last there.
pub const REFRESH: u64 = 3600;

/// What a node does next. After any of them but [`Step::Wait`] and [`Step::Idle`] it reads the store again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The store holds no ring, and none of this node's was in it: somebody has to put one there.
    NoRing,
    /// Make the head this node's copy: durable, read back, proven.
    Copy,
    /// Make a generation that is shown this node's copy, as with the head: the ring key of the head was replaced, that of the
    /// copy too where there is one, and what a node has under a replaced ring key it cannot show.
    Adopt {
        /// Which.
        hash: Hash,
    },
    /// Write the active key of the copy into the mark, durably. Only then may it be reported.
    Mark,
    /// Nothing, until an operator decides.
    Refused(Refusal),
    /// Write a nonce, on condition that the head is still the one that was read and the nonce that there was is still there.
    OpenFork {
        /// The nonce to be replaced, under which this node has shown something else; none: there must be none.
        instead_of: Option<Nonce>,
    },
    /// Put the copy's generation beside the head, under its hash.
    Publish,
    /// Write this node's acknowledgement, from [`acknowledgement`].
    Acknowledge {
        /// The fork in which the copy is this node's head.
        shown: Option<Nonce>,
    },
    /// Commit a generation in which this node is registered.
    Register,
    /// Commit a generation in which these nodes are removed, as an operator says.
    Remove {
        /// Never empty; by name.
        names: Vec<NodeName>,
    },
    /// Commit the join of the head and everything shown; what an operator says is gone is removed in it.
    Join,
    /// Commit a proposal for the next key, which any node finishes.
    Propose,
    /// Commit the activation of the next key.
    Activate,
    /// For these nodes, and until the store changes.
    Wait {
        /// Never empty; by name.
        missing: Vec<Missing>,
    },
    /// All is as it should be, or it is for an operator to go on.
    Idle,
}

/// A node that is waited for, and why, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {why}")]
pub struct Missing {
    /// Its name.
    pub name: NodeName,
    /// What it has not done.
    pub why: Why,
}

/// Why a node is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// There is no acknowledgement of it, or none that verifies.
    #[error("it has acknowledged nothing that can be verified")]
    Silent,
    /// What is there is another machine's, or an earlier copy's.
    #[error("what acknowledged under its name is another instance")]
    OtherInstance,
    /// It does not hold the next key yet.
    #[error("it holds generation {generation}, which has another next key")]
    Behind {
        /// What it has acknowledged.
        generation: u64,
    },
    /// It has not shown its head in this fork.
    #[error("it has not shown its head since the histories parted")]
    NotShown,
    /// This node itself: its clock tells it that a rotation is due, and the others' clocks say otherwise.
    #[error("its clock is {seconds} s off the others', too far to start a rotation by it")]
    Clock {
        /// Ahead; negative: behind.
        seconds: i64,
    },
}

/// What this node does next.
pub fn step(view: &View<'_>) -> Step {
    // What is under a replaced ring key is not to be reported; something else is at hand then.
    if let Some(copy) = view.copy.filter(|it| view.counts(*it))
        && must_mark(copy.ring, view.mark)
    {
        return Step::Mark;
    }
    let parted = view.fork.is_some()
        || view
            .head
            .zip(view.copy)
            .is_some_and(|(head, copy)| part(view, head, copy));
    let counting = |version: Option<Version<'_>>| version.is_some_and(|it| view.counts(it));
    if (view.head.is_some() || view.copy.is_some())
        && !counting(view.head)
        && !counting(view.copy)
        && let Some(shown) = view.newest_shown()
    {
        return Step::Adopt { hash: shown.hash };
    }
    if let Some(head) = view.head.filter(|_| !parted) {
        let names = going(view, &head.ring.members);
        if !names.is_empty() {
            return Step::Remove { names };
        }
    }
    match (view.head, view.copy) {
        (Some(head), None) => match taken(view.me, &head.ring.members) {
            Some(refusal) => Step::Refused(refusal),
            None => Step::Copy,
        },
        (Some(head), Some(copy)) if !parted => together(view, head, copy),
        // Its ring key was replaced: what the copy says counts for nothing, and the head is there to be taken.
        (Some(head), Some(copy)) if !view.counts(copy) && view.counts(head) => {
            match taken(view.me, &head.ring.members) {
                Some(refusal) => Step::Refused(refusal),
                None => Step::Copy,
            }
        }
        // Whoever is registered in no history that it knows puts no ring where there is none, and shows its own when asked.
        (None, Some(copy)) if view.fork.is_none() && !is_registered(view.me, &copy.ring.members) => {
            Step::NoRing
        }
        (_, Some(copy)) => fork::step(view, copy),
        (None, None) => Step::NoRing,
    }
}

/// The key that a node with this durable copy and this mark may report. None while its mark is still to be written, and
/// none where the copy is below it.
pub fn reportable<'a>(copy: &'a Ring, mark: Option<&KeyId>) -> Option<&'a KeyId> {
    copy.active().map(|key| &key.id).filter(|id| mark == Some(*id))
}

/// What this node acknowledges for its copy; none where that has no next key.
pub fn acknowledgement(view: &View<'_>, shown: Option<Nonce>) -> Option<Acknowledgement> {
    let copy = view.copy?;
    Some(Acknowledgement {
        ring_id: copy.ring.id,
        name: view.me.name.clone(),
        instance: view.me.instance,
        generation: copy.ring.generation,
        hash: copy.hash,
        held: copy.ring.pre_active()?.id.clone(),
        reported: view.mark.cloned(),
        shown,
        format: view.me.format,
        time: view.now,
        watched: Vec::new(),
        purged: copy.ring.destroyed(),
    })
}

/// Two histories: the head does not say all that the copy says, or is the earlier of the two. A head or a copy under a ring
/// key that the other names replaced says nothing; a copy of that sort is simply behind.
fn part(view: &View<'_>, head: Version<'_>, copy: Version<'_>) -> bool {
    if head.lineage != copy.lineage {
        return view.counts(copy);
    }
    went_back(head, copy) || !join::covers(head.ring, copy.ring)
}

/// The head is no later generation than this node's copy, and another one: the store has come back from an earlier time, also
/// where nothing is lost by that. A copy never goes back, so the two must meet in a later one.
fn went_back(head: Version<'_>, copy: Version<'_>) -> bool {
    head.hash != copy.hash && head.ring.generation <= copy.ring.generation
}

/// One history: up to date, registered, acknowledged, and then a rotation.
fn together(view: &View<'_>, head: Version<'_>, copy: Version<'_>) -> Step {
    if let Some(refusal) = taken(view.me, &head.ring.members) {
        return Step::Refused(refusal);
    }
    if copy.hash != head.hash {
        return Step::Copy;
    }
    if let Some(reported) = view.mark.filter(|it| below(head.ring, it)) {
        return Step::Refused(Refusal::BelowMark(reported.clone()));
    }
    if !is_registered(view.me, &head.ring.members) {
        return Step::Register;
    }
    if !has_acknowledged(view, None) {
        return Step::Acknowledge { shown: None };
    }
    rotation::step(view, head)
}

fn must_mark(copy: &Ring, mark: Option<&KeyId>) -> bool {
    copy.active()
        .is_some_and(|key| mark.is_none_or(|it| *it < key.id))
}

/// Every history that is at hand is older than what this node has reported.
fn below(ring: &Ring, reported: &KeyId) -> bool {
    ring.active().is_some_and(|key| key.id < *reported)
}

fn is_registered(me: &Me, members: &[Member]) -> bool {
    members::registered(members).any(|it| it.name == me.name && it.instance == me.instance)
}

/// Registered nodes that an operator says are gone; never this very copy, which is here.
fn going(view: &View<'_>, members: &[Member]) -> Vec<NodeName> {
    let here = |it: &Member| it.name == view.me.name && it.instance == view.me.instance;
    let gone = members::registered(members).filter(|it| view.gone.contains(&it.name) && !here(it));
    gone.map(|it| it.name.clone()).collect()
}

/// Another instance holds this node's name, dead or alive.
fn taken(me: &Me, members: &[Member]) -> Option<Refusal> {
    let other = members::find(members, &me.name)?;
    let taken = other.membership == Membership::Registered && other.instance != me.instance;
    taken.then(|| Refusal::SecondInstance(me.name.clone()))
}

/// Whether the store holds what this node would acknowledge now.
fn has_acknowledged(view: &View<'_>, shown: Option<Nonce>) -> bool {
    let Some(ours) = acknowledgement(view, shown) else {
        return true;
    };
    let under = view.copy.map(|it| it.lineage);
    let Some(record) = view.record(&view.me.name).filter(|it| Some(it.lineage) == under) else {
        return false;
    };
    let time = record.said.time;
    time.0.abs_diff(view.now.0) < REFRESH && Acknowledgement { time, ..ours } == record.said
}

/// The format version that all registered nodes are known to read: what is written is written in that. A node that has
/// acknowledged nothing that verifies counts as one that reads what is `written` already, and no more.
fn format(view: &View<'_>, written: u32, members: &[Member]) -> u32 {
    let others = members::registered(members).filter(|it| it.name != view.me.name);
    let known = others.map(|member| view.record_of(member).map_or(written, |it| it.said.format));
    known.fold(view.me.format, u32::min).max(written)
}
