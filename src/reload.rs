//! The ring of a running server: load it, watch the store, rotate when it is due, swap. A bad ring never replaces a good one.
//!
//! Everything that touches files, roots or key derivation runs here, on a thread of its own, one step at a time. The
//! serving thread only takes snapshots.

mod health;
mod opening;
mod several;
mod steps;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

pub use health::{BackupHealth, Health, RingHealth, SeveralHealth};
use opening::{Opening, PAUSE, SILENCE};
pub use several::Account;
use several::Several;
use steps::{Cause, Reloader};

use crate::custody::Custody;
use crate::keyring::live::Live;
use crate::member::Member;
use crate::telemetry::Metrics;

/// How often the store is asked for a cheap stamp, and whether a rotation is due.
const TICK: Duration = Duration::from_secs(1);
/// Longest that a Decrypt under an unknown key waits for a read of the store.
const JOIN_PATIENCE: Duration = Duration::from_millis(1500);
/// Shortest time between two such reads.
const JOIN_INTERVAL: Duration = Duration::from_secs(1);
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

/// What wakes the reloader.
pub enum Wake {
    /// SIGHUP.
    Reload(oneshot::Sender<()>),
    /// The ring on etcd seems to have changed.
    Changed,
}

/// The ends that the rest of the server holds.
pub struct Handles {
    /// For requests.
    pub refresh: Refresh,
    /// For SIGHUP.
    pub wake: mpsc::Sender<Wake>,
    /// What is known.
    pub health: watch::Receiver<Health>,
    /// What the server says of itself, for the other nodes.
    pub account: watch::Sender<Account>,
}

/// Starts the reloader as a task of the current runtime. It tries to open the ring at once.
/// `member` is this node where several keep the ring; `custody` is then its copy.
pub fn spawn(
    custody: Custody,
    member: Option<Member>,
    live: Arc<Live>,
    period: Duration,
    metrics: Arc<Metrics>,
) -> Handles {
    let (refresh, joiners) = mpsc::channel(JOINERS);
    let (wake, wakes) = mpsc::channel(16);
    let (health, watching) = watch::channel(Health::default());
    let (account, accounts) = watch::channel(Account::default());
    let several = member.map(|member| Several::new(member, wake.clone(), accounts));
    let opening = Arc::new(Opening {
        live,
        health,
        roots: custody.roots.iter().map(|it| it.describe()).collect(),
        calls: Arc::clone(&custody.calls),
        ended: Mutex::new(true),
    });
    let reloader = Reloader::new(custody, several, Arc::clone(&opening), period, metrics);
    tokio::spawn(run(reloader, opening, joiners, wakes));
    Handles {
        refresh: Refresh(refresh),
        wake,
        health: watching,
        account,
    }
}

async fn run(
    reloader: Reloader,
    opening: Arc<Opening>,
    mut joiners: mpsc::Receiver<oneshot::Sender<()>>,
    mut wakes: mpsc::Receiver<Wake>,
) {
    let reloader = Arc::new(Mutex::new(reloader));
    // The first step is taken at once: even a timer that is due has to wait for the next millisecond.
    let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + TICK, TICK);
    let mut begun = false;
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_join: Option<tokio::time::Instant> = None;
    loop {
        let mut waiting = Vec::new();
        let cause = tokio::select! {
            () = std::future::ready(()), if !begun => Cause::Tick,
            _ = tick.tick() => Cause::Tick,
            Some(wake) = wakes.recv() => match wake {
                Wake::Reload(done) => {
                    waiting.push(done);
                    Cause::Signal
                }
                Wake::Changed => Cause::Tick,
            },
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
        begun = true;
        let step = Arc::clone(&reloader);
        // Where the machine has no thread to give, this panics: the next tick tries again.
        let asked = catch_unwind(AssertUnwindSafe(|| {
            tokio::task::spawn_blocking(move || take(&step, cause))
        }));
        let Ok(stepping) = asked else {
            tracing::error!("no thread to read the ring on; it is tried again");
            continue;
        };
        if watched(stepping, &opening).await.is_err() {
            return;
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

/// Waits for a step. Where it opens the ring and that lasts, Status names the causes meanwhile.
async fn watched(
    mut step: tokio::task::JoinHandle<()>,
    opening: &Opening,
) -> Result<(), tokio::task::JoinError> {
    let mut pause = SILENCE;
    loop {
        tokio::select! {
            outcome = &mut step => return outcome,
            () = tokio::time::sleep(pause) => opening.tell(),
        }
        pause = PAUSE;
    }
}

fn take(reloader: &Mutex<Reloader>, cause: Cause) {
    let mut reloader = reloader.lock().unwrap_or_else(PoisonError::into_inner);
    if catch_unwind(AssertUnwindSafe(|| reloader.step(cause))).is_err() {
        // Telling of it must not end the reloader either.
        let _ = catch_unwind(AssertUnwindSafe(|| reloader.panicked()));
    }
}
