//! What the doctor says of a ring that several nodes keep.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{Lab, configuration, rotate};
use crate::silent::freeze;
use crate::support::{PATIENCE, Plugin, wait_until};

const SHORT: Duration = Duration::from_secs(2);

/// Level and subject of each finding with this id.
pub fn findings(node: &Plugin, id: &str) -> Vec<(String, String)> {
    let output = node.verb(&["doctor", "-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
    let all = report["findings"].as_array().unwrap().iter();
    let found = all.filter(|it| it["id"] == id);
    found.map(|it| (text(it, "level"), text(it, "subject"))).collect()
}

fn found(level: &str, subject: &str) -> Vec<(String, String)> {
    vec![(level.to_owned(), subject.to_owned())]
}

pub fn the_doctor_tells_who_is_well_behind_silent_and_nobody() {
    let lab = Lab::of(2);
    assert_eq!(
        findings(&lab.nodes[0], "ring/etcd"),
        found("ok", "ring.store.etcd")
    );
    assert_eq!(findings(&lab.nodes[0], "ring/registered"), found("ok", "cp-1"));
    let well = [found("ok", "cp-1"), found("ok", "cp-2")].concat();
    wait_until("both nodes to say that they live", PATIENCE, || {
        findings(&lab.nodes[0], "ring/node") == well
    });
    assert_eq!(
        findings(&lab.nodes[0], "ring/several-file-rings"),
        found("ok", "ring.store.etcd")
    );

    freeze(&lab.nodes[1]);
    let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-2"), "{said}");
    // Its lease still says that it lives.
    assert_eq!(
        findings(&lab.nodes[0], "ring/node-behind"),
        found("warning", "cp-2")
    );
    wait_until("its lease to end", PATIENCE + PATIENCE, || {
        findings(&lab.nodes[0], "ring/node-silent") == found("warning", "cp-2")
    });

    // Under a name of its own the same copy is nobody's.
    let node = &lab.nodes[0];
    let renamed = configuration(node, "renamed", lab.cluster.url(0));
    fs::write(&node.config, renamed.to_string()).unwrap();
    assert_eq!(findings(node, "ring/registered"), found("failure", "renamed"));
}
