//! Single steps where the ring key was replaced: what is under an earlier one counts for nothing, whatever its number.

use kekring::format::node::Acknowledgement;
use kekring::keyring::lifecycle::{self, Refusal};
use kekring::keyring::members;
use kekring::keyring::ring::{Activate, Ring, Tombstone};
use kekring::keyring::{KeyId, RingKeyId, SlotId, join};
use kekring::nodes::{self, Commit, Record, Rotation, Step, Version, View, Why};

use crate::SMALL;
use crate::model::{Action, Bounds, Model, Rules};
use crate::scene::{FIRST_KEY, FORK, NOW, Scene, key, keys, me, name, ring, version, waits};
use crate::search::Search;

const SECOND_KEY: RingKeyId = RingKeyId([2; 16]);
const THIRD_KEY: RingKeyId = RingKeyId([3; 16]);

/// The generation in which a root was removed, and the ring key with it replaced.
fn removed(base: &Ring, replaced: RingKeyId, slot: u8) -> Ring {
    let mut ring = lifecycle::successor(base).unwrap();
    join::remember(&mut ring, &[replaced], &[slot_id(slot)]);
    ring.superseding = vec![vec![slot; 61]];
    ring
}

fn slot_id(byte: u8) -> SlotId {
    [byte; 16]
}

fn under(lineage: RingKeyId, ring: &Ring, hash: u8) -> Version<'_> {
    Version {
        lineage,
        ..version(ring, hash)
    }
}

/// What somebody makes who has a replaced ring key: a key of his own, active; a node of his own; a key of the ring destroyed
/// and another suspended, a proposal; and a number above all.
fn forged(base: &Ring) -> Ring {
    let ring = Ring {
        generation: 1_000_000,
        ..base.clone()
    };
    let ring = members::register(&ring, &name(9), [99; 16]).unwrap();
    let ring = lifecycle::activate(&ring, key(66), NOW).unwrap();
    let mut ring = lifecycle::activate(&ring, key(67), NOW).unwrap();
    let destroyed = ring.keys.remove(0);
    ring.tombstones = vec![Tombstone {
        id: destroyed.id,
        destroyed: NOW,
        evidence: [6; 16],
    }];
    let generation = ring.generation;
    (ring.keys[0].suspended, ring.keys[0].suspension) = (true, generation);
    let ring = lifecycle::propose(&ring, [66; 16], Activate::Auto).unwrap();
    assert_eq!(ring.check(), Ok(()));
    ring
}

/// What `number` acknowledges that holds this version, and has shown it in the fork.
fn shows(number: u8, version: Version<'_>, mark: Option<&KeyId>) -> Record {
    let me = me(number);
    let scene = Scene::of(version.ring.clone());
    let view = View {
        me: &me,
        copy: Some(version),
        mark: Some(mark.unwrap_or(&scene.mark)),
        ..scene.view()
    };
    Record {
        said: nodes::acknowledgement(&view, Some(FORK)).unwrap(),
        seen: None,
        lineage: version.lineage,
    }
}

fn joined(view: &View<'_>) -> Commit {
    assert_eq!(nodes::step(view), Step::Join);
    let commit = nodes::commit(view, &Step::Join, keys(), [4; 16], NOW).unwrap();
    assert_eq!(commit.ring.check(), Ok(()));
    commit
}

fn sequence(ring: &Ring) -> u64 {
    ring.active().unwrap().id.sequence()
}

#[test]
fn a_head_under_a_replaced_ring_key_is_joined_over_within_the_rings_own_whatever_its_number() {
    let old = ring(2);
    let ours = removed(&old, FIRST_KEY, 7);
    let theirs = forged(&old);
    let scene = Scene::of(ours.clone());
    let mut view = View {
        copy: Some(under(SECOND_KEY, &ours, 2)),
        head: Some(version(&theirs, 6)),
        ..scene.view()
    };

    assert_eq!(nodes::step(&view), Step::Publish);
    let shown = [under(SECOND_KEY, &ours, 2)];
    view.shown = &shown;
    assert_eq!(nodes::step(&view), Step::OpenFork { instead_of: None });
    view.fork = Some(FORK);
    assert_eq!(nodes::step(&view), Step::Acknowledge { shown: Some(FORK) });
    let both = [1, 2].map(|number| shows(number, shown[0], None));
    view.records = &both[..1];
    // For the nodes of the ring, and for none that a replaced generation names.
    assert_eq!(waits(&nodes::step(&view)), [(2, Why::NotShown)]);
    view.records = &both;
    let commit = joined(&view);

    assert_eq!(commit.ring.generation, ours.generation + 1);
    assert_eq!(
        (commit.head, commit.parents, commit.joined, commit.lost),
        (Some([6; 32]), vec![[2; 32]], vec![[2; 32]], vec![])
    );
    let ring = commit.ring;
    assert_eq!((ring.tombstones.len(), &ring.proposal), (0, &None));
    assert!(ring.keys.iter().all(|it| !it.suspended));
    let ids = |ring: &Ring| ring.keys.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&ring), ids(&ours));
    assert_eq!(ring.members, ours.members);
    assert_eq!(ring.replaced, [FIRST_KEY]);
}

