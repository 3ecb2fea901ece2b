//! A reload or a rotation that panics: the ring in memory serves on, it is told, and the next attempt is made.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kekring::keyring::live::Live;
use kekring::keyring::{KeyId, Keyring, lifecycle};
use kekring::reload::{self, Handles};
use kekring::store::RingStore;
use kekring::telemetry::{Gauges, Metrics, now};
use tokio::runtime::Runtime;

use crate::bench::{Bench, key};
use crate::between::Between;
use crate::support::{PATIENCE, wait_until};

fn spring(trap: &AtomicBool) {
    if trap.load(Ordering::SeqCst) {
        panic::panic_any("the trap");
    }
}

/// A reloader on a ring of its own, with its traps.
struct Server {
    bench: Bench,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    at_load: Arc<AtomicBool>,
    at_save: Arc<AtomicBool>,
    handles: Handles,
    _runtime: Runtime,
}

impl Server {
    fn rotating_every(period: Duration) -> Self {
        let bench = Bench::new();
        let (at_load, at_save): (Arc<AtomicBool>, Arc<AtomicBool>) = Default::default();
        let (loads, saves) = (Arc::clone(&at_load), Arc::clone(&at_save));
        let mut custody = bench.custody();
        custody.store = Box::new(Between {
            store: bench.store(),
            load: Box::new(move |store| {
                spring(&loads);
                store.load()
            }),
            save: Box::new(move |_| {
                spring(&saves);
                Ok(())
            }),
        });
        let live = Arc::new(Live::new(Keyring::absent("not opened yet")));
        let metrics = Arc::new(Metrics::new(None));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let context = runtime.enter();
        let handles = reload::spawn(custody, None, Arc::clone(&live), period, Arc::clone(&metrics));
        drop(context);
        Self {
            bench,
            live,
            metrics,
            at_load,
            at_save,
            handles,
            _runtime: runtime,
        }
    }

    fn reported(&self) -> Option<KeyId> {
        self.live.load().status().ok().cloned()
    }

    fn failures(&self) -> String {
        let text = self.metrics.render(&Gauges::default()).unwrap();
        let line = text
            .lines()
            .find(|line| line.contains("reloads_total") && line.contains("failure"))
            .expect("a counter of failed reloads");
        line.rsplit_once(' ').unwrap().1.to_owned()
    }

    fn problems(&self) -> Vec<String> {
        self.handles.health.borrow().problems.clone()
    }

    fn told(&self) -> bool {
        self.problems().iter().any(|it| it.contains("panicked")) && self.failures() != "0"
    }
}

const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

#[test]
fn a_panic_in_a_reload_keeps_the_ring_and_is_told() {
    let server = Server::rotating_every(MONTH);
    wait_until("a key", PATIENCE, || server.reported().is_some());
    let before = server.reported();

    server.at_load.store(true, Ordering::SeqCst);
    let opened = server.bench.open();
    let next = lifecycle::activate(&opened.ring, key(), now()).unwrap();
    let after = server.bench.custody().commit(&opened, next, now()).unwrap();
    wait_until("the panic to be told", PATIENCE, || server.told());
    assert_eq!(server.reported(), before);

    server.at_load.store(false, Ordering::SeqCst);
    let id = after.ring.active().map(|key| key.id.clone());
    wait_until("the new ring", PATIENCE, || server.reported() == id);
    wait_until("no problem", PATIENCE, || server.problems().is_empty());
}

#[test]
fn a_panic_in_a_rotation_keeps_the_ring_and_the_next_attempt_rotates() {
    let server = Server::rotating_every(Duration::from_secs(1));
    server.at_save.store(true, Ordering::SeqCst);
    wait_until("the panic to be told", PATIENCE, || server.told());
    let reported = server.reported().unwrap();
    let stored = server.bench.open();
    assert_eq!(stored.ring.active().unwrap().id, reported);

    server.at_save.store(false, Ordering::SeqCst);
    wait_until("the next key", PATIENCE, || {
        server.reported().is_some_and(|id| id > reported)
    });
}
