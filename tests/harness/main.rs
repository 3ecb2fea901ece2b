//! The harness itself: what a trial lacks is ignored and counted, under its name; and no `#[test]` is compiled away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[macro_use]
extern crate kekring_kit;

mod sources;

use std::process::{Command, ExitCode};

use kekring_kit::needs::nothing;
use kekring_kit::{Missing, Suite, needs, trials};

/// Makes this program the suite that the tests look at.
const SAMPLE: &str = "KEKRING_HARNESS_SAMPLE";

fn main() -> ExitCode {
    if std::env::var_os(SAMPLE).is_none() {
        return kekring_kit::main("harness");
    }
    let mut suite = Suite::new("sample").at_once(2);
    suite.list(trials![needs nothing;
        sample::goes_well,
        sample::fails,
    ]);
    suite.list(trials![
        no_such_program: sample::cannot_begin,
    ]);
    suite.trial("finds out", || needs::program("no-such-helper"));
    suite.trial("is broken", || Err(Missing::Broken("it fell over".into())));
    suite.run()
}

fn no_such_program() -> Result<(), Missing> {
    needs::programs(&["sh", "no-such-program"])
}

mod sample {
    pub(crate) fn goes_well() {}

    pub(crate) fn fails() {
        assert_eq!(1 + 1, 3, "sums");
    }

    pub(crate) fn cannot_begin() {
        unreachable!("what it needs is asked first");
    }
}

/// What the sample prints, in words, and whether it ended well.
fn sample(arguments: &[&str], required: Option<&str>) -> (String, bool) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(arguments)
        .env(SAMPLE, "1")
        .env_remove("TESTS_REQUIRED");
    if let Some(required) = required {
        command.env("TESTS_REQUIRED", required);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    (words.join(" "), output.status.success())
}

#[track_caller]
fn assert_says(text: &str, said: &[&str]) {
    for it in said {
        assert!(text.contains(it), "{it:?} is not in: {text}");
    }
}

#[test]
fn what_a_trial_lacks_is_ignored_by_its_name_and_counted() {
    let (text, well) = sample(&[], None);

    assert!(!well);
    assert_says(
        &text,
        &[
            "test goes_well ... ok",
            "test cannot_begin ... ignored (needs no-such-program)",
            "test finds out ... ignored (needs no-such-helper)",
            "test fails ... FAILED",
            "test is broken ... FAILED",
            "1 passed; 2 failed; 2 ignored",
            "s suite sample",
        ],
    );
}

#[test]
fn where_all_is_required_nothing_is_ignored() {
    let (text, well) = sample(&["cannot_begin"], Some("all"));

    assert!(!well);
    let why = "needs no-such-program, and TESTS_REQUIRED=all allows no trial to be ignored";
    assert_says(&text, &[why, "0 passed; 1 failed; 0 ignored"]);
}

#[test]
fn a_suite_of_which_much_is_ignored_ends_well() {
    let (text, well) = sample(&["--skip", "fails", "--skip", "broken"], None);

    assert!(well);
    assert_says(&text, &["1 passed; 0 failed; 2 ignored"]);
}

#[test]
fn a_part_of_a_name_chooses_and_a_list_runs_nothing() {
    let (chosen, well) = sample(&["well"], None);
    let (listed, listed_well) = sample(&["--list"], None);

    assert!(well && listed_well);
    assert_says(&chosen, &["1 passed; 0 failed; 0 ignored", "4 filtered out"]);
    assert!(
        !listed.contains("suite") && listed.contains("fails: test"),
        "{listed}"
    );
}

#[test]
fn a_test_has_a_thread_of_its_name() {
    assert_eq!(
        std::thread::current().name(),
        Some("a_test_has_a_thread_of_its_name")
    );
}
