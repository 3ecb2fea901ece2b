//! The active key of every plugin, looked at all the time.

use std::fmt;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::over::{AtTheEnd, Over};
use crate::support::scrape::{Scrape, get};

const PACE: Duration = Duration::from_millis(250);
/// A plugin reads the store at least every 30 s, whatever its watch tells it; the rest is room.
pub const CONVERGED: Duration = Duration::from_secs(40);

/// What a plugin has shown.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// Each active key by its hash, and when it was first seen.
    active: Vec<(String, Instant)>,
    /// The Decrypts of earlier processes, and of this one.
    earlier: f64,
    decrypts: f64,
}

/// Watches the plugins of a lab.
pub struct Keys {
    addresses: Vec<String>,
    seen: Mutex<Vec<Seen>>,
    over: Over,
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rotations, {} Decrypts",
            self.rotations(),
            self.all_decrypts()
        )
    }
}

impl Keys {
    pub fn of(lab: &Lab) -> Self {
        let addresses: Vec<String> = lab.nodes.iter().map(|it| it.telemetry.clone()).collect();
        Self {
            seen: Mutex::new(vec![Seen::default(); addresses.len()]),
            addresses,
            over: Over::default(),
        }
    }

    /// Watches for as long as `scenario` runs, and once more at its end.
    pub fn during<T>(&self, scenario: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let _end = AtTheEnd(&self.over);
            for it in 0..self.addresses.len() {
                scope.spawn(move || {
                    while !self.over.pause(PACE) {
                        self.look(it);
                    }
                });
            }
            scenario()
        })
    }

    /// A plugin that is away shows nothing.
    pub fn look(&self, plugin: usize) -> Option<()> {
        let page = get(&self.addresses[plugin], "/metrics").ok()?;
        let scrape = Scrape::parse(&page.body);
        let active = scrape.0.get("kekring_active_key")?.samples.first()?;
        let hash = active.1["key_id_hash"].clone();
        let decrypts = scrape.sum("kekring_decrypts_total", &[]);
        let mut seen = self.seen.lock().unwrap();
        let seen = &mut seen[plugin];
        if decrypts < seen.decrypts {
            seen.earlier += seen.decrypts;
        }
        seen.decrypts = decrypts;
        if seen.active.last().is_none_or(|(last, _)| *last != hash) {
            seen.active.push((hash, Instant::now()));
        }
        Some(())
    }

    /// The Decrypts of one plugin so far.
    pub fn decrypts(&self, plugin: usize) -> f64 {
        let seen = self.seen.lock().unwrap();
        seen[plugin].earlier + seen[plugin].decrypts
    }

    pub fn all_decrypts(&self) -> f64 {
        (0..self.addresses.len()).map(|it| self.decrypts(it)).sum()
    }

    /// Every key that any plugin had active, in order.
    pub fn order(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let mut all: Vec<&(String, Instant)> = seen.iter().flat_map(|it| &it.active).collect();
        all.sort_by_key(|(_, when)| *when);
        let mut order: Vec<String> = Vec::new();
        for (hash, _) in all {
            if !order.contains(hash) {
                order.push(hash.clone());
            }
        }
        order
    }

    /// How often the ring has rotated.
    pub fn rotations(&self) -> usize {
        self.order().len().saturating_sub(1)
    }

    /// The key that all have active at the moment, if it is one.
    pub fn agreed(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        let mut last = seen
            .iter()
            .map(|it| it.active.last().map(|(hash, _)| hash.clone()));
        let first = last.next()??;
        last.all(|it| it.as_ref() == Some(&first)).then_some(first)
    }

    /// No plugin went back to a key that it had left.
    pub fn none_went_back(&self) {
        for (it, seen) in self.seen.lock().unwrap().iter().enumerate() {
            let mut hashes: Vec<&String> = seen.active.iter().map(|(hash, _)| hash).collect();
            let count = hashes.len();
            hashes.sort();
            hashes.dedup();
            assert_eq!(hashes.len(), count, "plugin {it} went back: {:?}", seen.active);
        }
    }

    /// For each key after the first, how long it took from the first plugin to the last. Each had every one.
    pub fn convergence(&self) -> Vec<Duration> {
        let order = self.order();
        let seen = self.seen.lock().unwrap();
        let first_seen = |hash: &String| -> Vec<Instant> {
            let when = seen.iter().map(|it| it.active.iter().find(|(at, _)| at == hash));
            when.map(|it| {
                it.unwrap_or_else(|| panic!("a plugin never had {hash} active: {seen:#?}"))
                    .1
            })
            .collect()
        };
        order[1..]
            .iter()
            .map(|hash| {
                let all = first_seen(hash);
                *all.iter().max().unwrap() - *all.iter().min().unwrap()
            })
            .collect()
    }
}
