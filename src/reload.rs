//! The ring of a running server: load it, watch the store, rotate when it is due, swap. A bad ring never replaces a good one.
//!
//! Everything that touches files, roots or key derivation runs here, on a thread of its own, one step at a time. The
//! serving thread only takes snapshots.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::custody::{CommitError, Custody, Opened};
use crate::keyring::live::Live;
use crate::keyring::ring::{Ring, UnixTime};
use crate::keyring::schedule::{self, Clocks, Due};
use crate::keyring::{KeyId, Keyring, RingId, lifecycle};
use crate::store::Stamp;
use crate::telemetry;

/// How often the store is asked for a cheap stamp, and whether a rotation is due.
const TICK: Duration = Duration::from_secs(1);
/// How often the store is read in full although nothing seems to have changed.
const REREAD: Duration = Duration::from_secs(30);
/// Longest that a Decrypt under an unknown key waits for a read of the store.
const JOIN_PATIENCE: Duration = Duration::from_millis(1500);
/// Shortest time between two such reads.
const JOIN_INTERVAL: Duration = Duration::from_secs(1);
/// Longest pause between two attempts to open a ring that does not open.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Requests that may wait for one read of the store.
const JOINERS: usize = 8192;

/// Asks for a read of the store on behalf of a request.
#[derive(Clone)]
pub struct Refresh(mpsc::Sender<oneshot::Sender<()>>);

impl Refresh {
    /// Waits for a read of the store that begins after this call; several callers share one. Bounded.
    pub async fn joined(&self) {
        let (done, waiting) = oneshot::channel();
        if self.0.try_send(done).is_ok() {
            let _ = tokio::time::timeout(JOIN_PATIENCE, waiting).await;
        }
    }
}

/// What a server knows of its ring, without a secret: for `status.json` and the log.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// False until the first attempt to open the ring has ended.
    pub attempted: bool,
    /// The ring, once it is open.
    pub ring: Option<RingHealth>,
    /// Why Status is an error, why the newest ring was not taken, why a rotation waits.
    pub problems: Vec<String>,
    /// For people.
    pub warnings: Vec<String>,
}

/// The ring as it is served.
#[derive(Clone, Debug)]
pub struct RingHealth {
    /// Its name.
    pub id: RingId,
    /// The generation in use.
    pub generation: u64,
    /// The active key.
    pub active: KeyId,
    /// When it became active, as stored.
    pub activated: Option<UnixTime>,
    /// The next key.
    pub next: KeyId,
    /// How many keys decrypt.
    pub keys: usize,
    /// When the next rotation is due by the wall clock; `None` while one waits for an operator or the ring is frozen.
    pub rotation: Option<UnixTime>,
    /// Why the ring is not changed.
    pub frozen: Option<String>,
}

/// What wakes the reloader.
pub enum Wake {
    /// SIGHUP.
    Reload(oneshot::Sender<()>),
}

/// Why a step is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// It is time.
    Tick,
    /// A request named a key that is not in memory.
    Request,
    /// SIGHUP.
    Signal,
}

/// Owns the opened ring.
pub struct Reloader {
    custody: Custody,
    live: Arc<Live>,
    period: Duration,
    opened: Option<Opened>,
    stamp: Option<Stamp>,
    health: watch::Sender<Health>,
    /// When this process started or the active key changed.
    settled: Instant,
    read: Instant,
    retry: Instant,
    backoff: Duration,
    rotate_after: Instant,
    load_trouble: Trouble,
    rotation_trouble: Trouble,
}

/// Something that is wrong: logged when it begins, changes and ends, not at every attempt.
struct Trouble(Option<String>);

impl Trouble {
    fn raise(&mut self, what: &str) {
        if self.0.as_deref() != Some(what) {
            tracing::error!("{what}");
            self.0 = Some(what.to_owned());
        }
    }

    fn clear(&mut self) {
        if let Some(what) = self.0.take() {
            tracing::info!("resolved: {what}");
        }
    }
}

/// The ends that the rest of the server holds.
pub struct Handles {
    /// For requests.
    pub refresh: Refresh,
    /// For SIGHUP.
    pub wake: mpsc::Sender<Wake>,
    /// What is known.
    pub health: watch::Receiver<Health>,
}

