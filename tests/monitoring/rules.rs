//! The alerts: what promtool says of them and of their unit tests, and that each says enough.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::{in_repository, shown};
use crate::tools::tool;

pub const DIR: &str = "deploy/monitoring";
pub const SAMPLE: &str = "deploy/monitoring/prometheus.yaml";
const UNIT_TESTS: [&str; 2] = ["alerts_test.yaml", "alerts_days_test.yaml"];

/// An alert of the file.
pub struct Alert {
    pub name: String,
    pub expr: String,
    pub severity: String,
    pub annotations: Value,
}

pub fn file() -> Value {
    yaml("alerts.yaml")
}

/// Every alert, in the order of the file.
pub fn alerts() -> Vec<Alert> {
    let file = file();
    let groups = file["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    rules
        .map(|rule| Alert {
            name: text(&rule["alert"]),
            expr: text(&rule["expr"]),
            severity: text(&rule["labels"]["severity"]),
            annotations: rule["annotations"].clone(),
        })
        .collect()
}

fn yaml(name: &str) -> Value {
    let text = fs::read_to_string(in_repository(DIR).join(name)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

pub fn prometheus_takes_the_files_as_they_are() {
    promtool(&["check", "config", "prometheus.yaml"]);
    promtool(&["check", "rules", "alerts.yaml"]);
}

pub fn the_alerts_fire_as_their_unit_tests_say() {
    promtool(&[&["test", "rules"][..], &UNIT_TESTS].concat());
}

fn promtool(args: &[&str]) {
    let output = tool("promtool")
        .args(args)
        .current_dir(in_repository(DIR))
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", shown(&output));
}

pub fn every_alert_says_what_it_is_and_where_to_read_on() {
    let alerts = alerts();

    let names: BTreeSet<&str> = alerts.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names.len(), alerts.len(), "a name stands twice");
    assert!(names.len() > 25, "{names:?}");
    for alert in &alerts {
        let name = &alert.name;
        assert!(name.starts_with("Kekring"), "{name}");
        assert!(
            ["critical", "warning", "info"].contains(&alert.severity.as_str()),
            "{name}"
        );
        for said in ["summary", "description"] {
            let text = alert.annotations[said].as_str().unwrap_or_default();
            assert!(text.len() > 15, "{name} has no {said}");
        }
        let runbook = alert.annotations["runbook"].as_str().unwrap_or_default();
        let (page, anchor) = runbook
            .split_once('#')
            .unwrap_or_else(|| panic!("{name}: {runbook:?}"));
        assert!(
            anchors(page).contains(anchor),
            "{name}: {page} has no heading #{anchor}"
        );
    }
}

/// The headings of a page as GitHub links them.
fn anchors(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(in_repository(page)).unwrap_or_else(|why| panic!("{page}: {why}"));
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .replace(' ', "-");
        words
            .chars()
            .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
            .collect()
    };
    headings.map(anchor).collect()
}

pub fn every_alert_is_tested_on_both_sides_of_its_limit() {
    let mut cases = Vec::new();
    for name in UNIT_TESTS {
        let file = yaml(name);
        let groups = file["tests"].as_array().unwrap().iter();
        for case in groups
            .filter_map(|group| group["alert_rule_test"].as_array())
            .flatten()
        {
            let fires = case["exp_alerts"].as_array().is_some_and(|it| !it.is_empty());
            cases.push((case["alertname"].as_str().unwrap().to_owned(), fires));
        }
    }

    for Alert { name, .. } in alerts() {
        for fires in [true, false] {
            let tested = cases.contains(&(name.clone(), fires));
            assert!(
                tested,
                "no unit test in which {name} {}",
                if fires { "fires" } else { "does not fire" }
            );
        }
    }
}
