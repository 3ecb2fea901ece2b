//! Single steps where histories have parted, or where a node is not what it was.

use kekring::format::generation::Hash;
use kekring::keyring::KeyId;
use kekring::keyring::lifecycle::{self, Refusal};
use kekring::keyring::members;
use kekring::nodes::{self, CommitError, Me, Record, Step, View, Why};

use crate::scene::{FIRST_KEY, FORK, NOW, Scene, key, keys, me, name, ring, version, waits};

#[test]
fn a_second_instance_of_a_name_is_refused_whatever_it_holds() {
    let scene = Scene::of(ring(2));
    let second = Me {
        instance: [9; 16],
        ..me(2)
    };
    let refused = Step::Refused(Refusal::SecondInstance(name(2)));
    let view = View {
        me: &second,
        ..scene.view()
    };
    let without_copy = View {
        copy: None,
        mark: None,
        ..view.clone()
    };

    assert_eq!(nodes::step(&view), refused);
    assert_eq!(nodes::step(&without_copy), refused);
    let removed = Scene::of(members::remove(&scene.ring, &name(2)).unwrap());
    let free = View {
        me: &second,
        ..removed.view()
    };
    assert_eq!(nodes::step(&free), Step::Register);
}

#[test]
fn an_empty_store_is_a_fork_for_a_registered_node_and_nothing_for_others() {
    let scene = Scene::of(ring(1));
    let mut view = View {
        head: None,
        records: &[],
        ..scene.view()
    };
    let stranger = me(7);

    assert_eq!(nodes::step(&view), Step::Publish);
    let alone = View {
        me: &stranger,
        ..view.clone()
    };
    assert_eq!(nodes::step(&alone), Step::NoRing);
    let empty = View {
        copy: None,
        mark: None,
        ..view.clone()
    };
    assert_eq!(nodes::step(&empty), Step::NoRing);
    let shown = [version(&scene.ring, 1)];
    view.shown = &shown;
    assert_eq!(nodes::step(&view), Step::OpenFork { instead_of: None });
    view.fork = Some(FORK);
    assert_eq!(nodes::step(&view), Step::Acknowledge { shown: Some(FORK) });
    let records = [scene.said(1, |said| said.shown = Some(FORK))];
    view.records = &records;
    assert_eq!(nodes::step(&view), Step::Join);
    let commit = nodes::commit(&view, &Step::Join, keys(), [4; 16], NOW).unwrap();
    assert_eq!((commit.head, commit.fork), (None, Some(FORK)));
    assert_eq!((commit.parents, commit.joined), (vec![[1; 32]], vec![[1; 32]]));
}

#[test]
fn in_a_fork_every_node_of_every_history_shows_its_head_before_the_join() {
    let scene = Scene::of(ring(2));
    // Node 1 went on and registered node 3; the store has come back without that.
    let ours = members::register(&scene.ring, &name(3), [3; 16]).unwrap();
    let ours = lifecycle::activate(&ours, key(3), NOW).unwrap();
    let mark = ours.active().unwrap().id.clone();
    let shown = [version(&ours, 2)];
    let hash: Hash = [2; 32];
    let mut view = View {
        copy: Some(version(&ours, 2)),
        mark: Some(&mark),
        shown: &shown,
        fork: Some(FORK),
        ..scene.view()
    };
    let mine = Record {
        said: nodes::acknowledgement(&view, Some(FORK)).unwrap(),
        seen: None,
        lineage: FIRST_KEY,
    };
    let told = |number, hash: Hash, nonce| scene.said(number, |said| (said.hash, said.shown) = (hash, nonce));

    let records = [mine.clone(), told(2, [1; 32], None)];
    view.records = &records;
    let missing = waits(&nodes::step(&view));
    assert_eq!(missing, [(2, Why::NotShown), (3, Why::NotShown)]);
    // What is said to be shown and is not there counts for nothing.
    let records = [
        mine.clone(),
        told(2, [8; 32], Some(FORK)),
        told(3, hash, Some(FORK)),
    ];
    view.records = &records;
    assert_eq!(waits(&nodes::step(&view)), [(2, Why::NotShown)]);
    let records = [
        mine.clone(),
        told(2, [1; 32], Some(FORK)),
        told(3, hash, Some(FORK)),
    ];
    view.records = &records;
    assert_eq!(nodes::step(&view), Step::Join);
    let commit = nodes::commit(&view, &Step::Join, keys(), [4; 16], NOW).unwrap();
    assert_eq!(commit.ring.active().unwrap().id, mark);
    assert_eq!(members::registered(&commit.ring.members).count(), 3);
    assert_eq!(commit.parents, [[1; 32], [2; 32]]);

    // Also by a node that has never heard of the third, but for what the first has shown.
    let second = me(2);
    let unaware = View {
        me: &second,
        copy: view.head,
        mark: Some(&scene.mark),
        ..view.clone()
    };
    let told_by_second = nodes::acknowledgement(&unaware, Some(FORK)).unwrap();
    let second_said = Record {
        said: told_by_second,
        seen: None,
        lineage: FIRST_KEY,
    };
    let both = [mine.clone(), second_said];
    let unaware = View {
        records: &both,
        ..unaware
    };
    assert_eq!(waits(&nodes::step(&unaware)), [(3, Why::NotShown)]);
}

