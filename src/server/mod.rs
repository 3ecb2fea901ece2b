//! The server, top to bottom: bind → load → ready → accept, admit, serve → signal → drain. Its caller has applied what
//! protects it before the first thread.

pub mod confine;
pub mod connection;
mod gate;
mod gauges;
mod held;
mod host;
pub mod listener;
mod measured;
pub mod namespace;
pub mod notify;
mod pages;
pub mod peer;
mod places;
pub mod protect;
mod resets;
pub mod status_file;
mod stream;
pub mod web;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

pub use gate::MAX_TURNED_AWAY;
pub use places::{GREEDY, MAX_CONNECTIONS, MAX_HELD, QUIET};

use connection::Shared;
use gate::{Gate, REFUSAL_LOG};
use listener::{Door, ListenError, SocketSpec};
use notify::Passed;
use pages::Pages;
use peer::{Admission, Throttle};
use places::Places;
use protect::Protection;
use status_file::StatusFile;

use crate::custody::Custody;
use crate::keyring::Keyring;
use crate::keyring::live::Live;
use crate::member::Member;
use crate::reload::{self, Handles, Health, Wake};
use crate::telemetry::Metrics;

/// How long a start waits for the ring before it says READY with the cause: kubelet must not be held up.
const START_PATIENCE: Duration = Duration::from_secs(4);
/// How long open requests may take to end at a stop.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How often the socket is looked at and `status.json` is written.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// Pause after an accept that failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Everything a server needs, built by the caller.
pub struct Server {
    /// The ring's store and roots; where several nodes keep it, those of this node's copy.
    pub custody: Custody,
    /// This node, where several keep the ring.
    pub member: Option<Member>,
    /// Where to listen.
    pub socket: SocketSpec,
    /// Who may connect.
    pub admission: Admission,
    /// Age at which the active key is replaced.
    pub period: Duration,
    /// The node's name.
    pub node: String,
    /// Where telemetry listens, unless systemd passes a socket in; nowhere when absent.
    pub telemetry: Option<SocketAddr>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is in force.
    pub protections: Vec<Protection>,
}

