//! The dashboard as a file: what each panel says, and how the file is laid out.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::in_repository;

/// As wide as a line of the file may be.
const WIDTH: usize = 140;

fn path() -> PathBuf {
    in_repository("deploy/monitoring/dashboard.json")
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(path()).unwrap()).unwrap()
}

/// Every panel that shows something.
fn panels() -> Vec<Value> {
    let panels = dashboard()["panels"].as_array().unwrap().clone();
    panels.into_iter().filter(|it| it["type"] != "row").collect()
}

/// Every query of every panel, with the panel's title; its variables filled in, as for all nodes of a job.
pub fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let filled = expr
                .replace("$job", "kekring")
                .replace("$node", ".+")
                .replace("$__rate_interval", "15s");
            assert!(!filled.contains('$'), "{filled}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), filled));
        }
    }
    queries
}

pub fn every_panel_says_what_it_shows_and_in_which_unit() {
    let panels = panels();

    assert!(panels.len() > 20, "{} panels", panels.len());
    let mut titles = BTreeSet::new();
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        assert!(titles.insert(title), "{title} stands twice");
        assert!(
            panel["description"].as_str().is_some_and(|it| it.len() > 20),
            "{title} says nothing"
        );
        assert!(
            panel["fieldConfig"]["defaults"]["unit"]
                .as_str()
                .is_some_and(|it| !it.is_empty()),
            "{title} has no unit"
        );
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} asks for nothing");
        for target in targets {
            let expr = target["expr"].as_str().unwrap();
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(
                target["legendFormat"].as_str().is_some_and(|it| !it.is_empty()),
                "{title}"
            );
            // Every series of ours is that of the chosen nodes.
            for part in expr.split("kekring_").skip(1) {
                assert!(
                    part.split(['}', ' '])
                        .next()
                        .unwrap()
                        .contains("{job=\"$job\",instance=~\"$node\""),
                    "{title}: {expr}"
                );
            }
        }
    }
    let names: Vec<Value> = dashboard()["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].clone())
        .collect();
    assert_eq!(names, ["datasource", "job", "node"]);
}

pub fn the_dashboard_is_laid_out_as_it_always_is() {
    let text = fs::read_to_string(path()).unwrap();

    let laid_out = laid_out(&dashboard(), 0) + "\n";

    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path(), laid_out).unwrap();
        return;
    }
    assert!(
        text == laid_out,
        "keys are sorted, and what fits stands on one line: `UPDATE_GOLDEN=1 cargo test --test monitoring laid_out` does that"
    );
}

/// What fits stands on one line, all else one to a line.
fn laid_out(value: &Value, indent: usize) -> String {
    let short = value.to_string();
    let (open, parts, close) = match value {
        Value::Object(map) => {
            let part = |(name, value): (&String, &Value)| {
                let name = Value::from(name.as_str()).to_string();
                format!("{name}: {}", laid_out(value, indent + 2))
            };
            ('{', map.iter().map(part).collect::<Vec<_>>(), '}')
        }
        Value::Array(items) => {
            let parts = items.iter().map(|it| laid_out(it, indent + 2));
            ('[', parts.collect(), ']')
        }
        _ => return short,
    };
    if indent > 4 && short.len() + indent <= WIDTH || parts.is_empty() {
        return short;
    }
    let (inner, outer) = (" ".repeat(indent + 2), " ".repeat(indent));
    format!(
        "{open}\n{inner}{}\n{outer}{close}",
        parts.join(&format!(",\n{inner}"))
    )
}
