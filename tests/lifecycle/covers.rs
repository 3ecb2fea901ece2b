//! When one ring says all that another one says: each thing that only the other one says is enough that it does not.

use kekring::keyring::join::{covers, has_keys, join, lacks};
use kekring::keyring::members::{self, MAX_RECORDS, Member, Membership};
use kekring::keyring::retirement::Retirement;
use kekring::keyring::ring::{Activate, Key, KeyState, Ring, Tombstone, UnixTime};
use kekring::keyring::{KeyId, RingId, RingKeyId, lifecycle};

use crate::steps::{Source, Step};

/// What another ring says beyond this one, and how it comes to say that.
type Change<'a> = (&'a str, &'a dyn Fn(&mut Ring));

const NOW: UnixTime = UnixTime(1_790_000_000);

fn retirement(ring: &Ring, since: u64, withdrawn: bool) -> Retirement {
    Retirement {
        id: [1; 16],
        since,
        withdrawn,
        keys: vec![ring.keys[0].id.clone()],
        not_before: NOW,
        evidence: [2; 32],
        by: "an operator".into(),
        skipped: Vec::new(),
    }
}

fn node(number: usize) -> Member {
    Member {
        name: format!("cp-{number:03}").parse().unwrap(),
        instance: [1; 16],
        since: 1,
        membership: Membership::Registered,
    }
}

/// A ring of two rotations.
fn rotated() -> Ring {
    let mut source = Source::new("covers");
    let ring = source.ring();
    source.take_all(&ring, &[Step::Activate, Step::Activate])
}

#[test]
fn a_ring_says_all_of_another_one_only_where_it_says_each_thing() {
    let ring = rotated();
    let stranger = Source::new("covers: stranger").ring().keys[0].id.clone();
    let changes: [Change<'_>; 9] = [
        ("another ring", &|it| it.id = RingId([9; 16])),
        ("a node", &|it| it.members.push(node(1))),
        ("a retirement", &|it| {
            it.retirements.push(retirement(it, 1, false));
        }),
        ("a replaced ring key", &|it| it.replaced.push(RingKeyId([1; 16]))),
        ("a removed slot", &|it| it.removed.push([1; 16])),
        ("a destroyed key", &|it| {
            it.tombstones.push(Tombstone {
                id: stranger.clone(),
                destroyed: NOW,
                evidence: [1; 16],
            });
        }),
        ("a later state", &|it| it.keys[0].changed += 1),
        ("a later suspension", &|it| it.keys[0].suspension += 1),
        ("a key that only decrypts", &|it| it.keys[0].decrypt_only = true),
    ];
    assert!(covers(&ring, &ring));

    for (what, change) in changes {
        let mut other = ring.clone();
        change(&mut other);
        assert!(!covers(&ring, &other), "{what}");
    }
}

#[test]
fn a_retirement_is_said_by_a_record_that_is_as_late() {
    let ring = rotated();
    let with = |since: u64, withdrawn: bool| {
        let mut ring = ring.clone();
        ring.retirements = vec![retirement(&ring, since, withdrawn)];
        ring
    };

    assert!(covers(&with(2, false), &with(2, false)));
    assert!(covers(&with(3, false), &with(2, true)) && covers(&with(2, true), &with(2, false)));
    assert!(!covers(&with(1, true), &with(2, false)) && !covers(&with(2, false), &with(2, true)));
}

#[test]
fn a_key_of_the_same_name_and_other_bytes_is_lacking() {
    let ring = rotated();
    let mut other = ring.clone();
    other.keys[0].material = Source::new("covers: other bytes").key().into();

    let lacking: Vec<_> = lacks(&ring, &other).map(|key| &key.id).collect();

    assert_eq!(lacking, [&ring.keys[0].id]);
    assert!(!has_keys(&ring, &other) && !covers(&ring, &other));
}

fn next(ring: &Ring) -> Option<&KeyId> {
    ring.pre_active().map(|key| &key.id)
}

fn join_of(one: &Ring, other: &Ring) -> Ring {
    let mut source = Source::new("covers: join");
    join(one, other, &[], source.key(), source.now()).unwrap()
}

#[test]
fn of_two_proposals_the_one_of_the_higher_key_goes_on() {
    let ring = Source::new("covers").ring();
    let proposed = |name, ring: &Ring| {
        Source::new(name)
            .take(ring, &Step::Propose(Activate::Auto))
            .unwrap()
    };
    let lower = proposed("covers: lower", &ring);
    let rotated = Source::new("covers: rotated")
        .take(&ring, &Step::Activate)
        .unwrap();
    let higher = proposed("covers: higher", &rotated);

    for joined in [join_of(&lower, &higher), join_of(&higher, &lower)] {
        assert_eq!(joined.proposal, higher.proposal);
        assert_eq!(next(&joined), next(&higher));
    }
}

#[test]
fn a_key_was_active_since_the_earlier_of_two_activations() {
    let ring = Source::new("covers").ring();
    let active =
        |at: u64| lifecycle::activate(&ring, Source::new("covers: next").key(), UnixTime(at)).unwrap();

    let joined = join_of(&active(1_790_000_200), &active(1_790_000_100));

    assert_eq!(joined.active().unwrap().activated, Some(UnixTime(1_790_000_100)));
}

#[test]
fn a_key_that_was_deactivated_unused_is_never_the_next_one_again() {
    let mut ring = rotated();
    ring.generation += 1;
    let unused = Key {
        state: KeyState::Deactivated,
        deactivated: Some(NOW),
        ..lifecycle::propose_fresh(
            &ring,
            Source::new("covers: unused").key(),
            [1; 16],
            Activate::Auto,
            NOW,
        )
        .unwrap()
        .keys
        .pop()
        .unwrap()
    };
    ring.keys.push(unused.clone());
    ring.generation = unused.changed;
    assert_eq!(ring.check(), Ok(()));

    let joined = join_of(&ring, &ring);

    assert_eq!(joined.check(), Ok(()));
    assert_eq!(next(&joined), next(&ring));
}

#[test]
fn histories_with_as_many_nodes_as_there_may_be_are_joined() {
    let ring = rotated();
    let with = |numbers: std::ops::Range<usize>| {
        let mut ring = ring.clone();
        ring.members = numbers.map(node).collect();
        ring
    };

    let joined = join_of(&with(0..MAX_RECORDS / 2), &with(MAX_RECORDS / 2..MAX_RECORDS));

    assert_eq!(members::registered(&joined.members).count(), MAX_RECORDS);
    assert_eq!(joined.check(), Ok(()));
}

#[test]
fn the_destroyed_keys_of_a_ring_are_told_apart_by_their_digest_whatever_their_times() {
    let mut ring = rotated();
    let id = |at: usize| rotated().keys[at].id.clone();
    let mut digest = |ids: &[KeyId], at: u64| {
        let tomb = |id: &KeyId| Tombstone {
            id: id.clone(),
            destroyed: UnixTime(at),
            evidence: [1; 16],
        };
        ring.tombstones = ids.iter().map(tomb).collect();
        ring.destroyed()
    };

    assert_eq!(digest(&[], 1), None);
    let one = digest(&[id(0)], 1);
    assert!(one.is_some() && one == digest(&[id(0)], 2));
    assert_ne!(one, digest(&[id(1)], 1));
    assert_ne!(one, digest(&[id(0), id(1)], 1));
}