/// Serves until SIGTERM or SIGINT, on one thread: a second one costs more than it brings, since one connection is one task.
/// `ready` is called once, when the socket accepts and the ring was tried.
pub fn serve(server: Server, ready: impl FnOnce(&Health)) -> Result<(), ListenError> {
    let failed = |why| ListenError::Io {
        path: server.socket.path.clone(),
        why,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let result = runtime.block_on(run(server, ready));
    // A step of the reloader may hang on a dead disk; leaving does not wait for it.
    runtime.shutdown_background();
    result
}

async fn run(server: Server, ready: impl FnOnce(&Health)) -> Result<(), ListenError> {
    let Passed { socket, telemetry } = notify::passed_sockets();
    let door = open_door(socket, &server.socket)?;
    let signals = Signals::new().map_err(|why| ListenError::Io {
        path: door.path().to_owned(),
        why,
    })?;
    let live = Arc::new(Live::new(Keyring::absent("the ring is being opened")));
    let metrics = server.metrics;
    let handles = reload::spawn(
        server.custody,
        server.member,
        Arc::clone(&live),
        server.period,
        Arc::clone(&metrics),
    );
    let shared = Shared {
        live,
        refresh: handles.refresh.clone(),
        places: Arc::new(Places::new(Arc::clone(&metrics))),
        metrics,
        malformed: Arc::new(Throttle::new(REFUSAL_LOG)),
    };
    let pages = Pages::new(&shared, handles.health.clone(), server.protections.clone());
    let status = StatusFile {
        path: status_file::path(door.path()),
        node: server.node,
        protections: server.protections,
        health: handles.health.clone(),
        shared: shared.clone(),
        telemetry: web::spawn(web::listen(telemetry, server.telemetry), pages),
        account: handles.account.clone(),
        admission: server.admission.clone(),
        failing: false,
    };
    let mut running = Running {
        door,
        gate: Gate::new(server.admission, Arc::clone(&shared.metrics)),
        shared,
        graceful: GracefulShutdown::new(),
        handles,
        status,
    };
    running.until_stopped(signals, ready).await;
    running.drain().await;
    Ok(())
}

/// A server at work.
struct Running {
    door: Door,
    gate: Gate,
    shared: Shared,
    graceful: GracefulShutdown,
    handles: Handles,
    status: StatusFile,
}

impl Running {
    async fn until_stopped(&mut self, mut signals: Signals, ready: impl FnOnce(&Health)) {
        let first_try = first_attempt(self.handles.health.clone());
        tokio::pin!(first_try);
        let mut ready = Some(ready);
        let mut housekeeping = housekeeping();
        loop {
            tokio::select! {
                // Who connects while the ring is being opened waits for it, rather than being told that there is none.
                stream = self.door.accept(), if ready.is_none() => self.accepted(stream).await,
                health = &mut first_try, if ready.is_some() => {
                    tracing::info!(socket = %self.door.path().display(), "listening");
                    notify::ready(&health);
                    self.status.write();
                    if let Some(ready) = ready.take() {
                        ready(&health);
                    }
                }
                _ = housekeeping.tick() => {
                    mend(&mut self.door);
                    notify::alive(&self.handles.health.borrow());
                    self.status.write();
                }
                _ = signals.hangup.recv() => read_again(&self.handles),
                _ = signals.terminate.recv() => return,
                _ = signals.interrupt.recv() => return,
            }
        }
    }

    async fn accepted(&self, stream: std::io::Result<UnixStream>) {
        match stream {
            Ok(stream) => {
                self.gate.admit(stream, &self.shared, &self.graceful);
                // Connections in a flood must not come faster than those that they displace are gone.
                tokio::task::yield_now().await;
            }
            Err(why) => {
                self.gate.failed(&why);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Stops listening, says goodbye on every connection, and waits for the requests that are under way.
    async fn drain(self) {
        tracing::info!("stopping");
        notify::stopping();
        self.door.close();
        if tokio::time::timeout(DRAIN, self.graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!(
                "some connections did not end in {} s and were cut",
                DRAIN.as_secs()
            );
        }
        let _ = std::fs::remove_file(&self.status.path);
    }
}

fn open_door(
    passed: Option<std::os::unix::net::UnixListener>,
    spec: &SocketSpec,
) -> Result<Door, ListenError> {
    match passed {
        Some(socket) => Door::activated(socket, spec.clone()),
        None => Door::bind(spec.clone()),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

fn housekeeping() -> Interval {
    // The first time after the start: that looks at everything itself.
    let mut interval = interval_at(Instant::now() + HOUSEKEEPING, HOUSEKEEPING);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Ends when the ring was tried for the first time, or when that takes too long.
async fn first_attempt(mut health: watch::Receiver<Health>) -> Health {
    let tried = tokio::time::timeout(START_PATIENCE, health.wait_for(|health| health.attempted)).await;
    match tried {
        Ok(Ok(health)) => health.clone(),
        _ => Health {
            problems: vec!["the ring is still being opened".into()],
            ..Health::default()
        },
    }
}

fn read_again(handles: &Handles) {
    tracing::info!("SIGHUP: reading the ring again");
    notify::reloading();
    let (done, ended) = oneshot::channel();
    let _ = handles.wake.try_send(Wake::Reload(done));
    let health = handles.health.clone();
    tokio::spawn(async move {
        let _ = ended.await;
        notify::ready(&health.borrow());
    });
}

fn mend(door: &mut Door) {
    match door.mend() {
        None => {}
        Some(Ok(what)) => tracing::warn!("{} was removed: {what}", door.path().display()),
        Some(Err(why)) => tracing::error!("{why}; hint: {}", why.hint()),
    }
}
