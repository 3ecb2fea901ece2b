//! Generations in etcd that somebody put there who holds no key: each slot would cost every node a key derivation.

use std::fs;

use kekring::crypto::random;
use serde_json::json;

use crate::forging::{HIGHEST, HONEST, of_a_stranger};
use crate::lab::{Lab, Must};
use crate::support::{PATIENCE, Plugin, scratch, wait_until};
use crate::watch::Watch;

/// What the static Pod may take, in KiB.
const MOST: u64 = 256 * 1024;

pub fn generations_of_strangers_stop_no_node_with_a_passphrase() {
    let secrets = scratch();
    let path = secrets.path().join("passphrase");
    fs::write(&path, "correct horse battery staple").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut lab = Lab::empty(json!({"ring": {"roots": [{"passphrase": {"path": path}}]}}));
    for _ in 0..2 {
        lab.add();
    }
    lab.nodes[0].must(&["init", "--no-recovery"]);
    lab.nodes.iter_mut().for_each(Plugin::serve);
    lab.wait_until_acknowledged(2);
    let watch = Watch::over(&lab.nodes);
    let head = lab.get(&lab.key("head")).unwrap();
    let name = String::from_utf8(head.clone()).unwrap();
    let genuine = lab.get(&lab.key(&format!("gen/{name}"))).unwrap();

    // Beside the ring they cost nothing.
    for (number, cost) in [(7, HIGHEST), (8, HONEST), (9, HONEST), (10, HIGHEST)] {
        let (name, bytes) = of_a_stranger(&genuine, number, 0, cost);
        lab.put(lab.key(&format!("shown/{name}")), &bytes);
    }
    lab.nodes[0].must(&["rotate"]);
    lab.wait_until_acknowledged(2);
    watch.check();

    // As the head they are named.
    let head = lab.get(&lab.key("head")).unwrap();
    for (number, cost) in [(20, HIGHEST), (21, HONEST)] {
        let (name, bytes) = of_a_stranger(&genuine, number, 0, cost);
        lab.put(lab.key(&format!("gen/{name}")), &bytes);
        lab.put(lab.key("head"), name.as_bytes());
        (0..2).for_each(|node| lab.wait_for_problem(node, &name));
        watch.check();
    }
    lab.put(lab.key("head"), &head);
    (0..2).for_each(|node| lab.wait_until_well(node));

    // Where histories have parted, they do not keep the nodes from joining, nor a node from starting.
    lab.put(lab.key("fork"), &random::<16>().unwrap());
    wait_until("the fork to be over", PATIENCE, || lab.snapshot().fork.is_none());
    lab.wait_until_acknowledged(2);
    watch.end();
    lab.nodes[1].stop();
    lab.nodes[1].serve();
    lab.nodes[1].must(&["rotate"]);
    for node in &lab.nodes {
        let peak = peak(node);
        assert!(peak < MOST, "{peak} KiB");
    }
}

/// The most memory that a server ever had, in KiB.
fn peak(node: &Plugin) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", node.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
