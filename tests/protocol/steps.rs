//! Single steps where there is one history: what a node does in one view, and for whom it waits.

use kekring::keyring::KeyId;
use kekring::keyring::lifecycle::{self, Refusal};
use kekring::keyring::ring::{Activate, KeyState, Ring, UnixTime};
use kekring::nodes::{self, CommitError, REFRESH, Rotation, Step, View, Why};

use crate::scene::{NOW, Scene, key, keys, me, name, ring, version, waits};

#[test]
fn a_rotation_that_is_due_waits_for_each_node_and_says_why() {
    let mut scene = Scene::of(ring(5));
    let next = scene.ring.pre_active().unwrap().id.clone();
    let other = KeyId::derive(scene.ring.id, 2, &key(77));
    scene.records.retain(|it| it.said.name != name(2));
    scene.set(3, |said| said.instance = [33; 16]);
    scene.set(4, |said| (said.held, said.generation) = (other.clone(), 2));

    assert_eq!(nodes::step(&scene.view()), Step::Propose);
    let proposed = nodes::commit(&scene.view(), &Step::Propose, keys(), [4; 16], NOW).unwrap();
    assert_eq!(proposed.ring.proposal.as_ref().unwrap().key_id, next);
    assert_eq!(proposed.ring.pre_active().unwrap().id, next);
    let mut after = Scene::of(proposed.ring);
    after.records.retain(|it| it.said.name != name(2));
    after.set(3, |said| said.instance = [33; 16]);
    after.set(4, |said| (said.held, said.generation) = (other.clone(), 2));

    let waiting = waits(&nodes::step(&after.view()));

    let behind = Why::Behind { generation: 2 };
    let expected = [(2, Why::Silent), (3, Why::OtherInstance), (4, behind)];
    assert_eq!(waiting, expected);
    let gone = [name(2), name(3), name(4)];
    let without = View {
        without: &gone,
        ..after.view()
    };
    assert_eq!(nodes::step(&without), Step::Activate);
}

#[test]
fn a_rotation_that_all_hold_the_key_for_is_done_at_once() {
    let scene = Scene::of(ring(3));
    let next = scene.ring.pre_active().unwrap().id.clone();

    let step = nodes::step(&scene.view());
    let commit = nodes::commit(&scene.view(), &step, keys(), [4; 16], NOW).unwrap();

    assert_eq!(step, Step::Activate);
    assert_eq!(commit.ring.active().unwrap().id, next);
    assert_eq!(
        (commit.head, commit.fork, commit.parents.as_slice()),
        (Some([1; 32]), None, &[[1; 32]][..])
    );
    let not_due = View {
        rotation: Rotation::NotDue,
        ..scene.view()
    };
    assert_eq!(nodes::step(&not_due), Step::Idle);
}

#[test]
fn a_proposal_is_finished_by_any_node_unless_it_is_for_an_operator() {
    let propose = |how| lifecycle::propose(&ring(2), [4; 16], how).unwrap();
    let (auto, manual) = (
        Scene::of(propose(Activate::Auto)),
        Scene::of(propose(Activate::Manual)),
    );
    let next = manual.ring.pre_active().unwrap().id.clone();
    let with = |scene: &Scene, rotation| {
        nodes::step(&View {
            rotation,
            ..scene.view()
        })
    };

    assert_eq!(with(&auto, Rotation::NotDue), Step::Activate);
    assert_eq!(with(&manual, Rotation::Due), Step::Idle);
    assert_eq!(with(&manual, Rotation::Asked(next)), Step::Activate);
}

#[test]
fn what_an_operator_asked_for_is_named_by_its_key_and_is_not_done_twice() {
    let scene = Scene::of(ring(2));
    let asked = Rotation::Asked(scene.ring.pre_active().unwrap().id.clone());
    let view = View {
        rotation: asked.clone(),
        ..scene.view()
    };
    let done = nodes::commit(&view, &nodes::step(&view), keys(), [4; 16], NOW).unwrap();
    let after = Scene::of(done.ring);

    let again = nodes::step(&View {
        rotation: asked,
        ..after.view()
    });

    assert_eq!(again, Step::Idle);
}

#[test]
fn a_suspended_next_key_is_refused_and_so_is_a_second_proposal() {
    let mut suspended = ring(2);
    let next = suspended
        .keys
        .iter_mut()
        .find(|it| it.state == KeyState::PreActive)
        .unwrap();
    (next.suspended, next.suspension) = (true, 2);
    let id = next.id.clone();

    let refusal = Refusal::NextSuspended(id);
    let step = nodes::step(&Scene::of(suspended.clone()).view());

    assert_eq!(step, Step::Refused(refusal.clone()));
    let propose = |ring: &Ring| lifecycle::propose(ring, [4; 16], Activate::Auto);
    assert_eq!(propose(&suspended).unwrap_err(), refusal);
    let proposed = propose(&ring(2)).unwrap();
    assert_eq!(proposed.check(), Ok(()));
    assert!(matches!(propose(&proposed), Err(Refusal::InFlight(_))));
}

