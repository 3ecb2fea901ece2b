//! `deploy/monitoring` is true: its alerts pass promtool and their unit tests, every query of the dashboard has data in a real
//! Prometheus that scrapes real servers, and real trouble makes the alerts fire; on the way are the states that `deploy/pictures` show.
//!
//! Needs Prometheus and promtool: those of the machine, or Debian's package, which is fetched by apt and unpacked into the
//! user's cache, and not installed: that would start a server on all interfaces. The trial with three nodes needs Go, which
//! builds etcd once. What is missing makes trials ignored, except with `TESTS_REQUIRED=all`: then they fail.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[path = "../etcd/certificates.rs"]
#[allow(dead_code)] // another suite has members with TLS
mod certificates;
#[path = "../serve/client.rs"]
#[allow(dead_code)] // another suite needs more of it
mod client;
#[path = "../etcd/cluster.rs"]
#[allow(dead_code)] // another suite needs more of it
mod cluster;
mod coverage;
mod dashboard;
#[path = "../support/golang.rs"]
#[allow(dead_code)] // the cache is all that some trials need
mod golang;
#[path = "../ring_on_etcd/lab.rs"]
#[allow(dead_code)] // another suite needs more of it
mod lab;
mod one_node;
mod pictures;
#[path = "../support/port.rs"]
mod port;
#[path = "../apiserver/process.rs"]
#[allow(dead_code)] // another suite needs more of it
mod process;
#[path = "../apiserver/program.rs"]
mod program;
mod prometheus;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod three_nodes;
mod tools;
#[path = "../apiserver/wait.rs"]
mod wait;

use std::process::ExitCode;

use kekring_kit::{Missing, Suite, needs::nothing, trials};

fn main() -> ExitCode {
    let mut suite = Suite::new("monitoring").at_once(2);
    suite.list(trials![needs prometheus_and_etcd;
        three_nodes::what_befalls_three_nodes_makes_their_alerts_fire,
    ]);
    suite.list(trials![needs prometheus;
        one_node::what_befalls_one_node_makes_its_alerts_fire,
        rules::the_alerts_fire_as_their_unit_tests_say,
        rules::prometheus_takes_the_files_as_they_are,
    ]);
    suite.list(trials![needs nothing;
        rules::every_alert_says_what_it_is_and_where_to_read_on,
        rules::every_alert_is_tested_on_both_sides_of_its_limit,
        coverage::every_metric_of_an_alert_or_a_panel_is_one_of_ours,
        coverage::every_when_to_alert_is_an_alert_or_says_why_not,
        coverage::the_page_has_every_alert_and_no_other,
        dashboard::every_panel_says_what_it_shows_and_in_which_unit,
        dashboard::the_dashboard_is_laid_out_as_it_always_is,
    ]);
    suite.run()
}

fn prometheus() -> Result<(), Missing> {
    tools::tools().map(|_| ())
}

fn prometheus_and_etcd() -> Result<(), Missing> {
    program::program()?;
    prometheus()
}
