//! The corpus of the fuzz targets, on every machine that runs the tests; crashes that were found are in it.

use std::fs;

use crate::checks::TARGETS;
use crate::say;
use crate::support::in_repository;

#[test]
fn every_file_of_the_fuzzers_corpus_keeps_what_its_target_checks() {
    let mut counts = Vec::new();
    for (name, check) in TARGETS {
        let dir = in_repository("fuzz/corpus").join(name);
        let entries = fs::read_dir(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
        let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        assert!(paths.len() >= 5, "{name} has {}", paths.len());
        for path in &paths {
            let bytes = fs::read(path).unwrap();
            let outcome = std::panic::catch_unwind(|| check(&bytes));
            assert!(outcome.is_ok(), "{}", path.display());
        }
        counts.push(format!("{} {name}", paths.len()));
    }
    say(&format!("corpus: {}", counts.join(", ")));
}
