//! The telemetry listener: HTTP/1 on loopback, one request a connection. Whatever happens to it, serving goes on.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::ACCEPT_PAUSE;
use super::gate::REFUSAL_LOG;
use super::pages::Pages;
use super::peer::Throttle;

/// Open connections at most; those beyond are closed at once.
pub const MAX_SCRAPES: usize = 16;
/// How long the head of a request may take.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(5);
/// How long a connection may take in all.
pub const SCRAPE_DEADLINE: Duration = Duration::from_secs(15);
/// Largest head of a request, in bytes: the least that hyper knows.
pub const MAX_HEAD: usize = 8 * 1024;
const MAX_HEADERS: usize = 64;
/// Pauses between two attempts to listen: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where to listen.
pub(super) enum Listen {
    /// Nowhere.
    Off,
    /// At an address of the configuration.
    At(SocketAddr),
    /// On a socket from systemd.
    Passed(StdListener),
}

/// How the listener is.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// Where it listens.
    pub(super) address: Option<SocketAddr>,
    /// Why it does not.
    pub(super) trouble: Option<String>,
}

/// What systemd passed in counts before what is configured.
pub(super) fn listen(passed: Option<StdListener>, configured: Option<SocketAddr>) -> Listen {
    match (passed, configured) {
        (Some(socket), _) => Listen::Passed(socket),
        (None, Some(address)) => Listen::At(address),
        (None, None) => Listen::Off,
    }
}

/// Starts the listener as a task of the current runtime.
pub(super) fn spawn(listen: Listen, pages: Arc<Pages>) -> watch::Receiver<State> {
    let (state, watching) = watch::channel(State::default());
    tokio::spawn(async move {
        if let Some(listener) = open(listen, &state).await {
            accept(listener, pages).await;
        }
    });
    watching
}

async fn open(listen: Listen, state: &watch::Sender<State>) -> Option<TcpListener> {
    let (address, opened) = match listen {
        Listen::Off => return None,
        Listen::At(address) => (address, bind(address, state).await),
        Listen::Passed(socket) => match take_over(socket) {
            Ok((address, listener)) => (address, listener),
            Err(why) => {
                complain(
                    state,
                    format!("telemetry does not use the socket that was passed in: {why}"),
                );
                return None;
            }
        },
    };
    let address = opened.local_addr().unwrap_or(address);
    tracing::info!(%address, "telemetry is listening");
    state.send_replace(State {
        address: Some(address),
        trouble: None,
    });
    Some(opened)
}

/// Tries until it succeeds: another program may leave the port.
async fn bind(address: SocketAddr, state: &watch::Sender<State>) -> TcpListener {
    let mut pause = BACKOFF.0;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(why) => complain(state, format!("telemetry cannot listen on {address}: {why}")),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

fn take_over(socket: StdListener) -> io::Result<(SocketAddr, TcpListener)> {
    let address = socket.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(io::Error::other(format!("{address} is not on loopback")));
    }
    socket.set_nonblocking(true)?;
    Ok((address, TcpListener::from_std(socket)?))
}

/// Once for each reason, not at every attempt.
fn complain(state: &watch::Sender<State>, trouble: String) {
    if state.borrow().trouble.as_ref() != Some(&trouble) {
        tracing::warn!("{trouble}");
        state.send_replace(State {
            address: None,
            trouble: Some(trouble),
        });
    }
}

async fn accept(listener: TcpListener, pages: Arc<Pages>) {
    let places = Arc::new(Semaphore::new(MAX_SCRAPES));
    let failures = Throttle::new(REFUSAL_LOG);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                    pages.metrics.scrapes_refused.inc();
                    continue;
                };
                let pages = Arc::clone(&pages);
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(SCRAPE_DEADLINE, serve(stream, pages)).await;
                    drop(place);
                });
            }
            Err(why) => {
                if let Some(untold) = failures.admit(Instant::now()) {
                    tracing::warn!(%why, untold, "telemetry cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, pages: Arc<Pages>) {
    let answer = service_fn(move |request| {
        let answering = Arc::clone(&pages).answer(request);
        async { Ok::<_, Infallible>(answering.await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        // An idle connection would hold a place that the next scrape may need.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    if let Err(why) = serving.await {
        tracing::debug!(%why, "a telemetry connection ended");
    }
}