#[test]
fn what_is_shown_under_a_replaced_ring_key_has_no_part_in_a_join() {
    let old = ring(2);
    let ours = removed(&old, FIRST_KEY, 7);
    let later = lifecycle::activate(&ours, key(3), NOW).unwrap();
    let theirs = forged(&old);
    let scene = Scene::of(later.clone());
    let shown = [version(&theirs, 6), under(SECOND_KEY, &later, 3)];
    let records = [1, 2].map(|number| shows(number, shown[1], None));
    let view = View {
        copy: Some(shown[1]),
        head: Some(under(SECOND_KEY, &ours, 2)),
        shown: &shown,
        records: &records,
        fork: Some(FORK),
        ..scene.view()
    };

    let commit = joined(&view);

    assert_eq!(commit.ring.generation, later.generation + 1);
    assert_eq!(commit.parents, [[2; 32], [3; 32]]);
    assert_eq!(commit.joined, [[3; 32]]);
    let ours = (
        &commit.ring.tombstones,
        &commit.ring.proposal,
        &commit.ring.members,
    );
    assert_eq!(ours, (&later.tombstones, &later.proposal, &later.members));
    assert_eq!(sequence(&commit.ring), 2);
}

#[test]
fn a_node_that_was_away_while_the_ring_key_was_replaced_copies_the_head_whatever_its_own_number() {
    let old = ring(2);
    let head = removed(&old, FIRST_KEY, 7);
    let theirs = forged(&old);
    let scene = Scene::of(old);
    for parted in [None, Some(FORK)] {
        for mark in [None, theirs.active().map(|it| &it.id)] {
            let view = View {
                copy: Some(version(&theirs, 6)),
                mark,
                head: Some(under(SECOND_KEY, &head, 2)),
                fork: parted,
                ..scene.view()
            };

            // And never first writes a mark that lets a key of such a copy be reported.
            assert_eq!(nodes::step(&view), Step::Copy);
        }
    }
    let alone = View {
        copy: Some(version(&theirs, 6)),
        head: Some(under(SECOND_KEY, &head, 2)),
        ..scene.view()
    };
    let second = View {
        copy: None,
        mark: None,
        ..alone
    };
    assert_eq!(nodes::step(&second), Step::Copy);
}

#[test]
fn a_node_whose_copy_and_head_are_replaced_adopts_the_newest_that_is_shown_of_the_rings_own() {
    let old = ring(2);
    let first = removed(&old, FIRST_KEY, 7);
    let newer = lifecycle::successor(&first).unwrap();
    let theirs = forged(&old);
    let scene = Scene::of(old.clone());
    let shown = [
        version(&theirs, 8),
        under(SECOND_KEY, &newer, 3),
        under(SECOND_KEY, &first, 2),
    ];
    let mut view = View {
        head: Some(version(&theirs, 6)),
        shown: &shown,
        fork: Some(FORK),
        ..scene.view()
    };

    assert_eq!(nodes::step(&view), Step::Adopt { hash: [3; 32] });
    let without_copy = View {
        copy: None,
        mark: None,
        ..view.clone()
    };
    assert_eq!(nodes::step(&without_copy), Step::Adopt { hash: [3; 32] });
    let emptied = View {
        head: None,
        ..view.clone()
    };
    assert_eq!(nodes::step(&emptied), Step::Adopt { hash: [3; 32] });
    let mark = newer.active().unwrap().id.clone();
    (view.copy, view.mark) = (Some(shown[1]), Some(&mark));
    assert_eq!(nodes::step(&view), Step::Acknowledge { shown: Some(FORK) });
    assert_eq!(nodes::acknowledgement(&view, Some(FORK)).unwrap().hash, [3; 32]);
    // Nothing is done to a head that does not count.
    let gone = [name(2)];
    let operator = View {
        copy: None,
        mark: None,
        gone: &gone,
        ..view
    };
    assert_eq!(nodes::step(&operator), Step::Adopt { hash: [3; 32] });
}

