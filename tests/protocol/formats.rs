//! Nodes of two versions of the program. Format 2 is known to these tests alone: what is written is written so that every
//! registered node is known to read it.

use kekring::keyring::lifecycle;
use kekring::keyring::members;
use kekring::keyring::ring::{Activate, Ring};
use kekring::nodes::{self, Me, Rotation, Step, Version, View};

use crate::scene::{FORK, NOW, Scene, key, keys, me, name, ring, version};

/// A ring of so many nodes, all of which read format 2, but for the third, which reads what is given; none: it is silent.
fn scene(ring: Ring, third: Option<u32>) -> Scene {
    let mut scene = Scene::of(ring);
    scene.me.format = 2;
    for number in [1, 2] {
        scene.set(number, |said| said.format = 2);
    }
    match third {
        Some(format) => scene.set(3, |said| said.format = format),
        None => scene.records.retain(|it| it.said.name != name(3)),
    }
    scene
}

/// The format of a commit that must be possible in this view.
fn written(view: &View<'_>, step: &Step) -> u32 {
    let commit = nodes::commit(view, step, keys(), [4; 16], NOW).unwrap();
    assert_eq!(commit.ring.check(), Ok(()));
    commit.format
}

fn in_format<'a>(view: View<'a>, format: u32) -> View<'a> {
    let head = view.head.map(|it| Version { format, ..it });
    View {
        copy: head,
        head,
        ..view
    }
}

#[test]
fn everything_goes_on_in_the_earlier_format_until_all_registered_nodes_are_known_to_read_the_later() {
    let newcomer = Me { format: 2, ..me(4) };
    let fresh = lifecycle::propose_fresh(&ring(3), key(50), [7; 16], Activate::Auto, NOW).unwrap();
    for (third, format) in [(Some(1), 1), (None, 1), (Some(2), 2), (Some(3), 2)] {
        let (plain, urgent) = (scene(ring(3), third), scene(fresh.clone(), third));
        let silent = [name(3)];
        for scene in [&plain, &urgent] {
            let without = View {
                without: &silent,
                ..scene.view()
            };
            assert_eq!(nodes::step(&without), Step::Activate, "{third:?}");
            assert_eq!(written(&without, &Step::Activate), format, "{third:?}");
        }
        let view = plain.view();
        let registering = View {
            me: &newcomer,
            ..view.clone()
        };
        let removing = [name(2)];
        let removal = View {
            gone: &removing,
            ..view.clone()
        };
        assert_eq!(written(&view, &Step::Propose), format, "{third:?}");
        assert_eq!(written(&registering, &Step::Register), format, "{third:?}");
        assert_eq!(written(&removal, &nodes::step(&removal)), format, "{third:?}");
        // What is written in the later format stays in it: whoever is silent reads that, as is known of it.
        assert_eq!(written(&in_format(view, 2), &Step::Propose), 2, "{third:?}");
    }
}

#[test]
fn a_node_with_the_earlier_program_writes_what_it_reads_and_is_waited_for_as_any_other() {
    let mut scene = scene(ring(3), Some(2));
    scene.me.format = 1;
    scene.set(1, |said| said.format = 1);

    assert_eq!(nodes::step(&scene.view()), Step::Activate);
    assert_eq!(written(&scene.view(), &Step::Activate), 1);
    assert_eq!(
        nodes::step(&View {
            rotation: Rotation::NotDue,
            ..scene.view()
        }),
        Step::Idle
    );
}

#[test]
fn an_old_node_that_is_removed_holds_no_format_back() {
    let scene = scene(ring(3), Some(1));
    let gone = [name(3)];
    let removal = View {
        gone: &gone,
        ..scene.view()
    };

    assert_eq!(written(&scene.view(), &Step::Activate), 1);
    // The very commit that removes it is not for it any more.
    let step = nodes::step(&removal);
    assert_eq!(step, Step::Remove { names: vec![name(3)] });
    assert_eq!(written(&removal, &step), 2);
    // Nor does one that never acknowledged under the name of a node that is registered as another.
    let mut other = self::scene(ring(3), Some(2));
    other.set(3, |said| said.instance = [33; 16]);
    assert_eq!(written(&other.view(), &Step::Propose), 1);
}

#[test]
fn a_join_is_written_so_that_the_nodes_of_every_history_read_it() {
    let earlier = ring(3);
    let later = members::remove(&earlier, &name(3)).unwrap();
    let later = lifecycle::activate(&later, key(3), NOW).unwrap();
    let back = members::register(&earlier, &name(4), [4; 16]).unwrap();
    for (third, gone, format) in [(1, vec![], 1), (2, vec![], 2), (1, vec![name(4)], 2)] {
        let scene = scene(later.clone(), None);
        let old = Version {
            format: 1,
            ..version(&back, 1)
        };
        let new = Version {
            format: 2,
            ..version(&later, 2)
        };
        let shown = [new];
        let said = |number, hash, format| {
            let mut record = scene.said(number, |said| (said.shown, said.format) = (Some(FORK), format));
            record.said.hash = hash;
            record
        };
        let records = [said(1, [2; 32], 2), said(2, [2; 32], 2), said(4, [1; 32], third)];
        let view = View {
            copy: Some(new),
            head: Some(old),
            shown: &shown,
            records: &records,
            fork: Some(FORK),
            gone: &gone,
            ..scene.view()
        };

        assert_eq!(nodes::step(&view), Step::Join);
        assert_eq!(written(&view, &Step::Join), format, "{third} {gone:?}");
    }
}

#[test]
fn an_acknowledgement_says_the_programs_own_format_and_is_written_again_after_an_upgrade() {
    let scene = scene(ring(3), Some(2));
    let view = View {
        rotation: Rotation::NotDue,
        ..scene.view()
    };
    let upgraded = Me {
        format: 3,
        ..scene.me.clone()
    };
    let after = View {
        me: &upgraded,
        ..view.clone()
    };

    assert_eq!(nodes::step(&view), Step::Idle);
    assert_eq!(nodes::step(&after), Step::Acknowledge { shown: None });
    assert_eq!(nodes::acknowledgement(&after, None).unwrap().format, 3);
}
