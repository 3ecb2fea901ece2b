//! What is counted while it happens. A request finds every counter resolved: it allocates nothing and waits for no scrape.
//!
//! Labels never hold text from a request: methods and codes are ours, and keys are those of the ring.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};
use tracing_appender::non_blocking::ErrorCounter;

pub use super::calls::{CANCELED, Method};

use super::calls::Requests;
use super::gauges::{Gauges, PREFIX};
use super::keys::Keys;
use crate::keyring::ring::UnixTime;

/// The type of what [`Metrics::render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) type Labels = Vec<(&'static str, String)>;
type Time = Gauge<u64, AtomicU64>;

/// Everything that is counted.
pub struct Metrics {
    /// By key.
    pub keys: Keys,
    /// Peers that are not admitted.
    pub peers_refused: Counter,
    /// Admitted peers beyond the cap.
    pub turned_away: Counter,
    /// Connections that had to go for others.
    pub connections_cut: Counter,
    /// Accepts that failed.
    pub accepts_failed: Counter,
    /// Connections to the telemetry listener beyond its cap.
    pub scrapes_refused: Counter,
    requests: Requests,
    last_status: Time,
    last_reload: Time,
    reloads: [Counter; 2],
    rotations: [Counter; 2],
    registry: Registry,
}

impl Metrics {
    /// Nothing counted yet; `dropped` counts the lines that the log lost.
    pub fn new(dropped: Option<ErrorCounter>) -> Self {
        let mut made = Maker(Registry::with_prefix(PREFIX));
        if let Some(dropped) = dropped {
            let help = "Lines that the log dropped because nobody took them";
            made.0.register("log_lines_dropped", help, Dropped(dropped));
        }
        Self {
            requests: Requests::new(&mut made.0),
            keys: Keys::new(&mut made.0),
            peers_refused: made.counter("peers_refused", "Connections of users that are not admitted"),
            turned_away: made.counter("connections_turned_away", "Connections beyond the cap"),
            connections_cut: made.counter(
                "connections_cut",
                "Connections closed because others needed their place or their memory",
            ),
            accepts_failed: made.counter("accepts_failed", "Connections that could not be accepted"),
            scrapes_refused: made.counter("telemetry_refused", "Connections here beyond the cap"),
            last_status: made.time(
                "status_last_timestamp",
                "When Status was last asked for on any connection, in Unix seconds; 0: never",
            ),
            last_reload: made.time(
                "reload_last_success_timestamp",
                "When the stored ring was last read and taken, in Unix seconds; 0: never",
            ),
            reloads: made.outcomes("reloads", "Reads of the stored ring, by outcome"),
            rotations: made.outcomes(
                "rotations",
                "Rotations that this server began by itself, by outcome",
            ),
            registry: made.0,
        }
    }

    /// A request begins.
    pub fn begun(&self, method: Method) {
        self.requests.begun(method);
    }

    /// It has been answered with a gRPC code after so long.
    pub fn ended(&self, method: Method, code: usize, took: Duration) {
        self.requests.ended(method, code, took);
    }

    /// Status was asked for.
    pub fn polled(&self, now: UnixTime) {
        self.last_status.set(now.0);
    }

    /// The ring was read; whether it was taken.
    pub fn reloaded(&self, taken: bool, now: UnixTime) {
        count(&self.reloads, taken);
        if taken {
            self.last_reload.set(now.0);
        }
    }

    /// A rotation or a join was due; whether it was done.
    pub fn rotated(&self, done: bool) {
        count(&self.rotations, done);
    }

    /// All of it and the gauges of the moment, as OpenMetrics text.
    pub fn render(&self, gauges: &Gauges) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &gauges.0)?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

fn count([success, failure]: &[Counter; 2], well: bool) {
    if well { success } else { failure }.inc();
}

/// Makes a metric and registers it.
struct Maker(Registry);

impl Maker {
    fn counter(&mut self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.0.register(name, help, counter.clone());
        counter
    }

    fn time(&mut self, name: &str, help: &str) -> Time {
        let time = Time::default();
        self.0.register_with_unit(name, help, Unit::Seconds, time.clone());
        time
    }

    fn outcomes(&mut self, name: &str, help: &str) -> [Counter; 2] {
        let family: Family<Labels, Counter> = Family::default();
        self.0.register(name, help, family.clone());
        ["success", "failure"].map(|result| family.get_or_create_owned(&vec![("result", result.to_owned())]))
    }
}

/// The log counts for itself.
#[derive(Debug)]
struct Dropped(ErrorCounter);

impl TypedMetric for Dropped {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Dropped {
    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let lines = u64::try_from(self.0.dropped_lines()).unwrap_or(u64::MAX);
        ConstCounter::new(lines).encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