/// Two histories of three nodes, and a root removed in each: the first has used more keys than the second.
struct Parted {
    one: Ring,
    other: Ring,
}

impl Parted {
    fn new() -> Self {
        let old = ring(2);
        let mut one = removed(&old, FIRST_KEY, 7);
        for byte in [31, 32, 33] {
            one = lifecycle::activate(&one, key(byte), NOW).unwrap();
        }
        let mut other = removed(&old, FIRST_KEY, 8);
        for byte in [41, 42] {
            other = lifecycle::activate(&other, key(byte), NOW).unwrap();
        }
        Self { one, other }
    }
}

#[test]
fn of_two_removals_in_parted_histories_the_first_join_wins_and_the_others_copy_it() {
    let Parted { one, other } = Parted::new();
    let shown = [under(SECOND_KEY, &one, 2), under(THIRD_KEY, &other, 3)];
    let records = [shows(1, shown[0], None), shows(2, shown[1], None)];
    let scenes = [&one, &other].map(|it| Scene::of(it.clone()));
    let marks = [&one, &other].map(|it| it.active().unwrap().id.clone());
    for winner in [0, 1] {
        let loser = 1 - winner;
        let who = [me(1), me(2)];
        let view_of = |node: usize, head| View {
            me: &who[node],
            copy: Some(shown[node]),
            mark: Some(&marks[node]),
            head: Some(head),
            shown: &shown,
            records: &records,
            fork: Some(FORK),
            ..scenes[node].view()
        };
        let view = view_of(winner, shown[1]);

        let commit = joined(&view);

        let (ours, theirs) = (shown[winner], shown[loser]);
        assert_eq!(
            (commit.parents, commit.lost),
            (vec![ours.hash], vec![theirs.lineage])
        );
        // The root that is gone there must go here.
        assert_eq!(commit.ring.removed, [slot_id(7), slot_id(8)]);
        assert_eq!(commit.ring.replaced, [FIRST_KEY, theirs.lineage]);
        let has = |id: &KeyId| commit.ring.key(id).is_some();
        assert!(ours.ring.keys.iter().all(|it| has(&it.id)));
        assert!(!has(&marks[loser]));
        let highest = marks.iter().map(KeyId::sequence).max().unwrap();
        let active = sequence(&commit.ring);
        match winner {
            0 => assert_eq!(active, highest),
            _ => assert!(active > highest, "{active}"),
        }
        assert!(
            commit
                .superseded
                .contains(&vec![7 + u8::try_from(loser).unwrap(); 61])
        );

        // Whoever was in the other history is behind now, and is no fork.
        let head = under(ours.lineage, &commit.ring, 9);
        let behind = View {
            fork: None,
            ..view_of(loser, head)
        };
        assert_eq!(nodes::step(&behind), Step::Copy);
        let following = View {
            fork: None,
            ..view_of(winner, head)
        };
        assert_eq!(nodes::step(&following), Step::Copy);
    }
}

#[test]
fn a_join_goes_above_what_a_node_reported_under_a_ring_key_that_lost() {
    let old = ring(2);
    let one = removed(&old, FIRST_KEY, 7);
    let other = removed(&old, FIRST_KEY, 8);
    let shown = [under(SECOND_KEY, &one, 2), under(THIRD_KEY, &other, 3)];
    let later = KeyId::derive(one.id, 8, &key(80));
    let same = KeyId::derive(one.id, 1, &key(81));
    let scene = Scene::of(one.clone());
    for (told, active) in [(None, 1), (Some(&later), 9), (Some(&same), 3)] {
        let records = [shows(1, shown[0], None), shows(2, shown[1], told)];
        let view = View {
            copy: Some(shown[0]),
            head: Some(shown[0]),
            shown: &shown,
            records: &records,
            fork: Some(FORK),
            ..scene.view()
        };

        let commit = joined(&view);

        assert_eq!(sequence(&commit.ring), active, "{told:?}");
        // With a key that is active for the first time goes the word that the earlier ring key is replaced.
        let left = commit.superseded.contains(&vec![7; 61]);
        assert_eq!(
            (left, commit.ring.superseding.is_empty()),
            (told.is_some(), told.is_some())
        );
    }
}

