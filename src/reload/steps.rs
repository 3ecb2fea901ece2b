//! The steps of the reloader: each blocks, takes what is there, and leaves a ring that serves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::health::{Health, RingHealth, Trouble};
use super::opening::Opening;
use super::several::Several;
use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::custody::{CommitError, Custody, Opened, Share, Version};
use crate::keyring::live::Live;
use crate::keyring::ring::UnixTime;
use crate::keyring::schedule::{self, Clocks, Due};
use crate::keyring::{KeyId, Keyring, NotServing, lifecycle};
use crate::store::Stamp;
use crate::telemetry::{self, Known, Metrics};

/// How often the store is read in full although nothing seems to have changed.
const REREAD: Duration = Duration::from_secs(30);
/// How soon it is read again after a ring that was not taken, such as one whose mirror is away.
const RETRY: Duration = Duration::from_secs(5);
/// Pauses between two attempts to open a ring that does not open: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What a node says that has not heard of the others yet.
const PROVISIONAL: &str = "what is served is provisional: etcd has not been read since this start, and this node's copy of the ring may be behind";

/// Why a step is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is time.
    Tick,
    /// A request named a key that is not in memory.
    Request,
    /// SIGHUP.
    Signal,
}

/// Owns the opened ring.
pub(super) struct Reloader {
    pub(super) custody: Custody,
    live: Arc<Live>,
    /// What is told while the ring is being opened for the first time.
    opening: Arc<Opening>,
    pub(super) period: Duration,
    pub(super) opened: Option<Opened>,
    /// How the roots fared that were asked for it.
    opened_by: Vec<String>,
    /// Where several nodes keep the ring: how this one does. Locked by a step of this reloader alone.
    pub(super) several: Option<Arc<Mutex<Several>>>,
    /// What the ring on etcd says beyond this node's copy.
    pub(super) beyond: Beyond,
    stamp: Option<Stamp>,
    health: watch::Sender<Health>,
    pub(super) metrics: Arc<Metrics>,
    /// When this process started or the active key changed.
    settled: Instant,
    reread_at: Instant,
    retry: Instant,
    backoff: Duration,
    rotate_after: Instant,
    pub(super) load_trouble: Trouble,
    pub(super) rotation_trouble: Trouble,
    /// For the log alone: what is known of the ring says so by itself.
    frozen_trouble: Trouble,
}

/// What is known of the ring from elsewhere than this node's own generations.
#[derive(Default)]
pub(super) struct Beyond {
    /// Generations whose keys decrypt, although the copy does not have them yet.
    pub(super) versions: Vec<Arc<Version>>,
    /// Why no key may be reported.
    pub(super) refusing: Option<NotServing>,
}

impl Reloader {
    /// A reloader that has not opened its ring yet.
    pub(super) fn new(
        custody: Custody,
        several: Option<Several>,
        opening: Arc<Opening>,
        period: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        let now = Instant::now();
        let (live, health) = (Arc::clone(&opening.live), opening.health.clone());
        Self {
            custody,
            live,
            opening,
            period,
            opened: None,
            opened_by: Vec::new(),
            several: several.map(|it| Arc::new(Mutex::new(it))),
            beyond: Beyond::default(),
            stamp: None,
            health,
            metrics,
            settled: now,
            reread_at: now + REREAD,
            retry: now,
            backoff: BACKOFF.0,
            rotate_after: now,
            load_trouble: Trouble::default(),
            rotation_trouble: Trouble::default(),
            frozen_trouble: Trouble::default(),
        }
    }

    /// A step panicked: what it was about to do is not done.
    pub(super) fn panicked(&mut self) {
        self.metrics.reloaded(false, telemetry::now());
        self.reread_at = Instant::now() + RETRY;
        self.load_trouble
            .raise("a reload or a rotation panicked; the ring in memory is kept, and it is tried again");
        self.publish(telemetry::now());
    }

    /// One step; blocks.
    pub(super) fn step(&mut self, cause: Cause) {
        let now = telemetry::now();
        if cause == Cause::Signal {
            self.custody.calls.forget();
        }
        if self.opened.is_none() {
            // Requests do not hurry a root: deriving a key from a passphrase is dear.
            if !self.awaits_copy() && (cause == Cause::Signal || self.is_time_to_open()) {
                self.first_open(now);
            }
        } else if cause != Cause::Tick || self.changed() {
            let _ = self.reread(now);
        }
        if let Some(several) = self.several.clone() {
            self.store_join(now);
            self.keep_together(&several, cause, now);
        } else {
            self.rotate_if_due(now);
        }
        self.publish(now);
    }

