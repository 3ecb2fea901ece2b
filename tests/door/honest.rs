//! The client that must notice nothing, and what the server takes from the machine meanwhile.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::support::open_files::open_files;
use crate::support::{PATIENCE, Plugin, wait_until};

/// kube-apiserver's own deadline of a call.
const DEADLINE: Duration = Duration::from_secs(3);
/// What the process may take at most, in KiB.
const MOST: u64 = 64 * 1024;
/// What it may keep afterwards beyond what it had, in KiB: an allocator gives back late.
const KEPT: u64 = 20 * 1024;

/// Calls Status, Encrypt and Decrypt without a pause, each of which must succeed in time.
pub struct Honest {
    over: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    caller: Option<JoinHandle<Duration>>,
}

impl Honest {
    pub fn begin(plugin: &Plugin) -> Self {
        let client = Client::connect(&plugin.socket);
        let key_id = client.key_id();
        let (over, rounds) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (ending, counting) = (Arc::clone(&over), Arc::clone(&rounds));
        let caller = std::thread::spawn(move || {
            let mut slowest = Duration::ZERO;
            let mut timed = |what: &str, started: Instant| {
                slowest = slowest.max(started.elapsed());
                assert!(slowest < DEADLINE, "{what} took {slowest:?}");
            };
            for seed in (0..=u8::MAX).cycle() {
                if ending.load(Ordering::SeqCst) {
                    break;
                }
                let started = Instant::now();
                assert_eq!(client.status().unwrap().key_id, key_id);
                timed("Status", started);
                let started = Instant::now();
                let sealed = client.encrypt(&[seed; 32]).unwrap();
                timed("Encrypt", started);
                let started = Instant::now();
                assert_eq!(client.decrypt(&sealed).unwrap(), [seed; 32]);
                timed("Decrypt", started);
                counting.fetch_add(1, Ordering::SeqCst);
            }
            slowest
        });
        Self {
            over,
            rounds,
            caller: Some(caller),
        }
    }

    /// Returns once it was served some more; fails at once where it was not.
    pub fn goes_on(&self) {
        let before = self.rounds.load(Ordering::SeqCst);
        wait_until("the honest client to be served", PATIENCE, || {
            let caller = self.caller.as_ref().expect("a caller");
            assert!(!caller.is_finished(), "the honest client was failed");
            self.rounds.load(Ordering::SeqCst) >= before + 3
        });
    }

    /// Ends it, and says how many rounds there were and how long the slowest call took.
    pub fn end(mut self) -> (usize, Duration) {
        self.over.store(true, Ordering::SeqCst);
        let slowest = self.caller.take().expect("a caller").join().unwrap();
        (self.rounds.load(Ordering::SeqCst), slowest)
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(caller) = self.caller.take() {
            let _ = caller.join();
        }
    }
}

/// A server that a flood is let loose on, while an honest client is served. It takes no more than a little memory.
pub fn under(what: &str, config: &str, flood: impl FnOnce(&Plugin, &Honest)) {
    let (idle, after) = let_loose(what, config, flood);

    assert!(
        after <= idle + KEPT,
        "{what}: {after} KiB remain of {idle} before"
    );
}

/// The same with a flood that fills what unfinished requests may hold. An allocator keeps some of that for the next time:
/// three times do not need more than once.
pub fn under_three(what: &str, flood: impl Fn(&Plugin, &Honest)) {
    let_loose(what, "{}", |plugin, honest| {
        for _ in 0..3 {
            flood(plugin, honest);
            honest.goes_on();
        }
    });
}

fn let_loose(what: &str, config: &str, flood: impl FnOnce(&Plugin, &Honest)) -> (u64, u64) {
    let plugin = Plugin::with(config);
    let honest = Honest::begin(&plugin);
    honest.goes_on();
    let (memory, descriptors) = (resident(&plugin), open_files(plugin.pid()));

    flood(&plugin, &honest);
    honest.goes_on();
    let peak = kib(&plugin, "VmHWM");
    wait_until("every descriptor to be given back", PATIENCE, || {
        open_files(plugin.pid()) <= descriptors
    });
    let after = resident(&plugin);
    let (rounds, slowest) = honest.end();

    eprintln!(
        "{what}: {rounds} honest rounds, slowest call {} ms; memory {} MiB, peak {} MiB, after {} MiB",
        slowest.as_millis(),
        memory / 1024,
        peak / 1024,
        after / 1024,
    );
    assert!(peak <= MOST, "{what}: {peak} KiB at the most");
    assert!(!plugin.log().contains("panicked"), "{}", plugin.log());
    (memory, after)
}

pub fn resident(plugin: &Plugin) -> u64 {
    kib(plugin, "VmRSS")
}

fn kib(plugin: &Plugin, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", plugin.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
