//! A real kube-apiserver on a real etcd, its Secrets encrypted through kekring.
//!
//! Needs Go, which builds both of them once. Where there is none the trials are ignored and say so, except with
//! `TESTS_REQUIRED=all`: then they fail. Everything listens on loopback and keeps its files in a temporary directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod at_rest;
mod client;
mod control_plane;
#[path = "../support/golang.rs"]
mod golang;
mod lab;
mod load;
mod outage;
mod plugin;
mod process;
mod program;
mod restart;
mod rotation;
mod wait;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use program::program;

/// One trial for each scenario, called by the scenario's own name.
macro_rules! trials {
    ($times:expr, $($module:ident::$scenario:ident,)*) => {
        vec![$({
            let times = Arc::clone($times);
            let name = stringify!($scenario);
            Trial::ignorable_test(name, move || run(name, $module::$scenario, &times))
        }),*]
    };
}

type Times = Arc<Mutex<Vec<(&'static str, Duration)>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One after the other: each has a control plane of its own.
    arguments.test_threads = Some(1);
    let (started, times) = (Instant::now(), Times::default());
    let trials = trials![
        &times,
        at_rest::what_lies_in_etcd_is_encrypted_under_the_active_key_and_reads_back,
        rotation::a_rotation_under_load_fails_no_write_and_no_read,
        restart::after_three_rotations_an_empty_cache_still_reads_every_secret,
        outage::a_killed_plugin_stops_no_cached_read_and_resumes_with_the_same_key,
        outage::writes_that_an_outage_of_minutes_stopped_resume_and_reads_never_stopped,
        outage::a_plugin_that_is_away_makes_kube_apiserver_unready_and_not_dead,
    ];

    let conclusion = libtest_mimic::run(&arguments, trials);

    if !arguments.list {
        for (name, time) in times.lock().unwrap().iter() {
            println!("{:6.1} s  {name}", time.as_secs_f32());
        }
        println!("{:6.1} s  suite apiserver", started.elapsed().as_secs_f32());
    }
    conclusion.exit_code()
}

fn run(name: &'static str, scenario: fn(), times: &Times) -> Result<Completion, Failed> {
    if let Err(missing) = program() {
        return missing.outcome();
    }
    let started = Instant::now();
    // A panic is caught by the harness, after everything that the scenario started has been stopped.
    scenario();
    times.lock().unwrap().push((name, started.elapsed()));
    Ok(Completion::Completed)
}