    /// Whether the store changed, a root that was slow has answered, or it is time all the same.
    fn changed(&mut self) -> bool {
        let is_time = Instant::now() >= self.reread_at || self.custody.calls.has_news();
        is_time || self.custody.store.stamp().ok() != self.stamp
    }

    fn is_time_to_open(&self) -> bool {
        Instant::now() >= self.retry || self.custody.calls.has_news()
    }

    /// Opens the ring, or the copy of it, for the first time.
    pub(super) fn first_open(&mut self, now: UnixTime) {
        self.opening.begins();
        let outcome = self.custody.open(None, now);
        self.opening.ends();
        match outcome {
            Ok(mut opened) => {
                self.opened_by = opened.turns.iter().map(ToString::to_string).collect();
                tracing::info!(roots = self.opened_by.join("; "), "ring opened");
                if let Err(why) = self.settle(&mut opened, now) {
                    // A start needs no write: with a full or read-only disk serving comes first, loudly.
                    opened
                        .warnings
                        .push(format!("the mark or the mirror is behind the ring: {why}"));
                }
                self.take(opened);
                self.metrics.reloaded(true, now);
            }
            Err(why) => {
                self.metrics.reloaded(false, now);
                self.load_trouble.raise(&format!("{why}; hint: {}", why.hint()));
                self.live.swap(Keyring::absent(why.to_string()));
                let jitter = random::<1>().map_or(0, |byte| u64::from(byte[0]));
                self.retry = Instant::now() + self.backoff + Duration::from_millis(jitter);
                self.backoff = (self.backoff * 2).min(BACKOFF.1);
            }
        }
    }

    /// Reads the store again with the ring key at hand; a root is asked only when that no longer fits.
    pub(super) fn reread(&mut self, now: UnixTime) -> Result<(), String> {
        self.reread_at = Instant::now() + REREAD;
        self.stamp = self.custody.store.stamp().ok();
        let Some(current) = &self.opened else {
            return Ok(());
        };
        let outcome = self
            .custody
            .reopen(current, now)
            .map_err(|why| why.to_string())
            .and_then(|next| worse(current, &next).map_or(Ok(next), Err))
            .and_then(|mut next| match self.settle(&mut next, now) {
                Ok(()) => Ok(next),
                Err(why) => Err(why.to_string()),
            });
        self.metrics.reloaded(outcome.is_ok(), now);
        match outcome {
            Ok(next) => {
                self.take(next);
                Ok(())
            }
            Err(why) => {
                self.reread_at = Instant::now() + RETRY;
                self.load_trouble
                    .raise(&format!("the ring in memory is kept: {why}"));
                Err(why)
            }
        }
    }

    /// Writes the mark and the mirror before a generation is used. Nothing is written where all is up to date.
    fn settle(&self, opened: &mut Opened, now: UnixTime) -> Result<(), CommitError> {
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
        let keyring = self.beyond.around(opened.keyring());
        match keyring.status() {
            Ok(_) => self.load_trouble.clear(),
            Err(why) => self.load_trouble.raise(&why.to_string()),
        }
        match &opened.frozen {
            None => self.frozen_trouble.clear(),
            Some(frozen) => self.frozen_trouble.raise(&format!(
                "the ring is frozen, it serves and does not rotate: {frozen}; hint: {}",
                frozen.remedy()
            )),
        }
        // Before the first request can meet the new keys.
        self.metrics
            .keys
            .replace(opened.ring.keys.iter().map(|key| Known {
                id: key.id.to_string(),
                hash: key.id.hashed(),
                state: key.state_name(),
            }));
        self.live.swap(keyring);
        self.backoff = BACKOFF.0;
        // As it was read, not as it may be by now: what came in between is a change.
        self.stamp = Some(opened.stamp().clone());
        self.opened = Some(opened);
    }

