//! systemd keeps the listening socket open, and kekring comes and goes behind it.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Api, collection};
use crate::lab::Lab;
use crate::load::{Load, Over};
use crate::plugin::Plugin;
use crate::ready::{KMS_OPERATIONS, wait_for_another_status};
use crate::wait::{SOON, wait_for};

/// Orderly restarts, and new configurations meanwhile: each empties kube-apiserver's caches, so that it has to ask.
const RESTARTS: usize = 12;
const RELOADS: usize = 6;
/// At least so long, and until kube-apiserver has asked in vain.
const ABSENCE: Duration = Duration::from_secs(12);

pub fn a_socket_that_stays_open_hides_every_restart_and_a_short_absence() {
    let mut lab = Lab::with(Plugin::start_activated, |plugin| {
        Some(plugin.encryption_configuration())
    });
    let api = lab.api();
    let load = Load::new(lab.api());

    load.during(|| {
        let (restarts, calls) = restart_in_order_while_caches_are_emptied(&mut lab, &load);
        println!("\n{restarts} orderly restarts; kube-apiserver's calls: {calls:?}");
        assert_eq!(errors(&calls), BTreeMap::new());
        // From here on no request needs the plugin.
        let seen = api.count(&collection("secrets")).unwrap();
        assert!(seen > 0);
        lab.plugin.kill();
        lab.plugin.start();
        wait_for_another_status(&api);
        load.go_on();
        stay_away(&mut lab, &load);
        wait_for_another_status(&api);
        load.go_on();
    });

    println!(
        "{} writes and {} reads; calls in the end: {:?}",
        load.written(),
        load.reads(),
        calls(&api)
    );
    assert_eq!(load.failures(), [""; 0]);
    lab.control_plane.restart_api_server();
    assert_eq!(
        lab.api().count(&collection("secrets")).unwrap(),
        load.written(),
        "an empty cache reads every Secret"
    );
}

/// A restart is noticed by no call: what comes while nobody serves waits in the socket's queue.
fn restart_in_order_while_caches_are_emptied(lab: &mut Lab, load: &Load) -> (usize, BTreeMap<String, f64>) {
    let configuration = lab.plugin.encryption_configuration();
    let (over, reloads, mut restarts) = (AtomicBool::new(false), AtomicUsize::new(0), 0);
    let (control_plane, plugin) = (&lab.control_plane, &mut lab.plugin);
    thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            while !over.load(SeqCst) {
                let number = reloads.load(SeqCst);
                control_plane.reload(&format!("# {number}\n{configuration}"));
                reloads.store(number + 1, SeqCst);
            }
        });
        let raised = Over(&over);
        while !reloading.is_finished() && (restarts < RESTARTS || reloads.load(SeqCst) < RELOADS) {
            let status = plugin.stop();
            plugin.start();
            assert!(status.success(), "kekring ended with {status}");
            restarts += 1;
        }
        drop(raised);
        reloading.join().unwrap_or_else(|why| resume_unwind(why));
    });
    load.go_on();
    (restarts, calls(&lab.control_plane.api()))
}

/// kube-apiserver asks for the Status, and waits for 3 s at a socket that nobody serves.
fn stay_away(lab: &mut Lab, load: &Load) {
    assert!(lab.plugin.stop().success());
    let (api, stopped) = (lab.api(), Instant::now());
    wait_for("kube-apiserver to ask in vain", SOON, || {
        api.health("/readyz").unwrap();
        let failed = errors(&calls(&api));
        (stopped.elapsed() >= ABSENCE && !failed.is_empty()).then_some(())
    });
    load.go_on();
    lab.plugin.start();
    println!("\naway for {:.0} s", stopped.elapsed().as_secs_f32());
}

/// How many calls kube-apiserver has made, by method and outcome.
fn calls(api: &Api) -> BTreeMap<String, f64> {
    api.series(KMS_OPERATIONS).into_iter().collect()
}

fn errors(calls: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let failed = |labels: &&String| !labels.contains("grpc_status_code=\"OK\"");
    let failed = calls.keys().filter(failed);
    failed.map(|labels| (labels.clone(), calls[labels])).collect()
}
