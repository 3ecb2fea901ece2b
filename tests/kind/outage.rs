//! kekring goes away, and kubelet or the operator brings it back.

use std::time::Instant;

use crate::cluster::{Cluster, MINUTES};
use crate::load::Load;
use crate::ready::wait_until_unready;
use crate::wait::wait_for;

pub fn a_killed_plugin_is_back_at_once_and_nobody_notices(cluster: &Cluster) {
    let (key, restarts) = (cluster.active_key(), cluster.restarts());
    let load = Load::gentle("killed", &cluster.api());

    load.during(|| {
        cluster.signal("KILL");
        let killed = Instant::now();
        wait_for("kubelet to start it again", MINUTES, || {
            (cluster.restarts() > restarts && cluster.answers()).then_some(())
        });
        println!(
            "\nit answered again after {:.1} s",
            killed.elapsed().as_secs_f32()
        );
        cluster.wait_until_ready();
        load.go_on();
    });

    assert_eq!(load.failures(), [""; 0]);
    assert_eq!(cluster.active_key(), key);
}

pub fn a_frozen_plugin_is_restarted_by_kubelet_and_no_request_fails_until_then(cluster: &Cluster) {
    let (api, restarts) = (cluster.api(), cluster.restarts());
    let load = Load::gentle("frozen", &cluster.api());

    load.during(|| {
        cluster.signal("STOP");
        let frozen = Instant::now();
        let unready = wait_until_unready(&api);
        let missed = frozen.elapsed();
        assert!(unready.body.contains("[-]kms-providers failed"), "{unready:?}");
        load.reads_go_on();
        wait_for("kubelet to restart it", MINUTES, || {
            (cluster.restarts() > restarts && cluster.answers()).then_some(())
        });
        let back = frozen.elapsed();
        cluster.wait_until_ready();
        println!(
            "\nkube-apiserver missed it after {:.0} s, kubelet had restarted it after {:.0} s, ready after {:.0} s",
            missed.as_secs_f32(),
            back.as_secs_f32(),
            frozen.elapsed().as_secs_f32()
        );
        load.go_on();
    });

    assert_eq!(load.failures(), [""; 0]);
}

pub fn a_manifest_that_is_taken_away_and_put_back_costs_readiness_and_no_read(cluster: &Cluster) {
    let (api, key) = (cluster.api(), cluster.active_key());
    let load = Load::gentle("removed", &cluster.api());

    load.during(|| {
        cluster.take_away("kekring");
        let unready = wait_until_unready(&api);
        assert!(unready.body.contains("[-]kms-providers failed"), "{unready:?}");
        assert!(!cluster.runs("kekring"));
        load.reads_go_on();
        cluster.put_back("kekring");
        cluster.wait_until_ready();
        load.go_on();
    });

    assert_eq!(load.failures(), [""; 0]);
    assert_eq!(cluster.active_key(), key);
}
