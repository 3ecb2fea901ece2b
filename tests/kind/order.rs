//! The node's own processes start in any order, and after a reboot.

use std::time::Instant;

use crate::cluster::{Cluster, MINUTES, NODE, PODS};
use crate::run::run;
use crate::wait::wait_for;

pub fn kekring_before_etcd_and_kube_apiserver(cluster: &Cluster) {
    a_start(cluster, "first", ["kekring", "etcd", "kube-apiserver"]);
}

pub fn kube_apiserver_before_kekring_and_etcd(cluster: &Cluster) {
    a_start(cluster, "middle", ["kube-apiserver", "kekring", "etcd"]);
}

pub fn kekring_after_etcd_and_kube_apiserver(cluster: &Cluster) {
    let api = cluster.api();
    api.create_secret("order-last", "kept").unwrap();
    stop_everything(cluster);

    cluster.put_back("etcd");
    cluster.put_back("kube-apiserver");
    // It answers, and says what it misses; with empty caches it cannot read a Secret. /livez would follow in a minute: at a
    // start it waits that long for every cache to be filled.
    wait_for("kube-apiserver to miss kekring", MINUTES, || {
        let health = api.health("/readyz").ok()?.body;
        let up = health.contains("[+]poststarthook/rbac/bootstrap-roles ok");
        (up && health.contains("[-]kms-providers failed")).then_some(())
    });
    let read = [
        "kubectl",
        "get",
        "secret",
        "order-last",
        "--namespace=suite",
        "--request-timeout=5s",
    ];
    let unread = cluster.tried_in_node(&read);
    cluster.put_back("kekring");
    let back = Instant::now();
    cluster.wait_for_the_api_server();

    println!(
        "\nready {:.0} s after kekring was put back",
        back.elapsed().as_secs_f32()
    );
    assert!(!unread.status.success(), "{unread:?}");
    reads_and_writes(cluster, "order-last");
}

pub fn a_reboot_of_the_node_keeps_the_ring_and_every_secret(cluster: &Cluster) {
    let (api, key) = (cluster.api(), cluster.active_key());
    api.create_secret("reboot", "kept").unwrap();
    let ring = cluster.status()["ring"].clone();

    let started = Instant::now();
    run(&mut cluster.docker(&["restart", NODE])).unwrap();
    cluster.wait_for_the_api_server();

    println!(
        "\nready {:.0} s after the command",
        started.elapsed().as_secs_f32()
    );
    reads_and_writes(cluster, "reboot");
    assert_eq!(cluster.active_key(), key);
    let status = cluster.status();
    assert_eq!(status["ring"], ring);
    // It is bound to a machine, and still on it.
    let warnings = status["warnings"].to_string();
    assert!(!warnings.contains("machine"), "{warnings}");
    cluster.kekring(&["rotate"]);
    assert_ne!(cluster.active_key(), key);
}

/// Everything ends, and starts in this order.
fn a_start(cluster: &Cluster, name: &str, order: [&str; 3]) {
    let name = format!("order-{name}");
    cluster.api().create_secret(&name, "kept").unwrap();
    stop_everything(cluster);

    for pod in order {
        cluster.put_back(pod);
        wait_for(pod, MINUTES, || cluster.runs(pod).then_some(()));
    }
    cluster.wait_for_the_api_server();

    reads_and_writes(cluster, &name);
}

fn stop_everything(cluster: &Cluster) {
    for pod in PODS {
        cluster.take_away(pod);
    }
    for pod in PODS {
        let what = format!("{pod} to end");
        wait_for(&what, MINUTES, || (!cluster.runs(pod)).then_some(()));
    }
}

/// kube-apiserver has started anew: nothing is cached.
fn reads_and_writes(cluster: &Cluster, name: &str) {
    let api = cluster.api();
    assert_eq!(api.password(name).unwrap(), "kept");
    let after = format!("{name}-after");
    api.create_secret(&after, "new").unwrap();
    assert_eq!(api.password(&after).unwrap(), "new");
}
