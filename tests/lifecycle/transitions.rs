//! Rotations alone.

use std::collections::BTreeSet;

use kekring::keyring::lifecycle::{self, Refusal};
use kekring::keyring::ring::{Activate, BrokenRule, Key, KeyState, Proposal, Ring, UnixTime};
use kekring::keyring::{KeyId, Keyring};
use proptest::prelude::*;

use crate::steps::{Source, Step, rotations, shown};

proptest! {
    #[test]
    fn rotations_break_no_rule_and_never_go_back(steps in rotations()) {
        let mut source = Source::new("transitions");
        let mut ring = source.ring();
        let mut sequences: BTreeSet<u64> = ring.keys.iter().map(|key| key.id.sequence()).collect();

        for step in &steps {
            let before = shown(&ring);
            let outcome = source.take(&ring, step);
            prop_assert_eq!(shown(&ring), before, "a transition changes only what it returns");
            let Ok(after) = outcome else { continue };

            prop_assert_eq!(after.check(), Ok(()));
            let count = |state| after.keys.iter().filter(|key| key.state == state).count();
            prop_assert_eq!((count(KeyState::Active), count(KeyState::PreActive)), (1, 1));
            prop_assert_eq!(after.generation, ring.generation + 1);
            let (was, is) = (ring.active().unwrap(), after.active().unwrap());
            prop_assert!(is.id.sequence() >= was.id.sequence());
            prop_assert!(ring.keys.iter().all(|key| after.key(&key.id).is_some()), "a key is lost");
            for key in after.keys.iter().filter(|key| ring.key(&key.id).is_none()) {
                prop_assert!(sequences.insert(key.id.sequence()), "{} is not new", key.id);
            }
            ring = after;
        }
    }

    #[test]
    fn what_was_wrapped_under_any_key_opens_after_all_rotations(steps in rotations()) {
        let mut source = Source::new("old data");
        let mut ring = source.ring();
        let mut wrapped = Vec::new();

        for (number, step) in steps.iter().enumerate() {
            let plaintext = format!("seed {number}").into_bytes();
            let (bytes, id) = Keyring::new(&ring).encrypt(None, &plaintext).unwrap();
            prop_assert_eq!(&id, &ring.active().unwrap().id);
            wrapped.push((id, bytes, plaintext));
            ring = source.take(&ring, step).unwrap_or(ring);
        }

        let keyring = Keyring::new(&ring);
        for (id, bytes, plaintext) in wrapped {
            let opened = keyring.decrypt(id.as_str(), &bytes).unwrap();
            prop_assert_eq!(opened.expose(), plaintext);
        }
    }

    #[test]
    fn a_rotation_activates_the_key_that_was_prepared_before(steps in rotations()) {
        let mut source = Source::new("standby");
        let ring = source.ring();
        let ring = source.take_all(&ring, &steps);
        let waiting = ring.pre_active().unwrap().id.clone();

        let after = source.take(&ring, &Step::Activate).unwrap();

        prop_assert_eq!(&after.active().unwrap().id, &waiting);
        prop_assert_eq!(&after.proposal, &None);
        prop_assert!(after.pre_active().unwrap().id.sequence() > waiting.sequence());
    }

    #[test]
    fn a_fresh_proposal_passes_over_the_key_that_was_prepared(steps in rotations()) {
        let mut source = Source::new("fresh");
        let ring = source.ring();
        let ring = source.take_all(&ring, &steps);
        let (active, waiting) = (ring.active().unwrap().id.clone(), ring.pre_active().unwrap().id.clone());

        let outcome = source.take(&ring, &Step::Propose(Activate::Auto));

        match (&ring.proposal, outcome) {
            (Some(proposal), Err(refusal)) => {
                prop_assert_eq!(refusal, Refusal::InFlight(proposal.key_id.clone()));
            }
            (None, Ok(after)) => {
                let (passed, next) = (after.key(&waiting).unwrap(), after.pre_active().unwrap());
                prop_assert_eq!((passed.state, passed.activated), (KeyState::Deactivated, None));
                prop_assert_eq!(&after.active().unwrap().id, &active);
                prop_assert_eq!(&after.proposal.as_ref().unwrap().key_id, &next.id);
                prop_assert!(ring.key(&next.id).is_none());
            }
            (proposal, outcome) => panic!("{proposal:?} and then {outcome:?}"),
        }
    }
}

#[test]
fn a_suspended_next_key_is_not_activated() {
    let mut source = Source::new("suspended");
    let mut ring = source.ring();
    (ring.keys[1].suspended, ring.keys[1].suspension) = (true, 1);

    let refused = source.take(&ring, &Step::Activate).unwrap_err();

    assert_eq!(refused, Refusal::NextSuspended(ring.keys[1].id.clone()));
}

#[test]
fn numbers_that_are_used_up_refuse_and_do_not_wrap() {
    let mut source = Source::new("exhausted");
    let mut last_generation = source.ring();
    last_generation.generation = u64::MAX;

    for step in [Step::Activate, Step::Propose(Activate::Manual)] {
        assert_eq!(
            source.take(&last_generation, &step).unwrap_err(),
            Refusal::Exhausted
        );
    }
    assert_eq!(
        lifecycle::successor(&last_generation).unwrap_err(),
        Refusal::Exhausted
    );
}

