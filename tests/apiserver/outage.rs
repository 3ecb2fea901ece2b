//! The plugin goes away and comes back.

use std::time::Instant;

use crate::lab::Lab;
use crate::load::{Load, secret};
use crate::ready::{SEED_LIFE, wait_until_ready, wait_until_unready};
use crate::wait::{SOON, wait_for};

pub fn a_killed_plugin_stops_no_cached_read_and_resumes_with_the_same_key() {
    let mut lab = Lab::start();
    let (api, key) = (lab.api(), lab.plugin.active_key());
    api.create_secret("old", "kept").unwrap();
    let load = Load::new(lab.api());

    let (killed, back) = load.during(|| {
        lab.plugin.kill();
        let killed = load.written();
        wait_until_unready(&api);
        load.go_on();
        lab.plugin.start();
        wait_until_ready(&api);
        let back = load.written();
        load.go_on();
        (killed, back)
    });

    println!(
        "\n{} writes, {} of them without a plugin, and {} reads; none failed",
        load.written(),
        back - killed,
        load.reads()
    );
    // The outage is shorter than the 3 minutes for which kube-apiserver goes on writing under what it has.
    assert_eq!(load.failures(), [""; 0]);
    assert_eq!(lab.plugin.active_key(), key);
    assert_eq!(lab.key_of_secret(&secret(load.written() - 1)), key.id);
    // With its caches empty kube-apiserver needs the plugin for each Secret, old and new.
    lab.control_plane.restart_api_server();
    let api = lab.api();
    assert_eq!(api.password("old").unwrap(), "kept");
    for number in [0, killed, back, load.written() - 1] {
        assert_eq!(api.password(&secret(number)).unwrap(), secret(number));
    }
    assert!(lab.plugin.decrypts().contains(&key.id));
}

pub fn a_plugin_that_is_away_makes_kube_apiserver_unready_and_not_dead() {
    let mut lab = Lab::start();
    let api = lab.api();
    let ready = api.health("/readyz").unwrap();
    assert!(ready.body.contains("[+]kms-providers ok"), "{ready:?}");

    let status = lab.plugin.stop();
    let unready = wait_until_unready(&api);
    let live = api.health("/livez").unwrap();
    lab.plugin.start();
    wait_until_ready(&api);

    assert!(status.success(), "kekring ended with {status}");
    let failed: Vec<&str> = unready
        .body
        .lines()
        .filter(|line| line.starts_with("[-]"))
        .collect();
    assert_eq!(failed.len(), 1, "{unready:?}");
    assert!(failed[0].starts_with("[-]kms-providers failed"), "{unready:?}");
    assert_eq!(live.status, 200);
    assert!(!live.body.contains("kms-providers"), "{live:?}");
    api.create_secret("after", "new").unwrap();
    assert_eq!(api.password("after").unwrap(), "new");
}

pub fn writes_that_an_outage_of_minutes_stopped_resume_and_reads_never_stopped() {
    let mut lab = Lab::start();
    let (api, key) = (lab.api(), lab.plugin.active_key());
    let load = Load::new(lab.api());

    load.during(|| {
        lab.plugin.kill();
        let killed = Instant::now();
        wait_for("writes to stop", SEED_LIFE + SOON, || {
            (!load.failures().is_empty()).then_some(())
        });
        let stopped = killed.elapsed();
        load.reads_go_on();
        lab.plugin.start();
        let started = Instant::now();
        wait_until_ready(&api);
        load.go_on();
        println!(
            "\nwrites stopped {:.0} s after the plugin, and went on {:.0} s after it was back",
            stopped.as_secs_f32(),
            started.elapsed().as_secs_f32()
        );
    });

    let other: Vec<String> = load
        .failures()
        .into_iter()
        .filter(|why| !(why.starts_with("cannot write") && why.contains(" expired at ")))
        .collect();
    assert_eq!(other, [""; 0]);
    assert_eq!(lab.plugin.active_key(), key);
    for number in [0, load.written() - 1] {
        assert_eq!(lab.key_of_secret(&secret(number)), key.id);
        assert_eq!(api.password(&secret(number)).unwrap(), secret(number));
    }
}
