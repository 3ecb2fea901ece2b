//! Requests by method: how many, how they ended, how long they took.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::histogram::Durations;
use super::metrics::Labels;

/// gRPC's codes by their number, as Go and so kube-apiserver spell them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
/// Code of a request whose caller went away.
pub const CANCELED: usize = 1;
const UNIMPLEMENTED: usize = 12;
/// Codes that are there from the start, at zero, so that the first one is seen to be new.
const EXPECTED: [usize; 8] = [0, CANCELED, 3, 5, 8, 9, 13, 14];

/// What a request calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Status.
    Status,
    /// Encrypt.
    Encrypt,
    /// Decrypt.
    Decrypt,
    /// No method of ours: answered, never named.
    Other,
}

/// The method's counters.
struct Calls {
    name: &'static str,
    codes: [OnceLock<Counter>; CODES.len()],
    took: Durations,
    in_flight: Gauge,
}

/// The counters of every method, resolved.
pub(super) struct Requests {
    family: Family<Labels, Counter>,
    calls: [Calls; 4],
}

impl Requests {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let family: Family<Labels, Counter> = Family::default();
        let took: Family<Labels, Durations> = Family::default();
        let in_flight: Family<Labels, Gauge> = Family::default();
        let calls = ["Status", "Encrypt", "Decrypt", "other"].map(|name| {
            let labels = vec![("method", name.to_owned())];
            Calls {
                name,
                codes: [const { OnceLock::new() }; CODES.len()],
                took: took.get_or_create_owned(&labels),
                in_flight: in_flight.get_or_create_owned(&labels),
            }
        });
        let [ours @ .., other] = &calls;
        for (calls, code) in ours.iter().flat_map(|calls| EXPECTED.map(|code| (calls, code))) {
            calls.counter(&family, code);
        }
        other.counter(&family, UNIMPLEMENTED);
        let help = "Answered requests, by method and gRPC code";
        registry.register("requests", help, family.clone());
        let help = "From the head of a request to its answer, in seconds";
        registry.register_with_unit("request_duration", help, Unit::Seconds, took);
        registry.register(
            "requests_in_flight",
            "Requests that are being answered",
            in_flight,
        );
        Self { family, calls }
    }

    pub(super) fn begun(&self, method: Method) {
        self.of(method).in_flight.inc();
    }

    pub(super) fn ended(&self, method: Method, code: usize, took: Duration) {
        let calls = self.of(method);
        calls.in_flight.dec();
        calls.took.observe(took);
        if let Some(counter) = calls.counter(&self.family, code) {
            counter.inc();
        }
    }

    fn of(&self, method: Method) -> &Calls {
        let [status, encrypt, decrypt, other] = &self.calls;
        match method {
            Method::Status => status,
            Method::Encrypt => encrypt,
            Method::Decrypt => decrypt,
            Method::Other => other,
        }
    }
}

impl Calls {
    /// `None` for a number that is no code of gRPC.
    fn counter(&self, family: &Family<Labels, Counter>, code: usize) -> Option<&Counter> {
        let (cell, code) = (self.codes.get(code)?, CODES.get(code)?);
        let labels = || vec![("method", self.name.to_owned()), ("code", (*code).to_owned())];
        Some(cell.get_or_init(|| family.get_or_create_owned(&labels())))
    }
}
