//! kube-apiserver's own KMS v2 code, of the oldest and the newest Kubernetes that are supported, against real `serve`
//! processes driven by the real verbs: what a provider must do, case by case.
//!
//! The client is a Go program on k8s.io/apiserver (`client/`), built once for each version. Where there is no Go the
//! trials are ignored and say so, except with `TESTS_REQUIRED=all`: then they fail. What a real kube-apiserver with its
//! etcd does with the plugin is in `tests/apiserver`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod client;
#[path = "../support/golang.rs"]
mod golang;
mod inspect;
mod lab;
mod load;
mod nodes;
mod old_client;
mod outage;
mod refusals;
mod reload;
mod rotation;
#[path = "../support/seed.rs"]
mod seed;
mod start;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use kekring_kit::Suite;

use golang::Program;

/// Requirements of the oldest Kubernetes that works: until 1.31 it sends the socket's path as `:authority`.
static OLDEST: Program = Program::new(
    "kms-client-v0.32",
    "tests/conformance/client",
    "v0.32.mod",
    "apiserver_v0_32",
);
/// And of the newest.
static NEWEST: Program = Program::new("kms-client-v0.37", "tests/conformance/client", "go.mod", "");

type Case = (&'static str, fn(&'static Program));

/// What every version must find.
const CASES: [Case; 17] = [
    ("a cold start is healthy at once and can write", start::cold),
    (
        "key_id of Status and Encrypt agree under a rotation hammer",
        rotation::hammer,
    ),
    (
        "after a restart the key_id is the same and old data is read",
        start::restart,
    ),
    (
        "after a rotation old objects are stale, new ones have the new key_id, all are read",
        rotation::stale,
    ),
    (
        "three plugins read each other at every step of a staged rotation",
        nodes::staged,
    ),
    (
        "an unknown or suspended key_id is a gRPC error and not wrong bytes",
        refusals::unknown_key,
    ),
    (
        "a tampered ciphertext, key_id or annotation is an error and spoils nothing",
        refusals::tampered,
    ),
    ("an object at another place in etcd is an error", refusals::moved),
    (
        "key_id, ciphertext and annotations keep the limits",
        refusals::limits,
    ),
    (
        "Status of a sealed plugin is a gRPC error, and writes end 3 minutes later",
        outage::sealed,
    ),
    (
        "a plugin that is unsealed is taken up again without an Encrypt",
        outage::unsealed,
    ),
    (
        "200 cold Decrypts at once end within the timeout",
        load::cold_burst,
    ),
    (
        "SIGTERM and a restart under socket activation fail no call",
        outage::activated_restart,
    ),
    ("a stale socket stops no start and no client", start::stale_socket),
    ("the version is v2 in every Status", start::version),
    (
        "a changed EncryptionConfiguration is taken without a restart and without a failed call",
        reload::hot,
    ),
    (
        "the offline inspector sees and opens what the transformer wrote",
        inspect::agrees,
    ),
];

/// Most trials wait for clocks of kube-apiserver's, not for a processor.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let mut suite = Suite::new("conformance").at_once(AT_ONCE);
    for (version, program) in [("v0.32", &OLDEST), ("v0.37", &NEWEST)] {
        for (words, case) in CASES {
            trial(&mut suite, format!("{version}: {words}"), program, case);
        }
    }
    let (words, case) = old_client::CASE;
    trial(&mut suite, words.to_owned(), &NEWEST, case);
    suite.run()
}

fn trial(suite: &mut Suite, name: String, program: &'static Program, case: fn(&'static Program)) {
    suite.trial(name, move || {
        program.path()?;
        case(program);
        Ok(())
    });
}
