//! The nodes of a ring: registered, removed, and what a join of two histories makes of them.

use kekring::keyring::join::{covers, join, join_all};
use kekring::keyring::lifecycle::Refusal;
use kekring::keyring::members::{
    self, MAX_RECORDS, MAX_REGISTERED, Member, Membership, NodeName, registered,
};
use kekring::keyring::ring::{BrokenRule, Ring};
use proptest::prelude::*;

use crate::steps::{Source, changes, shown};

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn numbered(number: usize) -> NodeName {
    name(&format!("cp-{number}"))
}

fn registers(ring: &Ring, node: &str, instance: u8) -> Ring {
    members::register(ring, &name(node), [instance; 16]).unwrap()
}

fn join_of(one: &Ring, other: &Ring) -> Ring {
    let mut source = Source::new("nodes: join");
    join(one, other, &[], source.key(), source.now()).unwrap()
}

#[test]
fn a_name_is_a_dns_subdomain_in_lower_case() {
    let longest = format!("{}.{}", "a".repeat(200), "b".repeat(52));
    for good in ["cp-1", "a", "0", "10.0.0.1", "cp-1.example.com", &longest] {
        let name: NodeName = good.parse().unwrap();
        assert_eq!((name.as_str(), name.to_string().as_str()), (good, good));
        assert_eq!(format!("{name:?}"), good);
    }
    let longer = format!("{longest}c");
    for bad in [
        "", "CP-1", "-a", "a-", "a..b", ".a", "a.", "a_b", "a/b", "ä", "a b", "a\n", &longer,
    ] {
        assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_name_that_another_instance_holds_is_refused_until_that_one_is_removed() {
    let ring = registers(&Source::new("nodes").ring(), "cp-1", 1);

    let second = members::register(&ring, &name("cp-1"), [2; 16]).unwrap_err();
    let again = members::register(&ring, &name("cp-1"), [1; 16]).unwrap_err();
    let removed = members::remove(&ring, &name("cp-1")).unwrap();
    let after = registers(&removed, "cp-1", 2);

    assert_eq!(second, Refusal::SecondInstance(name("cp-1")));
    assert_eq!(again, Refusal::IsRegistered(name("cp-1")));
    assert_eq!(registered(&removed.members).count(), 0);
    assert_eq!(
        members::remove(&removed, &name("cp-1")).unwrap_err(),
        Refusal::UnknownNode(name("cp-1"))
    );
    let expected = Member {
        name: name("cp-1"),
        instance: [2; 16],
        since: 4,
        membership: Membership::Registered,
    };
    assert_eq!(
        (after.members.as_slice(), after.check()),
        (&[expected][..], Ok(()))
    );
}

#[test]
fn the_65th_node_is_refused_and_old_removals_make_room() {
    let mut ring = Source::new("nodes: many").ring();
    for number in 0..MAX_REGISTERED {
        ring = members::register(&ring, &numbered(number), [1; 16]).unwrap();
    }
    let refused = members::register(&ring, &numbered(999), [1; 16]).unwrap_err();
    for number in MAX_REGISTERED..MAX_RECORDS + 10 {
        ring = members::remove(&ring, &numbered(number - 1)).unwrap();
        ring = members::register(&ring, &numbered(number), [1; 16]).unwrap();
        assert_eq!(ring.check(), Ok(()));
    }

    assert_eq!(refused, Refusal::TooManyNodes);
    assert_eq!(ring.members.len(), MAX_RECORDS);
    assert_eq!(registered(&ring.members).count(), MAX_REGISTERED);
    let oldest_removal = numbered(MAX_REGISTERED - 1);
    assert!(members::find(&ring.members, &oldest_removal).is_none());
}

#[test]
fn an_older_history_does_not_bring_a_removed_node_back_and_a_later_registration_does() {
    let old = registers(
        &registers(&Source::new("nodes: back").ring(), "cp-1", 1),
        "cp-2",
        1,
    );
    let removed = members::remove(&old, &name("cp-2")).unwrap();
    let back = registers(&removed, "cp-2", 1);
    let elsewhere = registers(&old, "cp-3", 1);

    let counted = |ring: &Ring| registered(&ring.members).count();
    assert_eq!(counted(&join_of(&removed, &old)), 1);
    assert_eq!(counted(&join_of(&removed, &elsewhere)), 2);
    assert_eq!(counted(&join_of(&back, &removed)), 2);
    assert!(covers(&removed, &old) && !covers(&old, &removed));
    assert!(covers(&back, &removed) && !covers(&removed, &back));
    assert!(!covers(&removed, &elsewhere) && !covers(&elsewhere, &removed));
}

#[test]
fn of_a_removal_and_a_registration_of_one_generation_the_registration_counts() {
    let ring = Source::new("nodes: same").ring();
    let ring = registers(&ring, "cp-1", 1);
    let here = members::remove(&ring, &name("cp-1")).unwrap();
    let mut there = here.clone();
    there.members[0].membership = Membership::Registered;

    let joined = join_of(&here, &there);

    assert_eq!(registered(&joined.members).count(), 1);
    assert!(covers(&there, &here) && !covers(&here, &there));
}

#[test]
fn a_ring_with_nodes_out_of_order_or_of_the_future_breaks_a_rule() {
    let ring = registers(
        &registers(&Source::new("nodes: rules").ring(), "cp-1", 1),
        "cp-2",
        1,
    );
    let mut turned = ring.clone();
    turned.members.reverse();
    let mut twice = ring.clone();
    twice.members.push(ring.members[1].clone());
    let mut future = ring.clone();
    future.members[0].since = 99;
    let mut many = ring.clone();
    many.members = (0..=MAX_RECORDS)
        .map(|number| Member {
            name: name(&format!("n{number:04}")),
            ..ring.members[0].clone()
        })
        .collect();

    assert_eq!(ring.check(), Ok(()));
    assert_eq!(turned.check(), Err(BrokenRule::NodeOrder(name("cp-1"))));
    assert_eq!(twice.check(), Err(BrokenRule::NodeOrder(name("cp-2"))));
    assert_eq!(future.check(), Err(BrokenRule::NodeFuture(name("cp-1"))));
    assert_eq!(many.check(), Err(BrokenRule::Nodes(MAX_RECORDS + 1)));
}

/// Registers and removes nodes at random.
pub fn with_nodes(ring: Ring, changes: &[(u8, bool)]) -> Ring {
    changes.iter().fold(ring, |ring, (number, add)| {
        let node = numbered(usize::from(*number));
        let next = match add {
            true => members::register(&ring, &node, [*number; 16]),
            false => members::remove(&ring, &node),
        };
        next.unwrap_or(ring)
    })
}

pub fn node_changes() -> impl Strategy<Value = Vec<(u8, bool)>> {
    prop::collection::vec((0..4_u8, any::<bool>()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn three_histories_join_to_the_same_ring_in_any_order(
        common in changes(), branches in prop::array::uniform3((changes(), node_changes())),
    ) {
        let ring = Source::new("nodes: common").ring();
        let ring = Source::new("nodes: common steps").take_all(&ring, &common);
        let names = ["nodes: one", "nodes: two", "nodes: three"];
        let rings: Vec<Ring> = names.iter().zip(&branches).map(|(name, (steps, nodes))| {
            with_nodes(Source::new(name).take_all(&ring, steps), nodes)
        }).collect();
        let joined = |order: [usize; 3]| {
            let mut source = Source::new("nodes: fresh");
            let [one, two, three] = order.map(|at| &rings[at]);
            join_all(one, &[two, three], &[], source.key(), source.now()).map(|it| (shown(&it), it))
        };

        // Refused where each side destroyed the active key of another.
        if let Ok((text, all)) = joined([0, 1, 2]) {
            prop_assert_eq!(all.check(), Ok(()));
            prop_assert!(rings.iter().all(|ring| covers(&all, ring)));
            for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
                prop_assert_eq!(&joined(order).unwrap().0, &text);
            }
        }
    }
}
