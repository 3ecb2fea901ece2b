//! Counts and times every request around the generated service, so that what tonic answers by itself counts too.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use tower::Service;

use crate::telemetry::Metrics;
use crate::telemetry::metrics::{CANCELED, Method};

/// tonic puts a refusal into the head of the answer; where the head has no code, the answer is a good one.
pub(super) const GRPC_STATUS: &str = "grpc-status";
const UNKNOWN: usize = 2;

/// The service, measured.
pub(super) fn measured<S, B>(
    service: S,
    metrics: Arc<Metrics>,
) -> impl Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send> + Clone,
{
    tower::service_fn(move |request: Request<Incoming>| {
        let call = Call::begin(&metrics, method(request.uri().path()));
        let answering = service.clone().call(request);
        async move {
            let answer = answering.await;
            if let Ok(answer) = &answer {
                call.end(code(answer));
            }
            answer
        }
    })
}

fn method(path: &str) -> Method {
    match path.strip_prefix("/v2.KeyManagementService/") {
        Some("Status") => Method::Status,
        Some("Encrypt") => Method::Encrypt,
        Some("Decrypt") => Method::Decrypt,
        _ => Method::Other,
    }
}

fn code<B>(answer: &Response<B>) -> usize {
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
