//! Keys that are taken in from a history that counts for nothing, and what removals leave behind, across joins.

use kekring::keyring::join::{JoinError, covers, has_keys, join, join_all, lacks};
use kekring::keyring::lifecycle::{self, Refusal};
use kekring::keyring::ring::{BrokenRule, Key, KeyState, MAX_REMOVALS, Ring};
use kekring::keyring::{KeyId, Keyring, RingKeyId};
use proptest::prelude::*;

use crate::steps::{Source, Step, changes, shown};

fn take_in(ring: &Ring, others: &[&Ring]) -> Ring {
    let after = lifecycle::successor(ring).unwrap();
    lifecycle::take_in(
        &after,
        others.iter().copied(),
        Source::new("removals: taken in").now(),
    )
}

fn rotated(name: &'static str, ring: &Ring, times: usize) -> Ring {
    Source::new(name).take_all(ring, &vec![Step::Activate; times])
}

/// Whether anything but Decrypt is left to a key that only decrypts.
fn keeps_the_law(ring: &Ring) -> bool {
    let only = |key: &&Key| key.decrypt_only;
    let idle = |key: &Key| key.state == KeyState::Deactivated;
    ring.check() == Ok(()) && ring.keys.iter().filter(only).all(idle)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// One history takes in the other's keys, and the two are joined all the same.
    #[test]
    fn a_key_that_only_decrypts_in_one_history_is_neither_active_nor_next_in_any_join(
        common in changes(), one in changes(), other in changes(), third in changes(),
    ) {
        let ring = Source::new("removals: common").ring();
        let ring = Source::new("removals: steps").take_all(&ring, &common);
        let one = Source::new("removals: one").take_all(&ring, &one);
        let other = take_in(&Source::new("removals: other").take_all(&ring, &other), &[&one]);
        let third = Source::new("removals: third").take_all(&ring, &third);
        prop_assert!(keeps_the_law(&other) && has_keys(&other, &one));
        let reported: Vec<KeyId> = [&one, &other, &third].map(|it| it.active().unwrap().id.clone()).into();
        let rings = [&one, &other, &third];
        let joined = |order: [usize; 3]| {
            let mut source = Source::new("removals: join");
            let [first, rest @ ..] = order.map(|at| rings[at]);
            join_all(first, &rest, &reported, source.key(), source.now())
        };

        let all = match joined([0, 1, 2]) {
            // Nothing that was in use is left but keys that only decrypt or are destroyed.
            Err(JoinError::Refused(Refusal::Incomplete)) => return Ok(()),
            Err(why) => return Err(TestCaseError::fail(why.to_string())),
            Ok(all) => all,
        };
        prop_assert!(keeps_the_law(&all));
        for side in rings {
            prop_assert!(covers(&all, side));
            for key in side.keys.iter().filter(|key| key.decrypt_only) {
                prop_assert!(all.key(&key.id).is_none_or(|it| it.decrypt_only));
            }
        }
        for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            prop_assert_eq!(shown(&joined(order).unwrap()), shown(&all));
        }
        let later = rotated("removals: later", &all, 3);
        prop_assert!(keeps_the_law(&later) && covers(&later, &all));
    }
}

#[test]
fn keys_that_are_taken_in_decrypt_and_change_nothing_else() {
    let ours = rotated("ours", &Source::new("removals").ring(), 3);
    let theirs = rotated(
        "theirs",
        &rotated("common", &Source::new("removals").ring(), 1),
        6,
    );

    let after = take_in(&ours, &[&theirs]);

    assert_eq!(after.check(), Ok(()));
    assert!(has_keys(&after, &theirs) && !has_keys(&ours, &theirs));
    assert!(covers(&after, &ours) && !covers(&after, &theirs));
    let state = |ring: &Ring, state| {
        let found = ring.keys.iter().find(|key| key.state == state);
        found.map(|key| key.id.clone())
    };
    for role in [KeyState::Active, KeyState::PreActive] {
        assert_eq!(state(&after, role), state(&ours, role));
    }
    let taken: Vec<_> = lacks(&ours, &theirs).map(|key| &key.id).collect();
    let only: Vec<_> = after
        .keys
        .iter()
        .filter(|key| key.decrypt_only)
        .map(|key| &key.id)
        .collect();
    assert_eq!(only, taken);
    assert!(
        after
            .keys
            .iter()
            .filter(|key| key.decrypt_only)
            .all(|key| key.deactivated.is_some())
    );
    let again = take_in(&after, &[&theirs]);
    assert!(covers(&again, &after) && covers(&after, &again));
}

