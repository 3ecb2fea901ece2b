//! `tests/faults.md`, held to the tests that they name: a row without a test, or a test of a fault
//! suite without a row, fails here. Nothing is run; the names are read from the sources.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod names;
mod table;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use names::Suite;
use table::{Row, rows};

/// Suites that show faults and nothing else: each of their tests has a row.
const FAULT_SUITES: [&str; 9] = [
    "corrupt",
    "crash",
    "door",
    "fuzz",
    "memory",
    "model",
    "operators",
    "power",
    "ring_on_etcd",
];

/// The tests of every suite that a row names, and of every fault suite that there is.
fn suites(rows: &[Row]) -> BTreeMap<String, Option<Suite>> {
    let named = rows
        .iter()
        .flat_map(|row| &row.shown_by)
        .map(|shown| &shown.suite);
    let wanted = named.cloned().chain(FAULT_SUITES.map(str::to_owned));
    wanted.map(|suite| (suite.clone(), Suite::read(&suite))).collect()
}

#[test]
fn every_row_names_tests_that_exist() {
    let rows = rows();
    let suites = suites(&rows);
    let mut wrong = Vec::new();

    for row in &rows {
        for shown in &row.shown_by {
            match &suites[&shown.suite] {
                None => wrong.push(format!("{}: there is no suite {:?}", row.place, shown.suite)),
                Some(suite) if suite.has(&shown.test) => {}
                Some(_) => wrong.push(format!(
                    "{}: suite {} has no test {:?}",
                    row.place, shown.suite, shown.test
                )),
            }
        }
    }

    let tests: usize = rows.iter().map(|row| row.shown_by.len()).sum();
    let mut out = std::io::stdout().lock();
    writeln!(out, "faults: {} rows, shown by {tests} tests", rows.len()).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_test_of_a_fault_suite_has_a_row() {
    let rows = rows();
    let suites = suites(&rows);
    let has_row = |suite: &str, test: &str| {
        let mut shown = rows.iter().flat_map(|row| &row.shown_by);
        shown.any(|it| it.suite == suite && it.test == test)
    };
    let mut without = Vec::new();

    for suite in FAULT_SUITES {
        for test in suites[suite].iter().flat_map(|it| &it.tests) {
            if !has_row(suite, test) {
                without.push(format!("`{suite}: {test}`"));
            }
        }
    }

    assert!(
        without.is_empty(),
        "no row of tests/faults.md names\n{}",
        without.join("\n")
    );
}

#[test]
fn every_row_says_what_happens_and_no_fault_is_there_twice() {
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();

    for row in rows() {
        if row.fault.is_empty() || row.outcome.is_empty() || row.shown_by.is_empty() {
            wrong.push(format!("{}: an empty cell, or no `suite: test`", row.place));
        }
        if let Some(first) = seen.insert(row.fault.to_lowercase(), row.place.clone()) {
            wrong.push(format!("{}: the same fault as {first}", row.place));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
