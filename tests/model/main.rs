//! Random commands on a real ring in a real directory, beside a model of what must hold: no key is lost, what was sealed
//! opens, no server takes back what it has reported, no suspension is lifted by anything old, and no root that was removed
//! comes back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod accidents;
mod laws;
mod model;
mod place;
mod steps;
mod strangers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use model::Model;
use steps::{Step, sequences};

/// The short form runs in CI; `KEKRING_TESTS=full` is for a night.
fn cases(short: u32, full: u32) -> u32 {
    if std::env::var_os("KEKRING_TESTS").is_some_and(|it| it == "full") {
        return full;
    }
    short
}

/// Runs `test` on `cases` random inputs; a failure shows the least input that fails, and the seed that leads to it.
fn explore<S: Strategy>(cases: u32, input: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seed = std::env::var("PROPTEST_RNG_SEED")
        .ok()
        .and_then(|it| it.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from_le_bytes(kekring::crypto::random().unwrap()));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 20_000,
        ..Config::default()
    });
    if let Err(failed) = runner.run(input, test) {
        panic!("{failed}\nagain: PROPTEST_RNG_SEED={seed} cargo test --test model");
    }
}

/// Past the capture of the test runner: the figures are wanted in every log.
fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}

#[test]
fn a_ring_keeps_its_promises_under_any_sequence_of_commands() {
    let cases = cases(100, 10_000);
    let counts: Mutex<BTreeMap<String, [usize; 2]>> = Mutex::default();

    explore(
        cases,
        &(any::<bool>(), sequences()),
        |(mirrored, steps): (bool, Vec<Step>)| {
            let mut model = Model::new(mirrored);
            for (at, step) in steps.iter().enumerate() {
                let outcome = model.take(step);
                let mut counts = counts.lock().unwrap();
                counts.entry(step.name()).or_default()[usize::from(outcome.is_err())] += 1;
                drop(counts);
                if let Err(broken) = model.check() {
                    let mut text = format!("after step {at}, {step:?}, {outcome:?}: {broken}\n");
                    writeln!(text, "mirrored {mirrored}, steps {steps:?}").unwrap();
                    return Err(TestCaseError::fail(text));
                }
            }
            Ok(())
        },
    );

    let counts = counts.into_inner().unwrap();
    let [taken, refused] = [0, 1].map(|at| counts.values().map(|it| it[at]).sum::<usize>());
    let kinds: Vec<String> = counts
        .iter()
        .map(|(kind, [taken, refused])| format!("{kind} {taken} of {}", taken + refused))
        .collect();
    say(&format!(
        "model: {cases} sequences, {taken} steps taken, {refused} refused: {}",
        kinds.join(", ")
    ));
    assert!(taken > refused, "most commands do something");
}
