//! An etcd that comes back from an earlier time, or empty.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::doctor::findings;
use crate::lab::{Lab, Must, copy_directory, ended};
use crate::support::{PATIENCE, wait_until};
use crate::watch::{Watch, all_open};

pub fn an_etcd_that_was_emptied_gets_the_ring_back_from_the_nodes() {
    let mut lab = Lab::of(3);
    let watch = Watch::over(&lab.nodes);
    rotate(&lab, 2);
    watch.more(5);
    let before = lab.open();

    lab.cluster.kill(0);
    fs::remove_dir_all(data(&lab)).unwrap();
    lab.cluster.run(0);
    lab.cluster.wait_until_ready();

    wait_until_joined(&lab, 3, before.ring.generation);
    let after = lab.open();
    assert!(after.ring.generation > before.ring.generation);
    assert_eq!(after.ring.active().unwrap().id, before.ring.active().unwrap().id);
    for key in &before.ring.keys {
        assert!(after.ring.key(&key.id).is_some(), "{} is lost", key.id);
    }
    (0..3).for_each(|node| lab.wait_until_well(node));
    rotate(&lab, 2);
    all_open(&lab.nodes, &watch.end());
}

pub fn an_etcd_from_before_two_rotations_loses_no_key_and_takes_none_back() {
    let mut lab = Lab::of(3);
    let watch = Watch::over(&lab.nodes);
    rotate(&lab, 1);
    lab.cluster.kill(0);
    let saved = lab.cluster.dir().join("saved");
    copy_directory(&data(&lab), &saved);
    lab.cluster.run(0);
    lab.cluster.wait_until_ready();
    rotate(&lab, 2);
    watch.more(5);
    let before = lab.open();

    restore(&mut lab);

    wait_until_joined(&lab, 3, before.ring.generation);
    let after = lab.open();
    assert!(after.ring.generation > before.ring.generation);
    assert_eq!(after.ring.active().unwrap().id, before.ring.active().unwrap().id);
    for key in &before.ring.keys {
        assert!(after.ring.key(&key.id).is_some(), "{} is lost", key.id);
    }
    (0..3).for_each(|node| lab.wait_until_well(node));
    rotate(&lab, 2);
    all_open(&lab.nodes, &watch.end());
}

pub fn a_join_waits_for_a_node_that_is_down_and_names_it() {
    let mut lab = Lab::with(3, json!({}));
    lab.cluster.kill(0);
    copy_directory(&data(&lab), &lab.cluster.dir().join("saved"));
    lab.cluster.run(0);
    lab.cluster.wait_until_ready();
    rotate(&lab, 2);
    let watch = Watch::over(&lab.nodes[..2]);
    watch.more(5);
    let before = lab.open();
    lab.nodes[2].kill();

    restore(&mut lab);

    let parted = "the nodes' histories of the ring have parted, and joining them waits for cp-3";
    (0..2).for_each(|node| lab.wait_for_problem(node, parted));
    for node in &lab.nodes[..2] {
        let status = node.json(&["status"]).to_string();
        assert!(status.contains(parted), "{status}");
        assert!(node.log().contains(parted));
        assert_eq!(
            findings(node, "ring/parted"),
            [("failure".into(), "ring.store.etcd".into())]
        );
    }
    // No rotation meanwhile.
    let refused = lab.nodes[0].verb(&["rotate", "--timeout", "2s"]);
    assert_eq!(
        refused.status.code(),
        Some(4),
        "{}",
        crate::support::shown(&refused)
    );
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cp-3"));
    // Nor is anything given up that a node holds.
    let (code, said) = ended(&lab.nodes[0].verb(&["ring", "accept"]));
    assert!(
        code == 4 && said.contains("nothing was changed") && said.contains("cp-3"),
        "{said}"
    );
    watch.more(20);

    lab.nodes[2].serve();

    wait_until_joined(&lab, 3, before.ring.generation);
    let after = lab.open();
    assert!(after.ring.generation > before.ring.generation);
    assert_eq!(after.ring.active().unwrap().id, before.ring.active().unwrap().id);
    rotate(&lab, 1);
    all_open(&lab.nodes, &watch.end());
}

fn rotate(lab: &Lab, times: usize) {
    for it in 0..times {
        lab.nodes[it % 3].must(&["rotate"]);
    }
}

fn data(lab: &Lab) -> PathBuf {
    lab.cluster.dir().join("m0")
}

/// Puts back what was saved.
fn restore(lab: &mut Lab) {
    lab.cluster.kill(0);
    fs::remove_dir_all(data(lab)).unwrap();
    fs::rename(lab.cluster.dir().join("saved"), data(lab)).unwrap();
    lab.cluster.run(0);
    lab.cluster.wait_until_ready();
}

#[track_caller]
fn wait_until_joined(lab: &Lab, count: usize, before: u64) {
    wait_until("the histories to be joined", 2 * PATIENCE, || {
        let snapshot = lab.snapshot();
        // What was acknowledged for an earlier head lies beside it again.
        let number = |head: &String| head.split('-').nth(1).unwrap().parse::<u64>().unwrap();
        let newer = snapshot.head.as_ref().is_some_and(|head| number(head) > before);
        newer && snapshot.fork.is_none() && snapshot.shown.is_empty()
    });
    lab.wait_until_acknowledged(count);
}