#[test]
fn a_node_that_has_shown_another_head_under_a_nonce_replaces_it() {
    let scene = Scene::of(ring(2));
    let records = [scene.said(1, |said| (said.hash, said.shown) = ([7; 32], Some(FORK)))];
    let view = View {
        fork: Some(FORK),
        records: &records,
        ..scene.view()
    };

    let instead_of = Some(FORK);
    assert_eq!(nodes::step(&view), Step::OpenFork { instead_of });
    let other = View {
        fork: Some([6; 16]),
        ..view
    };
    let shown = Some([6; 16]);
    assert_eq!(nodes::step(&other), Step::Acknowledge { shown });
}

#[test]
fn what_an_operator_says_is_gone_is_removed_and_no_join_waits_for_it() {
    let scene = Scene::of(ring(3));
    let gone = [name(2), name(9), name(1)];
    let mut view = View {
        gone: &gone,
        ..scene.view()
    };
    let remove = Step::Remove { names: vec![name(2)] };

    // Never this node itself, which is here.
    assert_eq!(nodes::step(&view), remove);
    let commit = nodes::commit(&view, &remove, keys(), [4; 16], NOW).unwrap();
    let left: Vec<_> = members::registered(&commit.ring.members)
        .map(|it| it.name.clone())
        .collect();
    assert_eq!(
        (left, commit.ring.generation),
        (vec![name(1), name(3)], scene.ring.generation + 1)
    );
    assert_eq!(commit.ring.check(), Ok(()));

    view.fork = Some(FORK);
    let shown = |number| scene.said(number, |said| said.shown = Some(FORK));
    let records = [shown(1), shown(3)];
    view.records = &records;
    assert_eq!(nodes::step(&view), Step::Join);
    let joined = nodes::commit(&view, &Step::Join, keys(), [4; 16], NOW).unwrap();
    let left: Vec<_> = members::registered(&joined.ring.members)
        .map(|it| it.name.clone())
        .collect();
    assert_eq!(
        (left, joined.ring.generation),
        (vec![name(1), name(3)], scene.ring.generation + 1)
    );
    let nobody = View { gone: &[], ..view };
    assert_eq!(waits(&nodes::step(&nobody)), [(2, Why::NotShown)]);
}

#[test]
fn a_key_that_a_registered_node_reported_and_nobody_shows_is_not_joined_over() {
    let scene = Scene::of(ring(1));
    let lost = KeyId::derive(scene.ring.id, 7, &key(70));
    let shown = [version(&scene.ring, 1)];
    let mut view = View {
        head: None,
        shown: &shown,
        fork: Some(FORK),
        ..scene.view()
    };
    let by = |number| {
        [scene.said(number, |said| {
            (said.reported, said.shown) = (Some(lost.clone()), Some(FORK));
        })]
    };

    let registered = by(1);
    view.records = &registered;
    let refused = nodes::commit(&view, &Step::Join, keys(), [4; 16], NOW);
    assert!(matches!(refused, Err(CommitError::Join(_))));
    let unknown = by(8);
    view.records = &unknown;
    assert!(nodes::commit(&view, &Step::Join, keys(), [4; 16], NOW).is_ok());
}