    fn rotate_if_due(&mut self, now: UnixTime) {
        let Some(opened) = self.opened.as_ref().filter(|it| it.frozen.is_none()) else {
            return;
        };
        let due = schedule::due(&opened.ring, self.clocks(now, opened), self.period);
        let wanted = opened.joined || matches!(due, Due::Now | Due::Finish);
        if !wanted {
            // An operator did it, or another writer.
            self.rotation_trouble.clear();
            return;
        }
        if Instant::now() < self.rotate_after {
            return;
        }
        let outcome = self.next_generation(opened, now);
        self.metrics.rotated(outcome.is_ok());
        match outcome {
            Ok(next) => {
                tracing::info!(generation = next.ring.generation, "ring changed");
                self.rotation_trouble.clear();
                self.take(next);
            }
            Err(why) => {
                self.rotate_after = Instant::now() + BACKOFF.1;
                self.rotation_trouble.raise(&format!(
                    "rotation is due and is not done: {why}; hint: {}",
                    why.hint()
                ));
            }
        }
    }

    /// A join is stored as it is; otherwise the prepared key becomes active and the next one is prepared.
    fn next_generation(&self, opened: &Opened, now: UnixTime) -> Result<Opened, CommitError> {
        if opened.joined {
            return self.custody.commit(opened, opened.ring.clone(), now);
        }
        let next = lifecycle::activate(&opened.ring, Key32::generate()?, now)?;
        self.custody.rotate(opened, next, Share::Rotation, now)
    }

    /// Two histories in the copy of one node: its own directory holds what an operator has put there.
    fn store_join(&mut self, now: UnixTime) {
        if self.opened.as_ref().is_some_and(|it| it.joined) {
            self.rotate_if_due(now);
        }
    }

    /// Serves what is open, with what is known beyond it.
    pub(super) fn serve_again(&self) {
        if let Some(opened) = &self.opened {
            self.live.swap(self.beyond.around(opened.keyring()));
        }
    }

    /// Serves nothing, and says why.
    pub(super) fn serve_nothing(&mut self, why: &str) {
        self.load_trouble.raise(why);
        self.live.swap(Keyring::absent(why));
    }

    pub(super) fn clocks(&self, now: UnixTime, opened: &Opened) -> Clocks {
        Clocks {
            now,
            seen: opened.mark.as_ref().map(|mark| mark.seen),
            settled: self.settled.elapsed(),
        }
    }

    fn publish(&self, now: UnixTime) {
        let ring = self
            .opened
            .as_ref()
            .and_then(|opened| RingHealth::of(opened, self.clocks(now, opened), self.period));
        let opened = self.opened.as_ref();
        let mut warnings = opened.map(|it| it.warnings.clone()).unwrap_or_default();
        let (several, trouble) = match &self.several {
            Some(several) => {
                let several = several.lock().unwrap_or_else(PoisonError::into_inner);
                several.health()
            }
            None => (None, None),
        };
        warnings.extend(several.iter().flat_map(|it| it.beside.iter().cloned()));
        if ring.is_some() && several.as_ref().is_some_and(|it| it.read.is_none()) {
            warnings.push(PROVISIONAL.into());
        }
        let own = [&self.load_trouble, &self.rotation_trouble];
        let own = own.into_iter().filter_map(|it| it.0.clone());
        self.health.send_replace(Health {
            attempted: true,
            ring,
            opened_by: self.opened_by.clone(),
            several,
            problems: own.chain(trouble).collect(),
            warnings,
        });
    }
}

impl Beyond {
    fn around(&self, keyring: Keyring) -> Keyring {
        let all = self
            .versions
            .iter()
            .fold(keyring, |keyring, it| keyring.also(&it.ring));
        match &self.refusing {
            Some(reason) => all.refusing(reason.clone()),
            None => all,
        }
    }
}

/// Why `next` must not replace `current`: it is older, another ring, or lacks a key.
fn worse(current: &Opened, next: &Opened) -> Option<String> {
    if next.ring.id != current.ring.id {
        return Some(format!("the store now holds ring {}", next.ring.id));
    }
    // Its ring key was replaced, and what it was counts for nothing more.
    if next.ring.replaced.binary_search(&current.lineage()).is_ok() {
        return next.refusing.as_ref().map(ToString::to_string);
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
    // What is replaced stays so, whatever is in memory.
    let refusing = next.refusing.as_ref();
    let refusing = refusing.filter(|it| !matches!(it, NotServing::Superseded(_)));
    refusing.map(ToString::to_string)
}