impl Reloader {
    /// Starts the reloader as a task of the current runtime. It tries to open the ring at once.
    pub fn spawn(custody: Custody, live: Arc<Live>, period: Duration) -> Handles {
        let (refresh, joiners) = mpsc::channel(JOINERS);
        let (wake, wakes) = mpsc::channel(16);
        let (health, watching) = watch::channel(Health::default());
        let now = Instant::now();
        let reloader = Self {
            custody,
            live,
            period,
            opened: None,
            stamp: None,
            health,
            settled: now,
            read: now,
            retry: now,
            backoff: TICK,
            rotate_after: now,
            load_trouble: Trouble(None),
            rotation_trouble: Trouble(None),
        };
        tokio::spawn(run(reloader, joiners, wakes));
        Handles {
            refresh: Refresh(refresh),
            wake,
            health: watching,
        }
    }

    /// One step; blocks.
    fn step(&mut self, cause: Cause) {
        let now = telemetry::now();
        if self.opened.is_none() {
            // Requests do not hurry a root: deriving a key from a passphrase is dear.
            if cause == Cause::Signal || Instant::now() >= self.retry {
                self.first_open(now);
            }
        } else if cause != Cause::Tick || self.changed() {
            self.reread(now);
        }
        self.rotate_if_due(now);
        self.publish(now);
    }

    fn changed(&mut self) -> bool {
        self.read.elapsed() >= REREAD || self.custody.store.stamp().ok() != self.stamp
    }

    fn first_open(&mut self, now: UnixTime) {
        match self.custody.open(None, now) {
            Ok(mut opened) => {
                if let Err(why) = self.settle(&mut opened, now) {
                    // A start needs no write: with a full or read-only disk serving comes first, loudly.
                    opened
                        .warnings
                        .push(format!("the mark or the mirror is behind the ring: {why}"));
                }
                self.take(opened);
            }
            Err(why) => {
                self.load_trouble.raise(&format!("{why}; hint: {}", why.hint()));
                self.live.swap(Keyring::absent(why.to_string()));
                let jitter = random::<1>().map_or(0, |byte| u64::from(byte[0]));
                self.retry = Instant::now() + self.backoff + Duration::from_millis(jitter);
                self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
            }
        }
    }

    /// Reads the store again with the ring key at hand; a root is asked only when that no longer fits.
    fn reread(&mut self, now: UnixTime) {
        self.read = Instant::now();
        self.stamp = self.custody.store.stamp().ok();
        let Some(current) = &self.opened else { return };
        let outcome = self
            .custody
            .open(Some(&current.ring_key), now)
            .map_err(|why| why.to_string())
            .and_then(|next| worse(current, &next).map_or(Ok(next), Err))
            .and_then(|mut next| match self.settle(&mut next, now) {
                Ok(()) => Ok(next),
                Err(why) => Err(why.to_string()),
            });
        match outcome {
            Ok(next) => self.take(next),
            Err(why) => self
                .load_trouble
                .raise(&format!("the ring in memory is kept: {why}")),
        }
    }

    /// Writes the mark and the mirror before a generation is used. Nothing is written where all is up to date.
    fn settle(&self, opened: &mut Opened, now: UnixTime) -> Result<(), CommitError> {
        if opened.refusing.is_some() || opened.frozen.is_some() || opened.joined {
            return Ok(());
        }
        let mark = self.custody.next_mark(opened.mark.as_ref(), opened, now);
        self.custody.settle(opened, mark.as_ref())?;
        opened.mark = mark;
        Ok(())
    }

    fn take(&mut self, opened: Opened) {
        let id = |opened: &Opened| opened.ring.active().map(|key| key.id.clone());
        let active = id(&opened);
        if self.opened.as_ref().and_then(id) != active {
            if self.opened.is_some() {
                self.settled = Instant::now();
            }
            let key_id = active.map(|id| id.to_string()).unwrap_or_default();
            tracing::info!(key_id, generation = opened.ring.generation, "ring loaded");
        }
        let keyring = opened.keyring();
        match keyring.status() {
            Ok(_) => self.load_trouble.clear(),
            Err(why) => self.load_trouble.raise(&why.to_string()),
        }
        self.live.swap(keyring);
        self.backoff = TICK;
        self.stamp = self.custody.store.stamp().ok();
        self.opened = Some(opened);
    }

