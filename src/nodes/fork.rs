//! Histories that have parted: a store that was restored or emptied, a copy that went on without it. Nobody proposes or
//! activates. Each node shows its head; once every registered one has, or an operator has said that it is gone, any node joins
//! them.
//!
//! *Why a nonce?* What was shown in an earlier fork may be old by now. Under a new nonce everybody looks again.

use super::{Missing, Record, Step, Version, View, Why, going, has_acknowledged, taken};
use crate::format::generation::Hash;
use crate::keyring::lifecycle::Refusal;
use crate::keyring::members::{self, Member};

/// The next step of a node whose copy is not covered by the head, or that has read a nonce.
pub(super) fn step(view: &View<'_>, copy: Version<'_>) -> Step {
    if view.head.is_some_and(|head| view.is_mutual(head, copy)) {
        return Step::Refused(Refusal::TwoRingKeys);
    }
    // First of all: whoever reads the nonce then reads this head too, and who is registered in it. Others would join without
    // it, again and again.
    if !in_store(view, &copy.hash) {
        return Step::Publish;
    }
    let Some(nonce) = view.fork else {
        return Step::OpenFork { instead_of: None };
    };
    let mine = view.record(&view.me.name).map(|it| &it.said);
    let shown = mine.filter(|it| it.instance == view.me.instance && it.shown == Some(nonce));
    if shown.is_some_and(|it| it.hash != copy.hash) {
        // The store has come back from before this node went on: what others have shown may be as old.
        return Step::OpenFork {
            instead_of: Some(nonce),
        };
    }
    let union = everybody(view, copy);
    if let Some(refusal) = taken(view.me, &union) {
        return Step::Refused(refusal);
    }
    if !has_acknowledged(view, Some(nonce)) {
        return Step::Acknowledge { shown: Some(nonce) };
    }
    let going = going(view, &union);
    let counted = members::registered(&union).filter(|it| !going.contains(&it.name));
    let hidden = counted.filter_map(|member| {
        let why = match view.record_of(member) {
            // An etcd that was emptied has no word of anybody.
            Err(Why::Silent) => Why::NotShown,
            Err(why) => why,
            Ok(it) if it.said.shown == Some(nonce) && has_shown(view, it) => return None,
            Ok(_) => Why::NotShown,
        };
        Some(Missing {
            name: member.name.clone(),
            why,
        })
    });
    let mut missing: Vec<Missing> = hidden.collect();
    missing.sort_by(|a, b| a.name.cmp(&b.name));
    match missing.is_empty() {
        true => Step::Join,
        false => Step::Wait { missing },
    }
}

/// The nodes of every history that is known here, but for those whose ring key was replaced.
fn everybody(view: &View<'_>, copy: Version<'_>) -> Vec<Member> {
    let known = view.versions().filter(|it| view.counts(*it));
    known.fold(copy.ring.members.clone(), |all, version| {
        members::merge(&all, &version.ring.members)
    })
}

/// Whether what a node says that it has shown is there, under the ring key that vouches for its word.
fn has_shown(view: &View<'_>, record: &Record) -> bool {
    let mut there = view.head.iter().chain(view.shown);
    there.any(|it| it.hash == record.said.hash && it.lineage == record.lineage)
}

fn in_store(view: &View<'_>, hash: &Hash) -> bool {
    view.head.iter().chain(view.shown).any(|it| it.hash == *hash)
}
