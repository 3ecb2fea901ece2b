//! Admission: who may connect, and how many.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::connection::{self, Connection, Shared};
use super::peer::{Admission, Peer, Throttle};
use crate::telemetry::Metrics;

/// Connections beyond the cap that are told so at one time.
pub const MAX_TURNED_AWAY: usize = 16;
/// At most one line of log in so long about refused peers, and one about failed accepts.
pub(super) const REFUSAL_LOG: Duration = Duration::from_secs(10);

/// Decides on every connection before a byte of it is read.
pub(super) struct Gate {
    admission: Admission,
    /// Beyond the cap a client is told so; beyond this it is closed without a word.
    antechamber: Arc<Semaphore>,
    refusals: Throttle,
    /// Running out of file descriptors fails many accepts a second.
    failures: Throttle,
    metrics: Arc<Metrics>,
}

impl Gate {
    pub(super) fn new(admission: Admission, metrics: Arc<Metrics>) -> Self {
        Self {
            admission,
            antechamber: Arc::new(Semaphore::new(MAX_TURNED_AWAY)),
            refusals: Throttle::new(REFUSAL_LOG),
            failures: Throttle::new(REFUSAL_LOG),
            metrics,
        }
    }

    pub(super) fn admit(&self, stream: UnixStream, shared: &Shared, graceful: &GracefulShutdown) {
        let peer = match Peer::of(&stream) {
            Ok(peer) if self.admission.admits(peer) => peer,
            stranger => {
                self.metrics.peers_refused.inc();
                return match stranger {
                    Ok(peer) => self.refuse("peer refused", &peer.to_string()),
                    Err(why) => self.refuse("peer refused: its credentials are unknown", &why.to_string()),
                };
            }
        };
        let connection = Arc::new(Connection::new(peer));
        let Some(place) = shared.places.enter(&connection) else {
            self.metrics.turned_away.inc();
            if let Ok(place) = Arc::clone(&self.antechamber).try_acquire_owned() {
                let malformed = Arc::clone(&shared.malformed);
                tokio::spawn(async move {
                    connection::turn_away(stream, peer, malformed).await;
                    drop(place);
                });
            }
            return self.refuse("too many connections", &peer.to_string());
        };
        let number = place.number;
        let serving = connection::serve(stream, connection, shared.clone(), graceful.watcher());
        let task = tokio::spawn(async move {
            serving.await;
            drop(place);
        });
        shared.places.served_by(number, task.abort_handle());
    }

    /// A connection could not be accepted.
    pub(super) fn failed(&self, why: &std::io::Error) {
        self.metrics.accepts_failed.inc();
        if let Some(untold) = self.failures.admit(Instant::now()) {
            tracing::warn!(%why, untold, "cannot accept a connection");
        }
    }

    fn refuse(&self, what: &'static str, peer: &str) {
        if let Some(untold) = self.refusals.admit(Instant::now()) {
            tracing::info!(peer, untold, "{what}");
        }
    }
}
