//! The command line as an operator and a script see it: arguments in; exit code, standard output and error out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[macro_use]
extern crate kekring_kit;

#[path = "../support/forged.rs"]
#[allow(dead_code)] // other suites forge more
mod forged;
#[path = "../support/mod.rs"]
mod support;

mod config;
mod golden;
mod init;
mod normal;
mod out;
mod packages;
mod session;
mod terminal;
mod verbs;
mod world;

use std::process::{ExitCode, Output};

fn main() -> ExitCode {
    // Most of the time is spent waiting for disks and servers.
    let mut suite = kekring_kit::Suite::new("cli").at_once(4);
    suite.registered();
    golden::add_to(&mut suite);
    suite.run()
}

/// Exit code, standard output, standard error.
fn parts(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    )
}

/// An error is one line that begins with `error: `, and a line that begins with `hint: `.
#[track_caller]
fn assert_error(output: &Output, code: i32, says: &str) {
    let (status, out, err) = parts(output);
    assert_eq!(status, code, "{out}{err}");
    let lines: Vec<&str> = err.lines().collect();
    assert!(
        lines.first().is_some_and(|line| line.starts_with("error: ")),
        "{err}"
    );
    assert!(
        lines.last().is_some_and(|line| line.starts_with("hint: ")),
        "{err}"
    );
    assert_eq!(lines.len(), 2, "{err}");
    assert!(err.contains(says), "{says:?} is not in: {err}");
}
