//! What the telemetry listener answers: `/livez`, `/readyz`, `/metrics`, and nothing else.

use std::fmt::Write;
use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tokio::sync::{Mutex, watch};

use super::connection::Shared;
use super::gauges::{self, Sources};
use super::host;
use super::places::Places;
use super::protect::Protection;
use crate::keyring::live::Live;
use crate::keyring::ring::UnixTime;
use crate::reload::Health;
use crate::telemetry::{Metrics, metrics, now, plain};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: HeaderValue = HeaderValue::from_static(metrics::CONTENT_TYPE);

/// What the pages are made from.
pub(super) struct Pages {
    live: Arc<Live>,
    health: watch::Receiver<Health>,
    places: Arc<Places>,
    protections: Vec<Protection>,
    pub(super) metrics: Arc<Metrics>,
    started: UnixTime,
    /// Held by the one that writes metrics: however many ask, it is one thread's work.
    writing: Mutex<()>,
}

impl Pages {
    pub(super) fn new(
        shared: &Shared,
        health: watch::Receiver<Health>,
        protections: Vec<Protection>,
    ) -> Arc<Self> {
        Arc::new(Self {
            live: Arc::clone(&shared.live),
            health,
            places: Arc::clone(&shared.places),
            protections,
            metrics: Arc::clone(&shared.metrics),
            started: now(),
            writing: Mutex::new(()),
        })
    }

    pub(super) async fn answer<B>(self: Arc<Self>, request: Request<B>) -> Response<String> {
        if let Err((code, why)) = host::check(&request) {
            return text(code, why);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only\n");
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readiness(request.uri().query() == Some("verbose")),
            "/metrics" => self.metrics().await,
            _ => text(StatusCode::NOT_FOUND, "/livez, /readyz or /metrics\n"),
        }
    }

    /// Good exactly when Status is: the cause of an error is the text of the answer.
    fn readiness(&self, verbose: bool) -> Response<String> {
        let keyring = self.live.load();
        let (code, mut body) = match keyring.status() {
            Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
            Err(why) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{}\n", plain(&why.to_string())),
            ),
        };
        if verbose {
            let health = self.health.borrow();
            for problem in &health.problems {
                let _ = writeln!(body, "problem: {}", plain(problem));
            }
            for warning in &health.warnings {
                let _ = writeln!(body, "warning: {}", plain(warning));
            }
        }
        text(code, body)
    }

    /// Written on a thread of its own: a ring of many keys has many lines.
    async fn metrics(self: Arc<Self>) -> Response<String> {
        let pages = Arc::clone(&self);
        let _one_at_a_time = self.writing.lock().await;
        let written = tokio::task::spawn_blocking(move || {
            let health = pages.health.borrow().clone();
            pages.metrics.render(&gauges::collect(&Sources {
                health: &health,
                live: &pages.live,
                places: &pages.places,
                protections: &pages.protections,
                started: pages.started,
            }))
        });
        match written.await {
            Ok(Ok(body)) => respond(StatusCode::OK, OPEN_METRICS, body),
            _ => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics could not be written\n",
            ),
        }
    }
}

fn text(code: StatusCode, body: impl Into<String>) -> Response<String> {
    respond(code, TEXT, body.into())
}

fn respond(code: StatusCode, kind: HeaderValue, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
