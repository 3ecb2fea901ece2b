//! The whole cluster is off at once, and comes back in the order that is worst: etcd last.

use std::time::{Duration, Instant};

use crate::keys::{CONVERGED, Keys};
use crate::lab::Lab;
use crate::load::Load;
use crate::wait::{SOON, wait_for};

/// A start waits for etcd for a moment, and says READY without it; the rest is room for three at once.
const READY: Duration = Duration::from_secs(15);

pub fn after_a_blackout_the_plugins_serve_without_etcd_and_everything_reads_once_it_is_back() {
    let mut lab = Lab::start("30d");
    let load = Load::of(&lab);
    load.during(|| load.go_on());
    lab.nodes[0].must(&["rotate"]);
    let active = lab.nodes[0].active();
    load.print();
    assert_eq!(load.failures(), [""; 0]);
    lab.write_until_under(1, &active);

    lab.switch_off();
    let started = Instant::now();
    for node in &mut lab.nodes {
        node.plugin.spawn();
    }
    for node in &mut lab.nodes {
        node.plugin.wait_until_it_answers();
    }
    let took = started.elapsed();
    println!(
        "\n3 plugins serve {:.1} s after their start, without etcd",
        took.as_secs_f32()
    );
    assert!(took < READY, "{took:?}");
    for node in &lab.nodes {
        assert_eq!(node.active(), active);
        node.must(&["probe", "--round-trip"]);
    }
    // kube-apiserver gives up after a while where there is no etcd, and kubelet starts it again.
    for node in &mut lab.nodes {
        node.spawn_api_server();
    }
    lab.start_etcd();
    for node in &mut lab.nodes {
        node.keep_starting_api_server();
    }
    println!(
        "all API servers are ready {:.1} s after the start",
        started.elapsed().as_secs_f32()
    );

    for node in &lab.nodes {
        println!("{} reads {} Secrets", node.name, load.reads_through(&node.api()));
    }
    let keys = Keys::of(&lab);
    keys.during(|| {
        wait_for("the plugins to show their key", SOON, || keys.agreed());
        lab.nodes[2].must(&["rotate"]);
        wait_for("the plugins to go on together", CONVERGED, || {
            keys.agreed().filter(|_| keys.rotations() == 1)
        });
    });
    println!("{keys} after the start");
    let again = Load::of(&lab);
    again.during(|| again.go_on());
    again.print();
    assert_eq!(again.failures(), [""; 0]);
}