#[test]
fn a_clock_far_from_the_others_starts_no_rotation_and_finishes_one() {
    let seen = |scene: &mut Scene, offsets: [i64; 2]| {
        for (number, offset) in [2, 3].into_iter().zip(offsets) {
            let time = UnixTime(NOW.0.checked_add_signed(-offset).unwrap());
            let mut record = scene.said(number, |said| said.time = time);
            record.seen = Some(NOW);
            scene.records.retain(|it| it.said.name != record.said.name);
            scene.records.push(record);
        }
    };
    for (offsets, off) in [
        ([0, 0], None),
        ([600, 600], None),
        ([601, 9999], Some(601)),
        ([-9999, -601], Some(-601)),
        // One of the others is wrong, and nobody can say which: this node agrees with one.
        ([0, 9999], None),
        ([-9999, 0], None),
    ] {
        let mut scene = Scene::of(ring(3));
        seen(&mut scene, offsets);

        let step = nodes::step(&scene.view());

        match off {
            None => assert_eq!(step, Step::Activate, "{offsets:?}"),
            Some(seconds) => assert_eq!(waits(&step), [(1, Why::Clock { seconds })], "{offsets:?}"),
        }
        let asked = Rotation::Asked(scene.ring.pre_active().unwrap().id.clone());
        let by_an_operator = View {
            rotation: asked,
            ..scene.view()
        };
        assert_eq!(nodes::step(&by_an_operator), Step::Activate);
    }
    let mut finishing = Scene::of(lifecycle::propose(&ring(3), [4; 16], Activate::Auto).unwrap());
    seen(&mut finishing, [9999, 9999]);
    assert_eq!(nodes::step(&finishing.view()), Step::Activate);
    // What was there before this node started says nothing of clocks.
    let mut old = Scene::of(ring(3));
    old.set(2, |said| said.time = UnixTime(1));
    old.set(3, |said| said.time = UnixTime(1));
    assert_eq!(nodes::step(&old.view()), Step::Activate);
}

#[test]
fn a_node_copies_marks_registers_and_acknowledges_in_this_order() {
    let scene = Scene::of(ring(2));
    let newcomer = me(3);
    let mut view = View {
        me: &newcomer,
        copy: None,
        mark: None,
        ..scene.view()
    };
    assert_eq!(nodes::step(&view), Step::Copy);
    view.copy = view.head;
    assert_eq!(nodes::reportable(&scene.ring, view.mark), None);
    assert_eq!(nodes::step(&view), Step::Mark);
    view.mark = Some(&scene.mark);
    assert_eq!(nodes::reportable(&scene.ring, view.mark), Some(&scene.mark));
    assert_eq!(nodes::step(&view), Step::Register);
    let registered = nodes::commit(&view, &Step::Register, keys(), [4; 16], NOW).unwrap();
    view.head = Some(version(&registered.ring, 2));
    assert_eq!(nodes::step(&view), Step::Copy);
    view.copy = view.head;
    assert_eq!(nodes::step(&view), Step::Acknowledge { shown: None });
    let said = nodes::acknowledgement(&view, None).unwrap();
    assert_eq!((said.generation, said.hash), (4, [2; 32]));
    assert_eq!(said.reported.as_ref(), Some(&scene.mark));
}

#[test]
fn a_copy_below_its_mark_reports_nothing_and_is_not_marked_lower() {
    let scene = Scene::of(ring(1));
    let rotated = lifecycle::activate(&scene.ring, key(3), NOW).unwrap();
    let later = rotated.active().unwrap().id.clone();
    let view = View {
        mark: Some(&later),
        head: Some(version(&rotated, 2)),
        ..scene.view()
    };

    assert_eq!(nodes::reportable(&scene.ring, Some(&later)), None);
    assert_eq!(nodes::step(&view), Step::Copy);
    let everything_is_older = View {
        head: scene.view().head,
        ..view
    };
    let refused = Step::Refused(Refusal::BelowMark(later.clone()));
    assert_eq!(nodes::step(&everything_is_older), refused);
}

#[test]
fn an_acknowledgement_is_written_again_after_an_hour_and_when_it_is_another_instances() {
    let mut scene = Scene::of(ring(1));
    let idle = |scene: &Scene, now| {
        nodes::step(&View {
            rotation: Rotation::NotDue,
            now,
            ..scene.view()
        })
    };
    let after = |seconds| UnixTime(NOW.0 + seconds);

    assert_eq!(idle(&scene, after(REFRESH - 1)), Step::Idle);
    let again = Step::Acknowledge { shown: None };
    assert_eq!(idle(&scene, after(REFRESH)), again);
    assert_eq!(idle(&scene, UnixTime(NOW.0 - REFRESH)), again);
    scene.set(1, |said| said.instance = [9; 16]);
    assert_eq!(idle(&scene, NOW), again);
}

#[test]
fn a_step_that_writes_no_generation_commits_none() {
    let scene = Scene::of(ring(1));
    for step in [Step::Idle, Step::Copy, Step::Publish, Step::NoRing] {
        let refused = nodes::commit(&scene.view(), &step, keys(), [4; 16], NOW);
        assert_eq!(refused.unwrap_err(), CommitError::NoCommit(step));
    }
}
