//! etcd is away.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::Client;
use crate::cluster::Cluster;
use crate::lab::{Lab, Must, ended, problems};
use crate::support::notify::Systemd;
use crate::support::{PATIENCE, wait_until};
use crate::watch::{Watch, all_open};

/// A start serves from its copy within that, etcd or not.
const START: Duration = Duration::from_secs(4);
/// And systemd hears of it within that, whatever there is to serve.
const READY: Duration = Duration::from_secs(5);

pub fn while_etcd_is_away_every_node_serves_also_one_that_restarts() {
    let mut lab = Lab::of(3);
    lab.nodes[0].must(&["rotate"]);
    let before = lab.sequence();
    let watch = Watch::over(&lab.nodes[..2]);

    lab.cluster.kill(0);
    lab.nodes[2].stop();
    let started = Instant::now();
    lab.nodes[2].serve();
    let took = started.elapsed();
    println!("       served from the copy after {took:?}");
    assert!(took < START, "{took:?}");

    let restarted = Watch::over(&lab.nodes);
    for node in 0..3 {
        lab.wait_for_problem(node, "etcd");
        let (code, status) = ended(&lab.nodes[node].verb(&["status"]));
        assert!(
            code == 0 && status.contains("the other nodes are not shown"),
            "{status}"
        );
    }
    let (_, status) = ended(&lab.nodes[2].verb(&["status"]));
    assert!(status.contains("provisional"), "{status}");
    // Nothing is changed without it.
    let (code, said) = ended(&lab.nodes[0].verb(&["rotate", "--timeout", "1s"]));
    assert!(code == 1 && said.contains("etcd"), "{said}");
    let looked = Instant::now();
    wait_until("more than two failed reads of etcd", PATIENCE, || {
        watch.check();
        restarted.check();
        looked.elapsed() > Duration::from_secs(8)
    });

    lab.cluster.run(0);
    lab.cluster.wait_until_ready();
    (0..3).for_each(|node| lab.wait_until_well(node));
    lab.wait_until_acknowledged(3);
    assert_eq!(lab.sequence(), before);
    lab.nodes[2].must(&["rotate"]);
    assert_eq!(lab.sequence(), before + 1);
    watch.end();
    all_open(&lab.nodes, &restarted.end());
    let (_, status) = ended(&lab.nodes[2].verb(&["status"]));
    assert!(!status.contains("provisional"), "{status}");
}

pub fn a_member_that_is_killed_and_one_that_is_frozen_stop_nobody() {
    let cluster = Cluster::secure(3);
    let tls = cluster.tls();
    let identity = tls.identity.unwrap();
    let urls: Vec<&str> = (0..3).map(|it| cluster.url(it)).collect();
    let etcd = json!({
        "endpoints": urls,
        "tls": {"ca": tls.ca, "cert": identity.cert, "key": identity.key},
    });
    let tweaks = json!({"ring": {"store": {"etcd": etcd}}});
    let mut lab = Lab::on(cluster, tweaks);
    lab.begin(2);
    let before = lab.sequence();
    let watch = Watch::over(&lab.nodes);

    let rotated = |lab: &Lab| {
        // A verb may meet the moment in which etcd has no leader.
        wait_until("a rotation without a member", 2 * PATIENCE, || {
            watch.check();
            lab.nodes[0].verb(&["rotate"]).status.success()
        });
        lab.nodes[1].must(&["rotate"]);
    };
    lab.cluster.kill(0);
    rotated(&lab);
    lab.cluster.run(0);
    lab.cluster.wait_until_ready();
    lab.cluster.freeze(1);
    rotated(&lab);
    lab.cluster.thaw(1);
    lab.cluster.wait_until_ready();
    lab.wait_until_acknowledged(2);

    assert!(lab.sequence() >= before + 4);
    (0..2).for_each(|node| lab.wait_until_well(node));
    all_open(&lab.nodes, &watch.end());
}

pub fn an_etcd_that_takes_no_more_changes_stops_rotations_and_nothing_else() {
    let lab = Lab::of(2);
    let watch = Watch::over(&lab.nodes);
    let before = lab.open().ring;
    let alarm = |action| {
        // As it does by itself where its database has grown to its quota.
        let request = json!({"action": action, "memberID": "1", "alarm": "NOSPACE"});
        lab.cluster.gateway("maintenance/alarm", None, &request);
    };

    alarm("ACTIVATE");
    let (code, said) = ended(&lab.nodes[0].verb(&["rotate"]));
    assert!(code == 1 && said.contains("space exceeded"), "{said}");
    assert_eq!(lab.open().ring.generation, before.generation);
    watch.more(50);

    alarm("DEACTIVATE");
    lab.nodes[1].must(&["rotate"]);
    lab.wait_until_acknowledged(2);
    assert_eq!(lab.open().ring.generation, before.generation + 1);
    all_open(&lab.nodes, &watch.end());
}

pub fn a_first_start_without_copy_and_without_etcd_is_ready_and_names_the_cause() {
    let mut lab = Lab::with(1, json!({}));
    lab.add();
    lab.give_root(&lab.nodes[1]);
    lab.cluster.kill(0);

    let systemd = Systemd::bind(&lab.nodes[1]);
    let started = Instant::now();
    let server = systemd.start(&lab.nodes[1]);
    let told = systemd.told("READY=1");
    let took = started.elapsed();
    println!("       ready after {took:?}");
    assert!(took < READY, "{took:?}");
    assert!(told.contains("STATUS=") && told.contains("etcd"), "{told}");
    let client = Client::connect(&lab.nodes[1].socket);
    let refused = client.status().unwrap_err();
    let cause = refused.message();
    assert!(
        cause.contains("there is no copy of the ring here yet") && cause.contains(lab.cluster.url(0)),
        "{cause}"
    );
    assert!(client.encrypt(&[1; 32]).is_err());
    wait_until("the problem to be told", PATIENCE, || {
        problems(&lab.nodes[1]).contains("no copy")
    });

    lab.cluster.run(0);
    lab.cluster.wait_until_ready();
    // By itself.
    wait_until("the ring to be there", PATIENCE, || client.status().is_ok());
    let sealed = client.encrypt(&[1; 32]).unwrap();
    assert_eq!(
        Client::connect(&lab.nodes[0].socket).decrypt(&sealed).unwrap(),
        [1; 32]
    );
    lab.wait_until_acknowledged(2);
    assert!(server.stop().success());
}
