//! A kind cluster with kekring as a static Pod: a real kubelet and containerd, with etcd and kube-apiserver as static
//! Pods too. One cluster for all scenarios, made by the script that a user types for a first look.
//!
//! Needs Docker, and uses the engine that is running; where none is, it starts one of its own, which needs root and leaves
//! nothing behind. The node's image is kind's own where a registry can be reached, and otherwise one that is built here
//! from Debian's packages and Go's modules. What is missing is named and the trials are ignored, except with
//! `TESTS_REQUIRED=all`: then they fail.
//!
//! With `KEKRING_TESTS=full`, three control-plane nodes besides, on containers of their own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod changes;
#[path = "../apiserver/client.rs"]
#[allow(dead_code)] // another suite needs more of it
mod client;
mod cluster;
mod creation;
mod engine;
mod etcd;
mod first;
#[path = "../apiserver/form.rs"]
#[allow(dead_code)]
mod form;
#[path = "../support/golang.rs"]
#[allow(dead_code)]
mod golang;
mod ground;
mod guide;
mod kubeadm;
#[path = "../support/kubernetes.rs"]
mod kubernetes;
#[path = "../apiserver/load.rs"]
#[allow(dead_code)]
mod load;
#[path = "../support/lot.rs"]
mod lot;
mod machines;
mod node_image;
mod order;
mod outage;
#[path = "../support/page.rs"]
mod page;
mod place;
mod plugin;
#[path = "../apiserver/ready.rs"]
#[allow(dead_code)]
mod ready;
mod run;
mod several;
mod three;
#[path = "../apiserver/wait.rs"]
mod wait;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use kekring_kit::{Missing, Suite, Times, trials};

use cluster::Cluster;
use ground::Ground;

/// What the scenarios share.
struct Shared {
    ground: OnceLock<Result<Arc<Ground>, Missing>>,
    cluster: OnceLock<Result<Cluster, Missing>>,
    times: Arc<Times>,
}

fn main() -> ExitCode {
    // They share the cluster, and what they do to it.
    let mut suite = Suite::new("kind").in_turn();
    let shared = Arc::new(Shared {
        ground: OnceLock::new(),
        cluster: OnceLock::new(),
        times: suite.times(),
    });
    for (name, scenario) in trials![
        first::a_first_look_shows_a_secret_that_is_ciphertext_in_etcd_and_reads_back,
        first::kubeadm_s_own_secrets_were_encrypted_from_the_first_write,
        first::every_command_of_the_page_runs,
        changes::a_rotation_in_the_pod_gives_new_secrets_the_new_key_and_old_ones_stay_readable,
        changes::a_new_encryption_configuration_is_taken_without_a_restart,
        changes::an_upgrade_of_the_image_fails_no_read_and_no_write,
        outage::a_killed_plugin_is_back_at_once_and_nobody_notices,
        outage::a_manifest_that_is_taken_away_and_put_back_costs_readiness_and_no_read,
        outage::a_frozen_plugin_is_restarted_by_kubelet_and_no_request_fails_until_then,
        order::kekring_before_etcd_and_kube_apiserver,
        order::kekring_after_etcd_and_kube_apiserver,
        order::kube_apiserver_before_kekring_and_etcd,
        order::a_reboot_of_the_node_keeps_the_ring_and_every_secret,
        guide::every_command_for_a_static_pod_does_what_the_page_says,
        first::one_command_deletes_everything_that_the_first_look_made,
    ] {
        let shared = Arc::clone(&shared);
        suite.trial(name, move || shared.run(scenario));
    }
    if lot::in_full() {
        three_control_planes(&mut suite, Arc::clone(&shared));
    }
    suite.run_and_then(|| {
        let shared = Arc::into_inner(shared);
        shared.expect("no trial runs any more").end();
    })
}

/// On nodes of its own.
fn three_control_planes(suite: &mut Suite, shared: Arc<Shared>) {
    let name = "three_control_planes_of_kubeadm_come_to_be_rotate_and_go_through_the_phases";
    suite.trial(name, move || {
        three::from_the_first_boot_through_the_phases(&shared.ground()?);
        Ok(())
    });
}

impl Shared {
    /// Made by the first trial that runs.
    fn ground(&self) -> Result<Arc<Ground>, Missing> {
        let ground = self.ground.get_or_init(|| {
            let started = Instant::now();
            let ground = Ground::find_or_make().map(Arc::new);
            self.note("the engine, the image and the program", started);
            ground
        });
        ground.clone()
    }

    /// The first trial that runs makes the cluster. A panic is caught by the harness.
    fn run(&self, scenario: fn(&Cluster)) -> Result<(), Missing> {
        let cluster = self.cluster.get_or_init(|| {
            let ground = self.ground()?;
            let started = Instant::now();
            let cluster = Cluster::create(ground).map_err(Missing::Broken);
            self.note("the cluster", started);
            cluster
        });
        let cluster = cluster.as_ref().map_err(Missing::clone)?;
        let started = Instant::now();
        cluster.heal();
        scenario(cluster);
        print!("{:.0} s ... ", started.elapsed().as_secs_f32());
        Ok(())
    }

    fn note(&self, name: &str, started: Instant) {
        let took = self.times.took(name, started);
        print!("{name}: {:.0} s ... ", took.as_secs_f32());
    }

    /// Ends the cluster, if a trial has not, and then the engine.
    fn end(self) {
        let started = Instant::now();
        drop(self.cluster);
        drop(self.ground);
        self.times.took("the end", started);
    }
}