#[test]
fn where_the_reported_key_is_the_active_one_what_was_lost_is_given_up_and_no_key_changes() {
    let mut source = Source::new("given up");
    let ring = source.ring();
    let reported = ring.active().unwrap().id.clone();
    let fresh = [source.key(), source.key()];

    let after = lifecycle::accept(&ring, 9, Some(&reported), fresh, source.now()).unwrap();

    assert_eq!(after.generation, 10);
    let states =
        |ring: &Ring| -> Vec<_> { ring.keys.iter().map(|key| (key.id.clone(), key.state)).collect() };
    assert_eq!(states(&after), states(&ring));
}

#[test]
fn each_key_that_a_rotation_changes_says_in_which_generation_and_when() {
    let mut source = Source::new("changed");
    let ring = source.ring();
    let now = source.now();

    let after = lifecycle::activate(&ring, source.key(), now).unwrap();

    let [was, is, next] = after.keys.as_slice() else {
        panic!("{}", shown(&after));
    };
    assert_eq!((was.changed, was.deactivated), (2, Some(now)));
    assert_eq!((is.changed, is.activated), (2, Some(now)));
    assert_eq!((next.changed, next.created), (2, now));
}

#[test]
fn the_key_that_was_prepared_is_proposed_once_and_not_while_it_is_suspended() {
    let mut source = Source::new("proposed");
    let mut ring = source.ring();
    let waiting = ring.pre_active().unwrap().id.clone();

    let after = lifecycle::propose(&ring, [7; 16], Activate::Manual).unwrap();
    let again = lifecycle::propose(&after, [8; 16], Activate::Auto).unwrap_err();
    (ring.keys[1].suspended, ring.keys[1].suspension) = (true, 1);
    let suspended = lifecycle::propose(&ring, [7; 16], Activate::Auto).unwrap_err();

    let expected = Proposal {
        id: [7; 16],
        activate: Activate::Manual,
        key_id: waiting.clone(),
    };
    assert_eq!((after.proposal, after.generation), (Some(expected), 2));
    assert_eq!(again, Refusal::InFlight(waiting.clone()));
    assert_eq!(suspended, Refusal::NextSuspended(waiting));
}

#[test]
fn what_is_no_change_of_a_suspension_is_refused_by_its_name() {
    let mut source = Source::new("suspensions");
    let ring = source.ring();
    let ring = source.take(&ring, &Step::Activate).unwrap();
    let [first, active, _] = [0, 1, 2].map(|at: usize| ring.keys[at].id.clone());
    let suspended = lifecycle::suspend(&ring, &first, true).unwrap();
    let stranger = Source::new("stranger").ring().keys[0].id.clone();

    let refused = |ring: &Ring, id: &KeyId, to: bool| lifecycle::suspend(ring, id, to).unwrap_err();

    assert_eq!(
        refused(&suspended, &first, true),
        Refusal::IsSuspended(first.clone())
    );
    assert_eq!(
        refused(&ring, &first, false),
        Refusal::IsNotSuspended(first.clone())
    );
    assert_eq!(refused(&ring, &active, true), Refusal::IsActive(active.clone()));
    assert_eq!(
        refused(&ring, &stranger, true),
        Refusal::Unknown(stranger.clone())
    );
}

#[test]
fn the_next_key_that_becomes_active_again_by_word_is_as_if_it_had_been_activated_now() {
    let mut source = Source::new("again");
    let ring = source.ring();
    let ring = source.take_all(&ring, &[Step::Activate, Step::Activate]);
    let ring = lifecycle::propose(&ring, [7; 16], Activate::Auto).unwrap();
    let reported = ring.pre_active().unwrap().id.clone();
    let (fresh, now) = ([source.key(), source.key()], UnixTime(1_800_000_000));

    let after = lifecycle::accept(&ring, 20, Some(&reported), fresh, now).unwrap();

    assert_eq!((after.check(), after.generation), (Ok(()), 21));
    assert_eq!(after.proposal, None);
    let active = after.active().unwrap();
    assert_eq!(active.id, reported);
    assert_eq!(
        (active.changed, active.activated, active.deactivated),
        (21, Some(now), None)
    );
    let [first, .., was] = &ring.keys[..3] else {
        panic!("{}", shown(&ring));
    };
    let key = |id: &KeyId| after.key(id).unwrap();
    // One that was deactivated before is not touched.
    let times = |key: &Key| (key.state, key.changed, key.activated, key.deactivated);
    assert_eq!(times(key(&first.id)), times(first));
    assert_eq!((key(&was.id).changed, key(&was.id).deactivated), (21, Some(now)));
}

#[test]
fn a_next_key_of_the_number_of_the_active_one_is_not_newer() {
    let ring = Source::new("one number").ring();
    let mut twins = ring.clone();
    let next = &mut twins.keys[1];
    next.id = KeyId::derive(ring.id, 1, &next.material);
    twins.keys.sort_by(|a, b| a.id.cmp(&b.id));

    let expected = BrokenRule::NextIsOlder {
        next: twins.pre_active().unwrap().id.clone(),
        active: twins.active().unwrap().id.clone(),
    };
    assert_eq!(twins.check(), Err(expected));
}
