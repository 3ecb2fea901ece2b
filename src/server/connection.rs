//! One admitted connection: what it was last told, and the HTTP/2 around the service.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::held::Reply;
use super::measured::Measured;
use super::peer::{Peer, Throttle};
use super::places::Places;
use super::resets::Watched;
use super::stream::{Stream, Turn};
use crate::keyring::KeyId;
use crate::keyring::live::Live;
use crate::keyring::ring::UnixTime;
use crate::reload::Refresh;
use crate::service::Service;
use crate::telemetry::Metrics;

/// What every HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a client may take to send the preface.
pub const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// Concurrent requests of one connection; grpc-go assumes 100 until it is told.
pub const MAX_STREAMS: u32 = 1024;
/// Largest header list of a request, in bytes; kube-apiserver's is under 400.
pub const MAX_HEADERS: u32 = 8 * 1024;

/// Lines a second about Encrypts that succeeded. kube-apiserver encrypts a few times an hour; a flood is counted, with the
/// next line.
pub const ENCRYPT_LINES: u64 = 10;

/// An admitted connection.
pub struct Connection {
    /// Who.
    pub peer: Peer,
    /// Of the lines about Encrypts that succeeded.
    pub encrypts: Throttle,
    /// Bytes that its unfinished requests hold.
    pub(super) held: AtomicUsize,
    /// It had to go; its task ends.
    pub(super) cut: AtomicBool,
    /// It speaks HTTP/2.
    pub(super) greeted: AtomicBool,
    reported: Mutex<Option<Reported>>,
    began: Instant,
    /// When it last asked, in milliseconds since it began and one; 0 where it never did.
    asked: AtomicU64,
}

/// What Status said last.
#[derive(Clone)]
pub struct Reported {
    /// The key it named.
    pub key_id: KeyId,
    /// When, by the monotonic clock.
    at: Instant,
    /// When, by the wall clock, for `kekring status`.
    pub time: UnixTime,
}

impl Connection {
    /// A connection that was told nothing yet.
    pub fn new(peer: Peer) -> Self {
        Self {
            peer,
            encrypts: Throttle::most(ENCRYPT_LINES, Duration::from_secs(1)),
            held: AtomicUsize::new(0),
            cut: AtomicBool::new(false),
            greeted: AtomicBool::new(false),
            reported: Mutex::new(None),
            began: Instant::now(),
            asked: AtomicU64::new(0),
        }
    }

    /// Whether a request has reached the service.
    pub fn is_served(&self) -> bool {
        self.asked.load(Ordering::Relaxed) != 0
    }

    /// A request has reached the service.
    pub fn reached(&self, now: Instant) {
        let since = now.saturating_duration_since(self.began).as_millis();
        self.asked.store(
            u64::try_from(since).map_or(u64::MAX, |it| it + 1),
            Ordering::Relaxed,
        );
    }

    /// How long ago it last asked for anything; `None` where it never did.
    pub fn quiet(&self) -> Option<Duration> {
        let asked = self.asked.load(Ordering::Relaxed).checked_sub(1)?;
        Some(self.began.elapsed().saturating_sub(Duration::from_millis(asked)))
    }

    /// Remembers what Status says.
    pub fn report(&self, key_id: &KeyId, time: UnixTime) {
        let reported = Reported {
            key_id: key_id.clone(),
            at: Instant::now(),
            time,
        };
        *self.reported.lock().unwrap_or_else(PoisonError::into_inner) = Some(reported);
    }