#[test]
fn two_ring_keys_that_each_name_the_other_replaced_are_not_joined_over_each_other_for_ever() {
    let Parted { mut one, mut other } = Parted::new();
    join::remember(&mut one, &[THIRD_KEY], &[]);
    join::remember(&mut other, &[SECOND_KEY], &[]);
    let shown = [under(SECOND_KEY, &one, 2), under(THIRD_KEY, &other, 3)];
    let records = [shows(1, shown[0], None), shows(2, shown[1], None)];
    let scene = Scene::of(one.clone());
    let view = View {
        copy: Some(shown[0]),
        head: Some(shown[1]),
        shown: &shown,
        records: &records,
        fork: Some(FORK),
        ..scene.view()
    };

    assert_eq!(nodes::step(&view), Step::Refused(Refusal::TwoRingKeys));
    // The history that is in the store goes on, and its own ring key is never among those that it names.
    let first = View {
        head: Some(shown[0]),
        ..view
    };
    assert_eq!(joined(&first).ring.replaced, [FIRST_KEY, THIRD_KEY]);
}

#[test]
fn an_acknowledgement_under_a_replaced_ring_key_decides_nothing() {
    let old = ring(3);
    let ours = removed(&old, FIRST_KEY, 7);
    let head = under(SECOND_KEY, &ours, 2);
    let honest = |number| shows_nothing(shows(number, head, None));
    let forged = |number| Record {
        lineage: FIRST_KEY,
        ..honest(number)
    };
    let scene = Scene::of(ours.clone());
    let mut view = View {
        copy: Some(head),
        head: Some(head),
        records: &[],
        ..scene.view()
    };
    // Its own word, in his hand: it is written again.
    let own = [forged(1)];
    view.records = &own;
    assert_eq!(nodes::step(&view), Step::Acknowledge { shown: None });
    let records = [honest(1), forged(2), forged(3)];
    view.records = &records;
    assert_eq!(nodes::step(&view), Step::Propose);
    let proposed = lifecycle::propose(&ours, [4; 16], Activate::Auto).unwrap();
    let after = under(SECOND_KEY, &proposed, 4);
    let hold = |record: Record| Record {
        said: Acknowledgement {
            generation: proposed.generation,
            hash: [4; 32],
            ..record.said
        },
        ..record
    };
    let records = [honest(1), forged(2), honest(3)].map(hold);
    let waiting = View {
        copy: Some(after),
        head: Some(after),
        records: &records,
        ..view.clone()
    };
    assert_eq!(waits(&nodes::step(&waiting)), [(2, Why::Silent)]);
    // Nor with another history beside the head, whose ring key nobody replaced.
    let other = removed(&old, FIRST_KEY, 8);
    let beside = [under(THIRD_KEY, &other, 3)];
    let records = records.clone().map(|it| match it.lineage {
        FIRST_KEY => Record {
            lineage: THIRD_KEY,
            ..it
        },
        _ => it,
    });
    let waiting = View {
        shown: &beside,
        records: &records,
        ..waiting
    };
    assert_eq!(waits(&nodes::step(&waiting)), [(2, Why::Silent)]);
}

fn shows_nothing(record: Record) -> Record {
    let said = Acknowledgement {
        shown: None,
        ..record.said
    };
    Record { said, ..record }
}

#[test]
fn no_join_takes_it_from_a_replaced_ring_key_that_a_node_has_shown_its_head() {
    let old = ring(3);
    let ours = removed(&old, FIRST_KEY, 7);
    let theirs = forged(&old);
    let shown = [version(&theirs, 6), under(SECOND_KEY, &ours, 2)];
    let scene = Scene::of(ours.clone());
    // By him in his own words, and of what the ring has in his hand.
    let forged = [
        shows(2, shown[0], None),
        Record {
            lineage: FIRST_KEY,
            ..shows(3, shown[1], None)
        },
    ];
    let [second, third] = forged;
    let records = [shows(1, shown[1], None), second, third];
    let view = View {
        copy: Some(shown[1]),
        head: Some(version(&theirs, 8)),
        shown: &shown,
        records: &records,
        fork: Some(FORK),
        ..scene.view()
    };

    let missing = waits(&nodes::step(&view));

    assert_eq!(missing, [(2, Why::NotShown), (3, Why::NotShown)]);
    // One that names what lies there under another ring key than its own has not shown it either.
    let other = removed(&old, FIRST_KEY, 8);
    let beside = [under(THIRD_KEY, &other, 3), shown[1]];
    let crossed = Record {
        lineage: THIRD_KEY,
        ..shows(2, shown[1], None)
    };
    let records = [shows(1, shown[1], None), crossed, shows(3, shown[1], None)];
    let view = View {
        shown: &beside,
        records: &records,
        ..view
    };
    assert_eq!(waits(&nodes::step(&view)), [(2, Why::NotShown)]);
    // Not even this node's own word.
    let own = [Record {
        lineage: THIRD_KEY,
        ..shows(1, shown[1], None)
    }];
    let unsaid = View {
        records: &own,
        ..view
    };
    assert_eq!(nodes::step(&unsaid), Step::Acknowledge { shown: Some(FORK) });
}