    fn rotate_if_due(&mut self, now: UnixTime) {
        let Some(opened) = self.opened.as_ref().filter(|it| it.frozen.is_none()) else {
            return;
        };
        let due = schedule::due(&opened.ring, self.clocks(now, opened), self.period);
        let wanted = opened.joined || matches!(due, Due::Now | Due::Finish);
        if !wanted || Instant::now() < self.rotate_after {
            return;
        }
        match self.next_generation(opened, now) {
            Ok(next) => {
                tracing::info!(generation = next.ring.generation, "ring changed");
                self.rotation_trouble.clear();
                self.take(next);
            }
            Err(why) => {
                self.rotate_after = Instant::now() + MAX_BACKOFF;
                self.rotation_trouble.raise(&format!(
                    "rotation is due and is not done: {why}; hint: {}",
                    why.hint()
                ));
            }
        }
    }

    /// A join is stored as it is; otherwise the prepared key becomes active and the next one is prepared.
    fn next_generation(&self, opened: &Opened, now: UnixTime) -> Result<Opened, CommitError> {
        let next: Ring = if opened.joined {
            opened.ring.clone()
        } else {
            lifecycle::activate(&opened.ring, Key32::generate()?, now)?
        };
        self.custody.commit(opened, next, now)
    }

    fn clocks(&self, now: UnixTime, opened: &Opened) -> Clocks {
        Clocks {
            now,
            seen: opened.mark.as_ref().map(|mark| mark.seen),
            settled: self.settled.elapsed(),
        }
    }

    fn publish(&self, now: UnixTime) {
        let ring = self.opened.as_ref().and_then(|opened| {
            let (active, next) = (opened.ring.active()?, opened.ring.pre_active()?);
            let rotation = match schedule::due(&opened.ring, self.clocks(now, opened), self.period) {
                Due::In(wait) => Some(UnixTime(now.0.saturating_add(wait.as_secs()))),
                Due::Now | Due::Finish => Some(now),
                Due::Operator => None,
            };
            Some(RingHealth {
                id: opened.ring.id,
                generation: opened.ring.generation,
                active: active.id.clone(),
                activated: active.activated,
                next: next.id.clone(),
                keys: opened.ring.keys.len(),
                rotation: rotation.filter(|_| opened.frozen.is_none()),
                frozen: opened.frozen.clone(),
            })
        });
        let warnings = self
            .opened
            .as_ref()
            .map(|it| it.warnings.clone())
            .unwrap_or_default();
        self.health.send_replace(Health {
            attempted: true,
            ring,
            problems: [&self.load_trouble, &self.rotation_trouble]
                .into_iter()
                .filter_map(|trouble| trouble.0.clone())
                .collect(),
            warnings,
        });
    }
}

/// Why `next` must not replace `current`: it is older, another ring, or lacks a key.
fn worse(current: &Opened, next: &Opened) -> Option<String> {
    if next.ring.id != current.ring.id {
        return Some(format!("the store now holds ring {}", next.ring.id));
    }
    if next.ring.generation < current.ring.generation {
        return Some(format!(
            "the store went back to generation {} from {}",
            next.ring.generation, current.ring.generation
        ));
    }
    let gone =
        |id: &KeyId| next.ring.key(id).is_none() && !next.ring.tombstones.iter().any(|tomb| tomb.id == *id);
    if let Some(key) = current.ring.keys.iter().find(|key| gone(&key.id)) {
        return Some(format!("the store's ring lacks key {}", key.id));
    }
    next.refusing.as_ref().map(ToString::to_string)
}

async fn run(
    mut reloader: Reloader,
    mut joiners: mpsc::Receiver<oneshot::Sender<()>>,
    mut wakes: mpsc::Receiver<Wake>,
) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_join: Option<tokio::time::Instant> = None;
    loop {
        let mut waiting = Vec::new();
        let cause = tokio::select! {
            _ = tick.tick() => Cause::Tick,
            Some(Wake::Reload(done)) = wakes.recv() => {
                waiting.push(done);
                Cause::Signal
            }
            Some(first) = joiners.recv() => {
                if let Some(last) = last_join {
                    tokio::time::sleep_until(last + JOIN_INTERVAL).await;
                }
                waiting.push(first);
                while let Ok(another) = joiners.try_recv() {
                    waiting.push(another);
                }
                last_join = Some(tokio::time::Instant::now());
                Cause::Request
            }
            else => return,
        };
        let Ok(after) = tokio::task::spawn_blocking(move || {
            if catch_unwind(AssertUnwindSafe(|| reloader.step(cause))).is_err() {
                tracing::error!("a reload or a rotation panicked; the ring in memory is kept");
            }
            reloader
        })
        .await
        else {
            return;
        };
        reloader = after;
        for done in waiting {
            let _ = done.send(());
        }
    }
}
