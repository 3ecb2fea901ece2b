//! A rotation on several nodes: the next key becomes active once every registered node holds it.

use super::{Missing, Rotation, Step, Version, View, Why, clock};
use crate::keyring::KeyId;
use crate::keyring::lifecycle::Refusal;
use crate::keyring::members;
use crate::keyring::ring::{Activate, Ring};

/// The next step of a node that is up to date and has acknowledged the head.
pub(super) fn step(view: &View<'_>, at: Version<'_>) -> Step {
    let head = at.ring;
    let Some(next) = head.pre_active() else {
        return Step::Refused(Refusal::Incomplete);
    };
    let proposal = head.proposal.as_ref();
    let started = proposal.is_some_and(|it| it.activate == Activate::Auto);
    let asked = matches!(&view.rotation, Rotation::Asked(key) if *key == next.id);
    // What an operator prepared by hand is not due by any schedule.
    let due = view.rotation == Rotation::Due && proposal.is_none();
    if !(started || asked || due) {
        return Step::Idle;
    }
    if next.suspended {
        return Step::Refused(Refusal::NextSuspended(next.id.clone()));
    }
    if at.unfinished {
        return Step::Refused(Refusal::RemovalUnfinished);
    }
    if !(started || asked)
        && let Some(seconds) = clock::off(view, head)
    {
        let name = view.me.name.clone();
        let why = Why::Clock { seconds };
        return Step::Wait {
            missing: vec![Missing { name, why }],
        };
    }
    let missing = without_key(view, head, &next.id);
    match missing.is_empty() {
        true => Step::Activate,
        false if proposal.is_none() => Step::Propose,
        false => Step::Wait { missing },
    }
}

/// Registered nodes that have not acknowledged that they hold `next`. Whether they are alive does not matter: a node that
/// is cut off may still have an API server that reads.
fn without_key(view: &View<'_>, head: &Ring, next: &KeyId) -> Vec<Missing> {
    let counted = members::registered(&head.members).filter(|it| !view.without.contains(&it.name));
    let missing = counted.filter_map(|member| {
        let why = match view.record_of(member) {
            Err(why) => why,
            Ok(record) if record.said.held == *next => return None,
            Ok(record) => Why::Behind {
                generation: record.said.generation,
            },
        };
        Some(Missing {
            name: member.name.clone(),
            why,
        })
    });
    missing.collect()
}
