//! Three nodes that keep a ring on a real etcd, one of which stops.

use std::collections::BTreeSet;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::client::Client;
use crate::lab::{Lab, Must, rotate};
use crate::one_node::has_data;
use crate::pictures;
use crate::prometheus::Prometheus;
use crate::support::{PATIENCE, wait_until};

const SHORT: Duration = Duration::from_secs(2);

pub fn what_befalls_three_nodes_makes_their_alerts_fire() {
    let lab = Lab::with(3, json!({"telemetry": {"listen": "127.0.0.1:0"}}));
    let clients: Vec<Client> = lab.nodes.iter().map(|it| Client::connect(&it.socket)).collect();
    for client in &clients {
        client.status().unwrap();
    }
    let addresses: Vec<String> = lab.nodes.iter().map(|it| it.telemetry()).collect();
    let prometheus = Prometheus::of(&[
        (addresses[0].clone(), &[("instance", "cp-1")]),
        (addresses[1].clone(), &[("instance", "cp-2")]),
        (addresses[2].clone(), &[("instance", "cp-3")]),
    ]);
    // As it was made: without a recovery code, and not backed up.
    only(&prometheus, &["KekringBackupBehind", "KekringOneSlot"]);
    let [code, backup] = ["code", "backup"].map(|name| lab.nodes[0].dir.join(name).display().to_string());
    lab.nodes[0].must(&["root", "add", "--recovery-code-file", &code]);
    lab.nodes[0].must(&["backup", &backup]);
    only(&prometheus, &[]);

    lab.nodes[2].signal(Signal::STOP);
    prometheus.fires("KekringDown cp-3");
    // It holds the key that becomes active, and not the generation that makes it so.
    let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);
    assert_eq!(code, 4, "{said}");
    prometheus.fires("KekringNodeBehind cp-3");
    let (code, said) = rotate(&lab.nodes[1], SHORT, &[]);
    assert_eq!(code, 4, "{said}");
    prometheus.fires("KekringNodeWaitedFor cp-3");
    prometheus.ends("KekringNodeBehind cp-3");
    prometheus.ends("KekringProblem cp-1");
    prometheus.ends("KekringActiveKeysDiffer");
    has_data(&prometheus, true);
    clients[..2].iter().for_each(|client| {
        client.status().unwrap();
    });
    wait_until("the node's lease to end", 2 * PATIENCE, || {
        lab.nodes[0]
            .json(&["status"])
            .to_string()
            .contains("node cp-3 is silent")
    });
    pictures::shows(
        &lab.nodes[0],
        "status-three-nodes",
        "kekring status on one of three nodes: a rotation waits for the third, which is silent and behind",
    );

    lab.nodes[2].signal(Signal::CONT);
    // Two rotations later the backup lacks the active key.
    only(&prometheus, &["KekringBackupBehind"]);
}

/// Until these fire, and nothing else.
#[track_caller]
fn only(prometheus: &Prometheus, alerts: &[&str]) {
    let wanted: BTreeSet<String> = alerts.iter().map(|it| (*it).to_owned()).collect();
    let mut last = BTreeSet::new();
    wait_until("the usual alerts alone", 2 * PATIENCE, || {
        let now = prometheus.firing();
        if now != last {
            println!("firing: {now:?}");
            last = now;
        }
        last == wanted
    });
}