    /// What Status said last.
    pub fn reported(&self) -> Option<Reported> {
        self.reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The key that Status named no longer than `grace` ago.
    pub fn reported_within(&self, grace: Duration) -> Option<KeyId> {
        self.reported()
            .filter(|it| it.at.elapsed() <= grace)
            .map(|it| it.key_id)
    }
}

/// What every connection needs.
#[derive(Clone)]
pub struct Shared {
    /// The keyring of the moment.
    pub live: Arc<Live>,
    /// Asks for a read of the store.
    pub refresh: Refresh,
    /// The open connections.
    pub places: Arc<Places>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Of what is said about clients that HTTP/2 refuses.
    pub malformed: Arc<Throttle>,
}

/// Serves one admitted connection to its end; `watcher` tells it when to send GOAWAY and finish.
pub async fn serve(stream: UnixStream, connection: Arc<Connection>, shared: Shared, watcher: Watcher) {
    let peer = connection.peer;
    let turn = Turn::default();
    let stream = match greeted(stream, &turn).await {
        Ok(stream) => stream,
        Err(why) => {
            tracing::debug!(%peer, why, "connection closed before its first request");
            return;
        }
    };
    let service = Measured {
        service: Service::server(
            shared.live,
            shared.refresh,
            Arc::clone(&connection),
            Arc::clone(&shared.metrics),
        ),
        connection: Arc::clone(&connection),
        places: shared.places,
        metrics: shared.metrics,
    };
    let stream = Watched::new(stream, Arc::clone(&connection), shared.malformed);
    let serving = http2_server().serve_connection(TokioIo::new(stream), service);
    connection.greeted.store(true, Ordering::Relaxed);
    if let Err(why) = turn.of(watcher.watch(serving)).await {
        tracing::debug!(%peer, %why, "connection ended");
    }
}

/// Tells a client that connects beyond the cap why it is not served, and closes soon. The stream is the same type as one that
/// is served: HTTP/2 is compiled once.
pub async fn turn_away(stream: UnixStream, peer: Peer, malformed: Arc<Throttle>) {
    let turn = Turn::default();
    let Ok(stream) = greeted(stream, &turn).await else {
        return;
    };
    let answer = hyper::service::service_fn(|_: http::Request<hyper::body::Incoming>| async {
        let status = tonic::Status::resource_exhausted("too many connections are open");
        Ok::<_, std::convert::Infallible>(status.into_http().map(|body| Reply::new(body, None)))
    });
    let stream = Watched::new(stream, Arc::new(Connection::new(peer)), malformed);
    let serving = http2_server().serve_connection(TokioIo::new(stream), answer);
    let _ = tokio::time::timeout(HANDSHAKE_DEADLINE, turn.of(serving)).await;
}

/// Answers a request where it stands, and makes a task only of one that has to wait: what HTTP/2 hands over has usually come
/// whole, and nothing but a Decrypt under an unknown key waits. Boxed: a task with all of a request inside it would be moved
/// several times. A panic ends the request and not the connection, as it does in a task.
#[derive(Clone)]
struct AtOnce;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for AtOnce {
    fn execute(&self, request: F) {
        let mut request = Box::pin(request);
        // A task polls it again first of all, so that no wake-up is missed.
        let mut nobody = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(&mut nobody)));
        if matches!(polled, Ok(Poll::Pending)) {
            tokio::spawn(request);
        }
    }
}

fn http2_server() -> http2::Builder<AtOnce> {
    let mut builder = http2::Builder::new(AtOnce);
    builder
        .timer(TokioTimer::new())
        // gRPC has no use for the time of day.
        .auto_date_header(false)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS);
    builder
}

/// Reads the preface in time; whatever else comes first is no HTTP/2 client, and is closed without an answer. HTTP/2 wants
/// to read the preface again.
async fn greeted(mut stream: UnixStream, turn: &Turn) -> Result<Stream, &'static str> {
    let mut first = [0; PREFACE.len()];
    match tokio::time::timeout(HANDSHAKE_DEADLINE, stream.read_exact(&mut first)).await {
        Err(_) => Err("no HTTP/2 preface in time"),
        Ok(Err(_)) => Err("closed before the HTTP/2 preface"),
        Ok(Ok(_)) if first != *PREFACE => Err("not HTTP/2"),
        Ok(Ok(_)) => {
            Stream::new(PREFACE, stream, turn.clone()).map_err(|_| "not registered with the event loop")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Key32;
    use crate::keyring::RingId;

    #[test]
    fn what_status_said_counts_for_the_grace_and_no_longer() {
        let connection = Connection::new(Peer {
            uid: 0,
            gid: 0,
            pid: None,
        });
        let key_id = KeyId::derive(RingId([1; 16]), 1, &Key32::take(&mut [2; 32]));
        assert_eq!(connection.reported_within(Duration::MAX), None);

        connection.report(&key_id, UnixTime(1));

        assert_eq!(connection.reported_within(Duration::MAX), Some(key_id));
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(1) {}
        assert_eq!(connection.reported_within(Duration::from_micros(1)), None);
        assert!(connection.reported().is_some());
    }

    #[tokio::test]
    async fn a_request_is_answered_at_once_or_goes_on_as_a_task_and_its_panic_is_its_own() {
        use hyper::rt::Executor;

        let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
        let (at_once, later) = (sender.clone(), sender);

        AtOnce.execute(async move { at_once.send("at once").unwrap() });
        let first = done.try_recv();
        AtOnce.execute(async { panic!("of this request") });
        AtOnce.execute(async move {
            tokio::task::yield_now().await;
            later.send("later").unwrap();
        });

        assert_eq!(first, Ok("at once"));
        assert_eq!(done.recv().await, Some("later"));
    }
}
