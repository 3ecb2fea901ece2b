//! Rotation after rotation, with every API server in use and one of them restarted each minute.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::keys::{CONVERGED, Keys};
use crate::lab::Lab;
use crate::load::Load;
use crate::lot::in_full;
use crate::wait::{SOON, wait_for};
use crate::weather::What;

/// Of the active key; an API server goes over to the new one within 20 s while its readiness is asked for.
const PERIOD: Duration = Duration::from_secs(45);
const MINUTE: Duration = Duration::from_secs(60);

pub fn no_read_and_no_write_fails_while_keys_rotate_and_api_servers_restart() {
    let minutes = if in_full() { 15 } else { 3 };
    let mut lab = Lab::start(&format!("{}s", PERIOD.as_secs()));
    let (load, keys) = (Load::of(&lab), Keys::of(&lab));

    load.during(|| {
        keys.during(|| {
            let started = Instant::now();
            for minute in 0..minutes {
                // The first half of a minute is for what was cached, the second for what was not.
                let at = MINUTE * minute + MINUTE / 2;
                wait_for("the next restart", 2 * MINUTE, || {
                    (started.elapsed() >= at).then_some(())
                });
                let it = usize::try_from(minute).unwrap() % 3;
                let weather = Arc::clone(&lab.weather);
                weather.during(What::ApiServer(it), || lab.nodes[it].restart_api_server());
            }
            let end = MINUTE * minutes;
            wait_for("the end", 2 * MINUTE, || (started.elapsed() >= end).then_some(()));
            load.go_on();
            wait_for("the plugins to agree", CONVERGED, || keys.agreed());
        });
    });

    let (rotations, convergence) = (keys.rotations(), keys.convergence());
    println!(
        "\n{rotations} rotations, each on all nodes within {convergence:.1?}; {}",
        lab.weather
    );
    load.print();
    assert_eq!(load.failures(), [""; 0]);
    keys.none_went_back();
    let expected = expected(MINUTE * minutes, PERIOD);
    assert!(
        expected.contains(&rotations),
        "{rotations} rotations, not {expected:?}"
    );
    assert!(convergence.iter().all(|it| *it < CONVERGED), "{convergence:?}");
    // Under each key every API server has read what each of the others wrote, each of them under a seed of its own.
    let (decrypts, floor) = (keys.all_decrypts(), 6 * rotations);
    println!("{decrypts} Decrypts, at least {floor} of seeds of another node");
    assert!(decrypts >= f64::from(u32::try_from(floor).unwrap()));
    every_api_server_reads_everything_with_empty_caches(&mut lab, &load, &keys);
}

/// How often a ring rotates in this time, none of its nodes being away for long: a period has a jitter of a tenth, and room;
/// and each is due once.
pub fn expected(time: Duration, period: Duration) -> RangeInclusive<usize> {
    let least = time.as_secs() / (period.as_secs() * 5 / 4);
    let most = time.as_secs() / (period.as_secs() * 4 / 5) + 1;
    least.try_into().unwrap()..=most.try_into().unwrap()
}

/// Whoever starts has no seed: each that lies in etcd is a Decrypt.
pub fn every_api_server_reads_everything_with_empty_caches(lab: &mut Lab, load: &Load, keys: &Keys) {
    for it in 0..lab.nodes.len() {
        keys.look(it);
        let before = keys.decrypts(it);
        lab.nodes[it].restart_api_server();
        let secrets = load.reads_through(&lab.nodes[it].api());
        let stored = lab.stored();
        let (seeds, under) = (Lab::seeds(&stored).len(), Lab::keys(&stored).len());
        let least = f64::from(u32::try_from(seeds).unwrap());
        wait_for("the plugin to count them", SOON, || {
            keys.look(it);
            (keys.decrypts(it) - before >= least).then_some(())
        });
        println!(
            "{} reads {secrets} Secrets under {under} keys with empty caches: {seeds} seeds, {} Decrypts",
            lab.nodes[it].name,
            keys.decrypts(it) - before
        );
    }
}
