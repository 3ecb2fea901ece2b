//! HTTP on a plugin's telemetry listener, and OpenMetrics text as strictly as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ureq::Agent;

/// What the listener answered.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) body: String,
}

/// GET; an error where there is no answer.
pub(crate) fn get(address: &str, path: &str) -> Result<Page, ureq::Error> {
    request("GET", address, path)
}

/// Any method, without a body.
pub(crate) fn request(method: &str, address: &str, path: &str) -> Result<Page, ureq::Error> {
    let agent: Agent = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .body(())
        .unwrap();
    let mut response = agent.run(request)?;
    let kind = response.headers().get("content-type");
    Ok(Page {
        status: response.status().as_u16(),
        kind: kind.map_or(String::new(), |kind| kind.to_str().unwrap().to_owned()),
        body: response.body_mut().read_to_string()?,
    })
}

/// A metric with everything that is said of it.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Name, labels and value of each sample.
    pub(crate) samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Family {
    /// The names of its labels, but for the bound of a bucket.
    pub(crate) fn labels(&self) -> BTreeSet<String> {
        let names = self.samples.iter().flat_map(|(_, labels, _)| labels.keys());
        names.filter(|name| *name != "le").cloned().collect()
    }
}

/// One scrape.
#[derive(Debug)]
pub(crate) struct Scrape(pub(crate) BTreeMap<String, Family>);

impl Scrape {
    /// Scrapes.
    pub(crate) fn of(address: &str) -> Self {
        let page = get(address, "/metrics").unwrap();
        assert_eq!(page.status, 200, "{page:?}");
        assert_eq!(
            page.kind,
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        Self::parse(&page.body)
    }

    /// Panics at whatever OpenMetrics 1.0 does not allow.
    pub(crate) fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("an end");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let (mut current, mut seen) = (String::new(), BTreeSet::new());
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let (what, rest) = comment.split_once(' ').unwrap();
                let (name, text) = rest.split_once(' ').unwrap();
                if what == "HELP" {
                    assert!(!families.contains_key(name), "{name} stands twice");
                    name.clone_into(&mut current);
                }
                assert_eq!(name, current, "{line}");
                let family = families.entry(current.clone()).or_default();
                match what {
                    "HELP" => text.clone_into(&mut family.help),
                    "TYPE" => text.clone_into(&mut family.kind),
                    "UNIT" => assert!(name.ends_with(text), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(seen.insert(series.to_owned()), "{series} stands twice");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let family = families.get_mut(&current).expect("a HELP before a sample");
            belongs(name, &current, &family.kind);
            let labels = labels_of(labels.strip_suffix('}').unwrap());
            family
                .samples
                .push((name.to_owned(), labels, value.parse().expect(line)));
        }
        Self(families)
    }

    /// The one sample with exactly these labels.
    #[track_caller]
    pub(crate) fn value(&self, sample: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(sample, labels)
            .unwrap_or_else(|| panic!("no {sample} {labels:?} in {self:#?}"))
    }

    /// The same, where it may be missing.
    pub(crate) fn find(&self, sample: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: BTreeMap<String, String> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples
            .filter(|(name, labels, _)| name == sample && *labels == wanted)
            .map(|(_, _, value)| *value)
            .next()
    }

    /// The sum of every sample of this name that has these labels and perhaps others.
    pub(crate) fn sum(&self, sample: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples
            .filter(|(name, found, _)| {
                name == sample
                    && labels
                        .iter()
                        .all(|(name, value)| found.get(*name).is_some_and(|it| it == value))
            })
            .map(|(_, _, value)| value)
            .sum()
    }

    /// Every value that a label has anywhere.
    pub(crate) fn label_values(&self, label: &str) -> BTreeSet<String> {
        let samples = self.0.values().flat_map(|family| &family.samples);
        samples
            .filter_map(|(_, labels, _)| labels.get(label).cloned())
            .collect()
    }
}

/// A sample's name is the family's with the suffix of its type.
fn belongs(sample: &str, family: &str, kind: &str) {
    let suffix = sample.strip_prefix(family).expect(sample);
    let allowed: &[&str] = match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_sum", "_count"],
        _ => panic!("{family} is a {kind:?}"),
    };
    assert!(allowed.contains(&suffix), "{sample} in {family}, a {kind}");
}

/// None of ours holds a comma, a quote or a backslash.
fn labels_of(text: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect(text);
        let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let value = value.expect(text);
        assert!(!value.contains(['"', '\\']), "{text}");
        (name.to_owned(), value.to_owned())
    };
    text.split(',').filter(|it| !it.is_empty()).map(pair).collect()
}
