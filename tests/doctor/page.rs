//! deploy/doctor.md has every finding, and each is tried.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::in_repository;

/// What no test of this suite can bring about, and where it is tried.
const ELSEWHERE: [(&str, &str); 0] = [];

#[test]
fn every_finding_stands_on_the_page_with_what_it_means_and_no_other() {
    let page = fs::read_to_string(in_repository("deploy/doctor.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let told: BTreeSet<String> = rows
        .iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();

    assert_eq!(told.len(), rows.len(), "a finding stands there twice");
    assert!(
        rows.iter()
            .all(|row| row.len() == 3 && row.iter().all(|it| !it.is_empty())),
        "{rows:?}"
    );
    assert_eq!(told, ids(&text_of("src/cli/doctor")));
}

#[test]
fn every_finding_is_tried() {
    let tests = text_of("tests/doctor") + &text_of("tests/ring_on_etcd");
    // Unit tests stand beside the code.
    let units: String = files("src/cli/doctor")
        .iter()
        .filter_map(|text| text.split("#[cfg(test)]").nth(1).map(str::to_owned))
        .collect();

    let untried: Vec<String> = ids(&text_of("src/cli/doctor"))
        .into_iter()
        .filter(|id| !(tests.clone() + &units).contains(&format!("\"{id}\"")))
        .collect();

    assert_eq!(untried, ELSEWHERE.map(|(id, _)| id.to_owned()));
}

/// Every quoted `area/what`.
fn ids(text: &str) -> BTreeSet<String> {
    const AREAS: [&str; 7] = [
        "machine",
        "configuration",
        "ring",
        "server",
        "encryption",
        "manifest",
        "compare",
    ];
    let is_one = |it: &&str| {
        let Some((area, what)) = it.split_once('/') else {
            return false;
        };
        AREAS.contains(&area) && !what.is_empty() && what.chars().all(|c| c.is_ascii_lowercase() || c == '-')
    };
    text.split('"').filter(is_one).map(str::to_owned).collect()
}

fn text_of(dir: &str) -> String {
    files(dir)
        .iter()
        .map(|text| text.split("#[cfg(test)]").next().unwrap().to_owned())
        .collect()
}

fn files(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(in_repository(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let rust = |path: &Path| path.extension().is_some_and(|it| it == "rs");
    entries
        .filter(|path| rust(path))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}