#[test]
fn a_key_that_is_taken_in_out_of_several_histories_stays_suspended_where_one_of_them_suspended_it() {
    let ours = Source::new("ours").ring();
    let theirs = rotated("theirs: rotated", &ours, 3);
    let mut suspended = theirs.clone();
    let key = suspended
        .keys
        .iter_mut()
        .find(|key| ours.key(&key.id).is_none())
        .unwrap();
    (key.suspended, key.suspension) = (true, suspended.generation);
    let id = key.id.clone();

    for others in [[&theirs, &suspended], [&suspended, &theirs]] {
        let after = take_in(&ours, &others);

        let key = after.key(&id).unwrap();
        assert!(key.suspended && key.suspension == after.generation);
        assert_eq!((after.check(), after.keys.len()), (Ok(()), theirs.keys.len()));
    }
}

#[test]
fn a_destroyed_key_is_not_taken_in() {
    let ours = rotated("ours", &Source::new("removals").ring(), 2);
    let mut destroyed = lifecycle::successor(&ours).unwrap();
    let key = destroyed.keys.remove(0);
    destroyed.tombstones.push(kekring::keyring::ring::Tombstone {
        id: key.id.clone(),
        destroyed: key.created,
        evidence: [1; 16],
    });

    let after = take_in(&destroyed, &[&ours]);

    assert!(after.key(&key.id).is_none() && has_keys(&after, &ours));
    assert_eq!(after.keys.len(), destroyed.keys.len());
}

#[test]
fn a_ring_remembers_4096_removals_and_one_more_is_refused_by_name() {
    let mut ring = Source::new("removals: many").ring();
    let number = |at: usize| u128::try_from(at).unwrap().to_be_bytes();
    ring.replaced = (0..MAX_REMOVALS).map(|at| RingKeyId(number(at))).collect();
    ring.removed = (0..MAX_REMOVALS).map(number).collect();
    assert_eq!(ring.check(), Ok(()));

    let mut replaced = ring.clone();
    replaced.replaced.push(RingKeyId([255; 16]));
    let mut removed = ring.clone();
    removed.removed.push([255; 16]);

    assert_eq!(replaced.check(), Err(BrokenRule::TooMany("replaced ring keys")));
    assert_eq!(removed.check(), Err(BrokenRule::TooMany("removed root slots")));
    let mut other = ring.clone();
    *other.removed.last_mut().unwrap() = [255; 16];
    assert_eq!(other.check(), Ok(()));
    let mut source = Source::new("removals: join");
    let refused = join(&ring, &other, &[], source.key(), source.now()).unwrap_err();
    assert_eq!(refused, JoinError::TooManyRemovals);
}

#[test]
fn a_key_that_is_taken_in_was_active_where_any_history_says_so() {
    let ours = Source::new("ours").ring();
    let prepared = rotated("theirs: rotated", &ours, 1);
    let active = rotated("theirs: further", &prepared, 1);
    let id = prepared.pre_active().unwrap().id.clone();

    for others in [[&prepared, &active], [&active, &prepared]] {
        let after = take_in(&ours, &others);

        assert_eq!(
            after.key(&id).unwrap().activated,
            active.active().unwrap().activated
        );
    }
}

#[test]
fn two_histories_that_remember_as_many_removals_as_there_may_be_are_joined() {
    let number = |at: usize| u128::try_from(at).unwrap().to_be_bytes();
    let half = MAX_REMOVALS / 2;
    let mut one = Source::new("removals: halves").ring();
    let mut other = one.clone();
    one.replaced = (0..half).map(|at| RingKeyId(number(at))).collect();
    other.replaced = (half..2 * half).map(|at| RingKeyId(number(at))).collect();
    let mut source = Source::new("removals: join");

    let joined = join(&one, &other, &[], source.key(), source.now()).unwrap();

    assert_eq!((joined.replaced.len(), joined.check()), (MAX_REMOVALS, Ok(())));
}

#[test]
fn a_keyring_takes_no_key_of_another_ring_beside_its_own() {
    let ours = Source::new("ours").ring();
    let further = rotated("ours: further", &ours, 1);
    let other = Source::new("another ring").ring();

    let keyring = Keyring::new(&ours).also(&further).also(&other);

    assert!(further.keys.iter().all(|key| keyring.holds(&key.id)));
    assert!(!other.keys.iter().any(|key| keyring.holds(&key.id)));
}
