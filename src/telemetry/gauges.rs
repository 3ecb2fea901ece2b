//! What is so at the moment of a scrape.

use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::Labels;
use crate::keyring::ring::UnixTime;

/// Every name begins with it.
pub(super) const PREFIX: &str = "kekring";

/// A set of gauges, made anew for each scrape.
#[derive(Debug)]
pub struct Gauges(pub(super) Registry);

impl Default for Gauges {
    fn default() -> Self {
        Self(Registry::with_prefix(PREFIX))
    }
}

impl Gauges {
    /// A number of things.
    pub fn number(&mut self, name: &str, help: &str, value: usize) {
        let value = u64::try_from(value).unwrap_or(u64::MAX);
        self.0.register(name, help, ConstGauge::new(value));
    }

    /// Whether something is so.
    pub fn whether(&mut self, name: &str, help: &str, so: bool) {
        self.number(name, help, usize::from(so));
    }

    /// A part of a whole, 1 being all of it; `ratio` ends its name.
    pub fn ratio(&mut self, name: &str, help: &str, value: f64) {
        self.0.register(name, help, ConstGauge::new(value));
    }

    /// A span of time; `_seconds` is appended to the name.
    pub fn span(&mut self, name: &str, help: &str, span: Duration) {
        self.0
            .register_with_unit(name, help, Unit::Seconds, ConstGauge::new(span.as_secs()));
    }

    /// A point in time; `_seconds` is appended to the name.
    pub fn time(&mut self, name: &str, help: &str, time: UnixTime) {
        self.0
            .register_with_unit(name, help, Unit::Seconds, ConstGauge::new(time.0));
    }

    /// Numbers by the value of one label.
    pub fn by<L: Into<String>>(
        &mut self,
        (name, help): (&str, &str),
        label: &'static str,
        numbers: impl IntoIterator<Item = (L, usize)>,
    ) {
        let family: Family<Labels, Gauge> = Family::default();
        for (value, number) in numbers {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            family.get_or_create(&vec![(label, value.into())]).set(number);
        }
        self.0.register(name, help, family);
    }

    /// A text; `_info` is appended to the name, and the value is 1.
    pub fn info(&mut self, name: &str, help: &str, label: &'static str, value: String) {
        self.0.register(name, help, Info::new(vec![(label, value)]));
    }
}
