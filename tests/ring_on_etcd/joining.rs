//! A first node, and those that join it.

use std::fs;

use serde_json::{Value, json};

use crate::client::Client;
use crate::lab::{Lab, Must};
use crate::support::PATIENCE;
use crate::support::wait_until;

pub fn nodes_join_by_a_root_and_endpoints_alone() {
    let mut lab = Lab::empty(json!({}));
    lab.add();
    lab.nodes[0].must(&["init", "--no-recovery"]);
    lab.nodes[0].serve();
    lab.wait_until_acknowledged(1);
    let sealed = Client::connect(&lab.nodes[0].socket).encrypt(&[5; 32]).unwrap();

    // One after the other, the second while the third has not heard of a ring.
    for count in 2..=3 {
        lab.add();
        lab.give_root(lab.nodes.last().unwrap());
        assert!(!lab.nodes[count - 1].dir.join("ring").exists());
        lab.nodes[count - 1].serve();
        // As soon as it answers it opens what others sealed.
        let client = Client::connect(&lab.nodes[count - 1].socket);
        assert_eq!(client.decrypt(&sealed).unwrap(), [5; 32]);
        lab.wait_until_acknowledged(count);
    }

    let list = lab.nodes[2].json(&["node", "list"]);
    let names = |of: &Value| -> Vec<String> {
        let rows = of["nodes"].as_array().unwrap().iter();
        let mut names: Vec<String> = rows.map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&list), ["cp-1", "cp-2", "cp-3"]);
    // Every node says that it lives, as soon as it has something to say.
    wait_until("all to be alive", PATIENCE, || {
        let list = lab.nodes[2].json(&["node", "list"]);
        let rows = list["nodes"].as_array().unwrap();
        rows.iter()
            .all(|it| it["alive"] == true && it["version"] == env!("CARGO_PKG_VERSION"))
    });
    for node in &lab.nodes {
        let status = node.json(&["status"]);
        assert_eq!(names(&status), ["cp-1", "cp-2", "cp-3"], "{status}");
        for other in status["nodes"].as_array().unwrap() {
            assert_eq!(other["serving"], true, "{status}");
            assert_eq!(other["acknowledged"], list["generation"], "{status}");
        }
        let warnings = status["warnings"].to_string();
        assert!(
            !warnings.contains("silent") && !warnings.contains("provisional"),
            "{status}"
        );
    }
    // Each copy is the head, byte for byte.
    let snapshot = lab.snapshot();
    let (name, bytes) = snapshot.head_bytes().unwrap().unwrap();
    for node in &lab.nodes {
        assert_eq!(fs::read(node.dir.join("ring").join(name)).unwrap(), bytes);
    }
}
