//! A node that is there and does nothing any more.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::lab::{Lab, ended, rotate};
use crate::support::{PATIENCE, Plugin, in_repository, scrape, wait_until};
use crate::watch::{Watch, all_open};

const SHORT: Duration = Duration::from_secs(2);

pub fn a_rotation_waits_for_a_frozen_node_names_it_and_then_ends_by_itself() {
    let lab = Lab::with(3, json!({"telemetry": {"listen": "127.0.0.1:0"}}));
    let watch = Watch::over(&lab.nodes[..2]);
    freeze(&lab.nodes[2]);
    let before = lab.sequence();

    // It holds the key that was prepared: that one becomes active, and its word on what came then is missing.
    let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-3"), "{said}");
    assert_eq!(lab.sequence(), before + 1);
    // The next one it does not hold.
    let (code, said) = rotate(&lab.nodes[1], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-3: it holds generation"), "{said}");
    assert_eq!(lab.sequence(), before + 1);
    // Again resumes what is in flight, and begins nothing.
    let generation = lab.open().ring.generation;
    let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-3"), "{said}");
    assert_eq!(lab.open().ring.generation, generation);

    for node in 0..2 {
        lab.wait_for_problem(node, "a rotation waits for cp-3");
        let (code, status) = ended(&lab.nodes[node].verb(&["status"]));
        assert!(
            code == 0 && status.contains("a rotation waits for cp-3"),
            "{status}"
        );
        assert!(lab.nodes[node].log().contains("a rotation waits for cp-3"));
        let page = scrape::get(&lab.nodes[node].telemetry(), "/metrics")
            .unwrap()
            .body;
        let problems = page
            .lines()
            .find(|line| line.starts_with("kekring_problems "))
            .unwrap();
        assert_ne!(problems, "kekring_problems 0");
        assert!(
            page.contains("kekring_node_waited_for{node=\"cp-3\"} 1"),
            "{page}"
        );
        for name in documented() {
            assert!(page.contains(&format!("\n{name}")), "{name} is not in {page}");
        }
    }
    watch.more(20);

    lab.nodes[2].signal(Signal::CONT);

    wait_until("the rotation to end without a verb", PATIENCE, || {
        lab.sequence() == before + 2
    });
    lab.wait_until_acknowledged(3);
    (0..3).for_each(|node| lab.wait_until_well(node));
    all_open(&lab.nodes, &watch.end());
}

/// It is still there, and does nothing any more.
/// The metrics that README.md has for several nodes.
fn documented() -> Vec<String> {
    let page = fs::read_to_string(in_repository("README.md")).unwrap();
    let ours = |line: &&str| line.starts_with("| `kekring_") && line.contains("| on etcd: ");
    let rows = page.lines().filter(ours);
    let names: Vec<String> = rows
        .map(|row| row.split('`').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(names.len(), 5, "{names:?}");
    names
}

pub fn freeze(node: &Plugin) {
    node.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", node.pid().as_raw_nonzero());
    wait_until("a server to stop", PATIENCE, || {
        // The state follows the name.
        fs::read_to_string(&stat).unwrap().contains(") T ")
    });
}
