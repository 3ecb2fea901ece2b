//! The server, top to bottom: protect → bind → load → ready → accept, admit, serve → signal → drain.

pub mod connection;
pub mod listener;
mod notify;
pub mod peer;
mod protect;
pub mod status_file;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use connection::{Connections, Shared};
use listener::{Door, ListenError, SocketSpec};
use peer::{Admission, Peer, Throttle};

use crate::custody::Custody;
use crate::keyring::Keyring;
use crate::keyring::live::Live;
use crate::reload::{self, Handles, Health, Wake};

/// Open connections at most; kube-apiserver has one for each provider entry, and a second while it reloads.
pub const MAX_CONNECTIONS: usize = 256;
/// Connections beyond the cap that are told so at one time.
pub const MAX_TURNED_AWAY: usize = 16;
/// How long a start waits for the ring before it says READY with the cause: kubelet must not be held up.
const START_PATIENCE: Duration = Duration::from_secs(4);
/// How long open requests may take to end at a stop.
pub const DRAIN: Duration = Duration::from_secs(5);
/// How often the socket is looked at and `status.json` is written.
const HOUSEKEEPING: Duration = Duration::from_secs(2);
/// Pause after an accept that failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// At most one line of log in so long about refused peers, and one about failed accepts.
const REFUSAL_LOG: Duration = Duration::from_secs(10);

/// Everything a server needs, built by the caller.
pub struct Server {
    /// The ring's store and roots.
    pub custody: Custody,
    /// Where to listen.
    pub socket: SocketSpec,
    /// Who may connect.
    pub admission: Admission,
    /// Age at which the active key is replaced.
    pub period: Duration,
    /// The node's name.
    pub node: String,
}

/// Serves until SIGTERM or SIGINT, on one thread: a second one costs more than it brings, since one connection is one task.
/// `ready` is called once, when the socket accepts and the ring was tried.
pub fn serve(server: Server, ready: impl FnOnce(&Health)) -> Result<(), ListenError> {
    let protections = protect::apply();
    let failed = |why| ListenError::Io {
        path: server.socket.path.clone(),
        why,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let result = runtime.block_on(run(server, protections, ready));
    // A step of the reloader may hang on a dead disk; leaving does not wait for it.
    runtime.shutdown_background();
    result
}

async fn run(
    server: Server,
    protections: Vec<String>,
    ready: impl FnOnce(&Health),
) -> Result<(), ListenError> {
    let door = open_door(&server.socket)?;
    let signals = Signals::new().map_err(|why| ListenError::Io {
        path: door.path().to_owned(),
        why,
    })?;
    let live = Arc::new(Live::new(Keyring::absent("the ring is being opened")));
    let handles = reload::spawn(server.custody, Arc::clone(&live), server.period);
    let shared = Shared {
        live,
        refresh: handles.refresh.clone(),
        connections: Arc::new(Connections::default()),
    };
    let status = StatusFile {
        path: status_file::path(door.path()),
        node: server.node,
        protections,
        health: handles.health.clone(),
        connections: Arc::clone(&shared.connections),
        failing: false,
    };
    let mut running = Running {
        door,
        gate: Gate::new(server.admission),
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
            Ok(stream) => self.gate.admit(stream, &self.shared, &self.graceful),
            Err(why) => {
                if let Some(untold) = self.gate.failures.admit(Instant::now()) {
                    tracing::warn!(%why, untold, "cannot accept a connection");
                }
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

fn open_door(spec: &SocketSpec) -> Result<Door, ListenError> {
    match notify::passed_socket() {
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

/// Decides on every connection before a byte of it is read.
struct Gate {
    admission: Admission,
    places: Arc<Semaphore>,
    /// Beyond the cap a client is told so; beyond this it is closed without a word.
    antechamber: Arc<Semaphore>,
    refusals: Throttle,
    /// Running out of file descriptors fails many accepts a second.
    failures: Throttle,
}

impl Gate {
    fn new(admission: Admission) -> Self {
        Self {
            admission,
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            antechamber: Arc::new(Semaphore::new(MAX_TURNED_AWAY)),
            refusals: Throttle::new(REFUSAL_LOG),
            failures: Throttle::new(REFUSAL_LOG),
        }
    }

    fn admit(&self, stream: UnixStream, shared: &Shared, graceful: &GracefulShutdown) {
        let peer = match Peer::of(&stream) {
            Ok(peer) if self.admission.admits(peer) => peer,
            Ok(peer) => return self.refuse("peer refused", &peer.to_string()),
            Err(why) => return self.refuse("peer refused: its credentials are unknown", &why.to_string()),
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            if let Ok(place) = Arc::clone(&self.antechamber).try_acquire_owned() {
                tokio::spawn(async move {
                    connection::turn_away(stream).await;
                    drop(place);
                });
            }
            return self.refuse("too many connections", &peer.to_string());
        };
        let serving = connection::serve(stream, peer, shared.clone(), graceful.watcher());
        tokio::spawn(async move {
            serving.await;
            drop(place);
        });
    }

    fn refuse(&self, what: &'static str, peer: &str) {
        if let Some(untold) = self.refusals.admit(Instant::now()) {
            tracing::info!(peer, untold, "{what}");
        }
    }
}

fn housekeeping() -> Interval {
    let mut interval = interval(HOUSEKEEPING);
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

struct StatusFile {
    path: PathBuf,
    node: String,
    protections: Vec<String>,
    health: watch::Receiver<Health>,
    connections: Arc<Connections>,
    failing: bool,
}

impl StatusFile {
    fn write(&mut self) {
        let health = self.health.borrow().clone();
        let status = status_file::collect(&self.node, &self.protections, &health, &self.connections);
        match status_file::write(&self.path, &status) {
            Err(why) if !self.failing => {
                tracing::warn!(%why, path = %self.path.display(), "cannot write the status file");
                self.failing = true;
            }
            result => self.failing = result.is_err(),
        }
    }
}
