//! Two histories of one ring become one.

use kekring::keyring::KeyId;
use kekring::keyring::join::{JoinError, covers, join};
use kekring::keyring::lifecycle::Refusal;
use kekring::keyring::ring::{Activate, Key, KeyState, Ring, Tombstone};
use proptest::prelude::*;

use crate::steps::{Source, Step, changes, shown};

/// Two histories with a common beginning, and what nodes have reported in them.
#[derive(Debug)]
struct Branches {
    one: Ring,
    other: Ring,
    reported: Vec<KeyId>,
}

impl Branches {
    fn grow(common: &[Step], one: &[Step], other: &[Step]) -> Self {
        let mut source = Source::new("joins: common");
        let ring = source.ring();
        let ring = source.take_all(&ring, common);
        let one = Source::new("joins: one").take_all(&ring, one);
        let other = Source::new("joins: other").take_all(&ring, other);
        let reported = [&ring, &one, &other].map(|ring| ring.active().unwrap().id.clone());
        Self {
            one,
            other,
            reported: reported.into(),
        }
    }

    fn join(&self) -> Ring {
        let mut source = Source::new("joins: join");
        join(&self.one, &self.other, &self.reported, source.key(), source.now()).unwrap()
    }

    fn turned(self) -> Self {
        Self {
            one: self.other,
            other: self.one,
            reported: self.reported,
        }
    }
}

fn branches() -> impl Strategy<Value = Branches> {
    (changes(), changes(), changes()).prop_map(|(common, one, other)| Branches::grow(&common, &one, &other))
}

fn machine() -> impl Strategy<Value = Option<[u8; 32]>> {
    prop::option::of((1..4_u8).prop_map(|byte| [byte; 32]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_join_loses_nothing_and_covers_both_sides(branches in branches()) {
        let joined = branches.join();

        prop_assert_eq!(joined.check(), Ok(()));
        let deactivated = |key: &Key| key.state == KeyState::Deactivated;
        prop_assert!(joined.keys.iter().all(|key| deactivated(key) == key.deactivated.is_some()));
        for side in [&branches.one, &branches.other] {
            prop_assert!(covers(&joined, side));
            prop_assert!(joined.generation > side.generation);
            for tomb in &side.tombstones {
                prop_assert!(joined.tombstones.iter().any(|known| known.id == tomb.id));
            }
            for key in &side.keys {
                let dead = joined.tombstones.iter().any(|tomb| tomb.id == key.id);
                let kept = joined.key(&key.id).is_some_and(|it| it.material.expose() == key.material.expose());
                prop_assert!(dead || kept, "{} is lost", key.id);
                let only = joined.key(&key.id).is_none_or(|it| it.decrypt_only);
                prop_assert!(only || !key.decrypt_only, "{} may encrypt again", key.id);
            }
            prop_assert!(side.replaced.iter().all(|it| joined.replaced.contains(it)));
            prop_assert!(side.removed.iter().all(|it| joined.removed.contains(it)));
            prop_assert!(side.superseding.iter().all(|it| joined.superseding.contains(it)));
            for it in &side.retirements {
                let ours = joined.retirements.iter().find(|ours| ours.id == it.id).unwrap();
                prop_assert!((ours.since, ours.withdrawn) >= (it.since, it.withdrawn));
            }
        }
    }

    #[test]
    fn the_active_key_of_a_join_is_the_highest_that_was_ever_active(branches in branches()) {
        let joined = branches.join();

        let used = [&branches.one, &branches.other]
            .into_iter()
            .flat_map(|side| &side.keys)
            .filter(|key| key.activated.is_some() && !key.decrypt_only)
            .map(|key| &key.id)
            .chain(&branches.reported)
            .filter(|id| !joined.tombstones.iter().any(|tomb| tomb.id == **id));
        prop_assert_eq!(Some(&joined.active().unwrap().id), used.max());
    }

    #[test]
    fn the_order_of_the_two_sides_does_not_matter(branches in branches(), one in machine(), other in machine()) {
        let mut branches = branches;
        (branches.one.machine, branches.other.machine) = (one, other);

        let joined = branches.join();
        let turned = branches.turned().join();

        prop_assert_eq!(shown(&joined), shown(&turned));
    }

    #[test]
    fn a_history_covers_what_it_descends_from_and_no_branch_of_it(common in changes(), steps in changes()) {
        let mut source = Source::new("joins: covers");
        let ring = source.ring();
        let ring = source.take_all(&ring, &common);

        let after = source.take_all(&ring, &steps);
        let branch = Source::new("joins: branch").take(&ring, &Step::Activate);

        prop_assert!(covers(&after, &ring));
        if let Ok(branch) = branch {
            prop_assert!(!covers(&after, &branch));
        }
    }
}

#[test]
fn a_join_in_which_each_side_destroyed_the_active_key_of_the_other_is_refused() {
    let mut source = Source::new("joins: destroyed");
    let ring = source.ring();
    let (first, second) = (ring.keys[0].id.clone(), ring.keys[1].id.clone());
    let destroyed = source.now();
    let destroy = |mut ring: Ring, id: &KeyId| {
        ring.keys.retain(|key| key.id != *id);
        ring.tombstones.push(Tombstone {
            id: id.clone(),
            destroyed,
            evidence: [7; 16],
        });
        ring
    };
    let proposed = Source::new("joins: one")
        .take(&ring, &Step::Propose(Activate::Auto))
        .unwrap();
    let rotated = Source::new("joins: other").take(&ring, &Step::Activate).unwrap();
    let one = destroy(proposed, &second);
    let other = destroy(rotated, &first);

    let refused = join(&one, &other, &[], source.key(), source.now()).unwrap_err();

    assert_eq!(refused, JoinError::Refused(Refusal::Incomplete));
}

#[test]
fn a_suspension_is_known_only_where_it_was_made() {
    let mut source = Source::new("joins: suspended");
    let ring = source.ring();
    let ring = source.take(&ring, &Step::Activate).unwrap();
    let mut suspended = source.take(&ring, &Step::Activate).unwrap();
    let plain = suspended.clone();
    suspended.keys[0].suspended = true;
    suspended.keys[0].suspension = suspended.generation;
    let mut same_age = plain.clone();
    same_age.keys[0].suspension = suspended.generation;
    let rotated = source.take(&plain, &Step::Activate).unwrap();

    assert!(covers(&suspended, &plain) && covers(&suspended, &same_age));
    assert!(!covers(&plain, &suspended) && !covers(&same_age, &suspended));
    assert!(covers(&rotated, &plain) && !covers(&rotated, &suspended));
}