#[test]
fn a_head_with_a_slot_that_another_history_removed_is_not_rotated() {
    let scene = Scene::of(ring(2));
    let head = Version {
        unfinished: true,
        ..version(&scene.ring, 1)
    };
    let refused = Step::Refused(Refusal::RemovalUnfinished);
    let proposed = Scene::of(lifecycle::propose(&scene.ring, [4; 16], Activate::Auto).unwrap());
    let asked = Rotation::Asked(scene.ring.pre_active().unwrap().id.clone());
    for (scene, rotation) in [
        (&scene, Rotation::Due),
        (&scene, asked),
        (&proposed, Rotation::NotDue),
    ] {
        let head = Version {
            ring: &scene.ring,
            ..head
        };
        let view = View {
            copy: Some(head),
            head: Some(head),
            rotation,
            ..scene.view()
        };

        assert_eq!(nodes::step(&view), refused);
    }
    let rests = View {
        copy: Some(head),
        head: Some(head),
        rotation: Rotation::NotDue,
        ..scene.view()
    };
    assert_eq!(nodes::step(&rests), Step::Idle);
}

#[test]
fn the_first_activation_after_a_removal_leaves_the_record_for_who_was_away() {
    let ours = removed(&ring(2), FIRST_KEY, 7);
    let head = under(SECOND_KEY, &ours, 2);
    let records = [1, 2].map(|number| shows_nothing(shows(number, head, None)));
    let scene = Scene::of(ours.clone());
    let view = View {
        copy: Some(head),
        head: Some(head),
        records: &records,
        ..scene.view()
    };

    let proposal = nodes::commit(&view, &Step::Propose, keys(), [4; 16], NOW).unwrap();
    assert_eq!(nodes::step(&view), Step::Activate);
    let commit = nodes::commit(&view, &Step::Activate, keys(), [4; 16], NOW).unwrap();

    assert_eq!(
        (proposal.superseded.len(), proposal.ring.superseding.len()),
        (0, 1)
    );
    assert_eq!(commit.superseded, ours.superseding);
    assert!(commit.ring.superseding.is_empty());
}

#[test]
fn nodes_of_two_ring_keys_that_each_name_the_other_come_to_rest_by_an_operators_word() {
    let bounds = Bounds {
        restores: 2,
        roots: 2,
        ..SMALL
    };
    let mut search = Search::new(Model::new(bounds, Rules::default()));
    let mut state = search.model.start();
    let mut take = |actions: &[Action]| {
        for action in actions {
            state = search.model.take(&state, *action).unwrap();
            search.model.check(&state).unwrap();
        }
        state
    };
    let does = |node, steps: usize| [Action::Read(node), Action::Take(node)].repeat(steps);

    // Node 0 removes a root, the store comes back from before that, and node 1 removes another. All show what they have.
    take(&[
        Action::Save,
        Action::RemoveRoot(0),
        Action::Restore,
        Action::RemoveRoot(1),
    ]);
    for (node, steps) in [(2, 4), (0, 4), (1, 3), (2, 1)] {
        take(&does(node, steps));
    }
    take(&[Action::Save]);
    // Node 0 joins, and node 2 takes that; the store comes back from before the join, and node 1 joins.
    take(&does(0, 1));
    take(&does(2, 2));
    take(&[Action::Restore]);
    take(&does(1, 1));
    let after = take(&[Action::Read(2)]);

    assert!(search.model.is_undecided(&after, 2));
    assert_eq!(search.comes_to_rest(&after), Ok(()));
}
