//! Counts and times every request around the generated service, so that what tonic answers by itself counts too.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tower::Service;

use super::connection::Connection;
use super::held::{Held, Message, Reply};
use super::places::Places;
use crate::service::panicked;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{CANCELED, Method};

/// tonic puts a refusal into the head of the answer; where the head has no code, the answer is a good one.
const GRPC_STATUS: &str = "grpc-status";
const UNKNOWN: usize = 2;

/// The service of one connection, measured.
pub(super) struct Measured<S> {
    pub(super) service: S,
    pub(super) connection: Arc<Connection>,
    pub(super) places: Arc<Places>,
    pub(super) metrics: Arc<Metrics>,
}

impl<S> hyper::service::Service<Request<Incoming>> for Measured<S>
where
    S: Service<Request<Message>, Response = Response<Body>, Error = Infallible, Future = Answer> + Clone,
{
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let call = Call::begin(&self.metrics, method(request.uri().path()));
        self.connection.reached(call.started);
        let held = Held::by(&self.places, &self.connection, request.headers());
        let request = request.map(|body| Message::new(body, &self.places, &self.connection));
        Answering {
            answer: self.service.clone().call(request),
            call: Some(call),
            held: Some(held),
        }
    }
}

type Answer = BoxFuture<Response<Body>, Infallible>;

/// An answer on its way.
pub(super) struct Answering {
    answer: Answer,
    call: Option<Call>,
    held: Option<Held>,
}

impl Future for Answering {
    type Output = Result<Response<Reply>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.answer.as_mut().poll(context)));
        let mut answer = match polled {
            Ok(polled) => ready!(polled)?,
            // Outside of what the service guards itself, where it can still name the request: tonic, Status.
            Err(_) => panicked().into_http(),
        };
        size_errors_are_exhaustion(&mut answer);
        if let Some(call) = self.call.take() {
            call.end(code(&answer));
        }
        let held = self.held.take();
        Poll::Ready(Ok(answer.map(|body| Reply::new(body, held))))
    }
}

/// tonic answers OUT_OF_RANGE to a message over its limit; gRPC's word for that is RESOURCE_EXHAUSTED, and the service
/// itself never answers OUT_OF_RANGE.
fn size_errors_are_exhaustion(answer: &mut Response<Body>) {
    if let Some(code) = answer.headers_mut().get_mut(GRPC_STATUS)
        && code == "11"
    {
        *code = HeaderValue::from_static("8");
    }
}

fn method(path: &str) -> Method {
    match path.strip_prefix("/v2.KeyManagementService/") {
        Some("Status") => Method::Status,
        Some("Encrypt") => Method::Encrypt,
        Some("Decrypt") => Method::Decrypt,
        _ => Method::Other,
    }
}

fn code(answer: &Response<Body>) -> usize {
    match answer.headers().get(GRPC_STATUS) {
        None => 0,
        Some(code) => code
            .to_str()
            .ok()
            .and_then(|it| it.parse().ok())
            .unwrap_or(UNKNOWN),
    }
}

/// A request that is being answered. Dropped before its end, it was canceled.
struct Call {
    metrics: Arc<Metrics>,
    method: Method,
    code: usize,
    started: Instant,
}

impl Call {
    fn begin(metrics: &Arc<Metrics>, method: Method) -> Self {
        metrics.begun(method);
        Self {
            metrics: Arc::clone(metrics),
            method,
            code: CANCELED,
            started: Instant::now(),
        }
    }

    fn end(mut self, code: usize) {
        self.code = code;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.metrics.ended(self.method, self.code, self.started.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_any_method_is_an_internal_error_of_that_request_and_counts_as_one() {
        let metrics = Arc::new(Metrics::new(None));
        let methods = ["Status", "Encrypt", "Decrypt"];

        for name in methods {
            let path = format!("/v2.KeyManagementService/{name}");
            let panics = Answering {
                answer: Box::pin(async { panic!("of this request") }),
                call: Some(Call::begin(&metrics, method(&path))),
                held: None,
            };
            let answer = panics.await.expect("an answer");

            assert_eq!(answer.headers()[GRPC_STATUS], "13");
        }

        let text = metrics
            .render(&crate::telemetry::Gauges::default())
            .expect("text");
        for name in methods {
            let line = format!("method=\"{name}\",code=\"Internal\"}} 1\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
