//! The alerts, the dashboard, the page and README.md's table of metrics speak of the same things.

use std::collections::{BTreeMap, BTreeSet};

use crate::dashboard;
use crate::rules::alerts;
use crate::support::page;

const METRICS: &str = "| metric | type | labels | what it is | when to alert |";
const NO_ALERT: &str = "| metric | why it has no alert |";
const ALERTS: &str = "| alert | severity | what it means | what to do first |";

/// What is counted by others.
const FOREIGN: [&str; 3] = [
    "up",
    "ALERTS",
    // tests/apiserver reads it from a real kube-apiserver.
    "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds",
];

/// A row of README.md's table.
pub struct Metric {
    /// As queries name its series.
    pub series: Vec<String>,
    pub on_etcd: bool,
    pub alert: String,
}

/// Every metric of ours by its name.
pub fn metrics() -> BTreeMap<String, Metric> {
    let rows = table("README.md", METRICS).into_iter();
    rows.map(|row| {
        let name = row[0].trim_matches('`').to_owned();
        let suffixes: &[&str] = match row[1].as_str() {
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let metric = Metric {
            series: suffixes.iter().map(|it| format!("{name}{it}")).collect(),
            on_etcd: row[3].starts_with("on etcd: "),
            alert: row[4].clone(),
        };
        (name, metric)
    })
    .collect()
}

/// The cells of each row of a table.
fn table(page: &str, header: &str) -> Vec<Vec<String>> {
    let text = page::text(page);
    let mut lines = text.lines().skip_while(|line| *line != header);
    assert!(lines.next().is_some(), "{page} has no table {header:?}");
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().to_owned()).collect()
    })
    .collect()
}

/// The vector selectors of an expression: a name and perhaps what is in braces behind it.
pub fn selectors(expr: &str) -> Vec<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || "_:".contains(c);
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(start) = rest.find(word) {
        let length = rest[start..].find(|c| !word(c)).unwrap_or(rest.len() - start);
        let (name, after) = rest[start..].split_at(length);
        let inside = rest[..start].ends_with('"') || rest[..start].ends_with('$');
        let braces = after
            .starts_with('{')
            .then(|| &after[..=after.find('}').expect(expr)]);
        let selects = name.starts_with("kekring_") || FOREIGN.contains(&name) || braces.is_some();
        if selects && !inside {
            found.push(format!("{name}{}", braces.unwrap_or_default()));
        }
        rest = &after[braces.map_or(0, str::len)..];
    }
    found
}

fn names(expr: &str) -> Vec<String> {
    let name = |selector: String| selector.split('{').next().unwrap().to_owned();
    selectors(expr).into_iter().map(name).collect()
}

/// The metric that a series belongs to.
pub fn metric_of<'a>(metrics: &'a BTreeMap<String, Metric>, series: &str) -> Option<&'a str> {
    let mut of = metrics.iter();
    of.find(|(_, it)| it.series.iter().any(|own| own == series))
        .map(|(name, _)| name.as_str())
}

pub fn every_metric_of_an_alert_or_a_panel_is_one_of_ours() {
    let metrics = metrics();
    let exprs = alerts().into_iter().map(|it| (it.name, it.expr));

    for (of, expr) in exprs.chain(dashboard::queries()) {
        let names = names(&expr);
        assert!(!names.is_empty(), "{of} selects nothing: {expr}");
        for name in names {
            assert!(
                FOREIGN.contains(&name.as_str()) || metric_of(&metrics, &name).is_some(),
                "{of} asks for {name}, which README.md does not have"
            );
        }
    }
    for name in names_of_alerts_in_expressions() {
        assert!(alerts().iter().any(|it| it.name == name), "no alert is {name}");
    }
}

/// Alerts that other alerts leave out.
fn names_of_alerts_in_expressions() -> BTreeSet<String> {
    let exprs = alerts().into_iter().map(|it| it.expr);
    let lists = exprs.flat_map(|expr| {
        let lists = expr.split("alertname=~\"").skip(1);
        lists
            .map(|it| it.split('"').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    });
    let names: BTreeSet<String> = lists
        .flat_map(|list| list.split('|').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(names.len() > 4, "{names:?}");
    names
}

pub fn every_when_to_alert_is_an_alert_or_says_why_not() {
    let metrics = metrics();
    let used = |exprs: Vec<String>| -> BTreeSet<String> {
        let series = exprs.iter().flat_map(|it| names(it));
        series
            .filter_map(|it| metric_of(&metrics, &it).map(str::to_owned))
            .collect()
    };
    let alerting = used(alerts().into_iter().map(|it| it.expr).collect());
    let shown = used(dashboard::queries().into_iter().map(|(_, expr)| expr).collect());
    let excused: BTreeSet<String> = table("deploy/monitoring/README.md", NO_ALERT)
        .into_iter()
        .map(|row| {
            assert!(row[1].len() > 15, "{row:?}");
            row[0].trim_matches('`').to_owned()
        })
        .collect();

    for (name, metric) in &metrics {
        let wanted = !metric.alert.is_empty();
        assert_eq!(
            excused.contains(name),
            wanted && !alerting.contains(name),
            "{name}: README.md says when to alert: {wanted}; an alert asks for it: {}; the page says why none does: {}",
            alerting.contains(name),
            excused.contains(name)
        );
        assert!(
            alerting.contains(name) || shown.contains(name),
            "{name} is neither on the dashboard nor in an alert"
        );
    }
    for name in &excused {
        assert!(metrics.contains_key(name), "{name} is no metric");
        assert!(
            shown.contains(name),
            "{name} has no alert and is not on the dashboard"
        );
    }
}

pub fn the_page_has_every_alert_and_no_other() {
    let rows = table("deploy/monitoring/README.md", ALERTS);

    let told: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| (row[0].trim_matches('`'), row[1].as_str()))
        .collect();

    let alerts = alerts();
    let ours: Vec<(&str, &str)> = alerts
        .iter()
        .map(|it| (it.name.as_str(), it.severity.as_str()))
        .collect();
    assert_eq!(told, ours, "in the order of alerts.yaml");
    for row in &rows {
        assert!(row[2].len() > 10 && row[3].len() > 5, "{row:?}");
    }
}
