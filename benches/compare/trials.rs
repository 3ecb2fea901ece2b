//! What `cargo test` runs: little of everything, so that no time means anything.

use std::process::ExitCode;

use kekring_kit::{Suite, trials};

use crate::judge::Comparison;
use crate::programs::{self, Programs};
use crate::repeat::{Figures, Plan, Runs};
use crate::servers::{Kekring, Reference, Server};
use crate::support::KEKRING;

pub fn run() -> ExitCode {
    let mut suite = Suite::new("compare").in_turn();
    for (name, trial) in trials![
        every_answer_of_both_servers_is_right_and_every_figure_is_there,
        a_wrong_answer_is_noticed,
        a_slow_server_misses_a_must,
        a_median_at_a_bound_meets_it_and_one_beyond_does_not,
    ] {
        suite.trial(name, move || {
            trial(&programs::built()?);
            Ok(())
        });
    }
    suite.run()
}

fn every_answer_of_both_servers_is_right_and_every_figure_is_there(programs: &Programs) {
    let kekring = Kekring {
        program: KEKRING.into(),
    };

    let comparison = quick(programs, &kekring, 2);

    println!("{}", comparison.table(false));
    assert_eq!(comparison.faulty(), [""; 0]);
    let json = comparison.json();
    let judged = json["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| !row["must"].is_null());
    assert_eq!(judged.count(), 11, "{json:#}");
}

fn a_wrong_answer_is_noticed(programs: &Programs) {
    let server = Reference::faulty(programs, "wrong");

    let comparison = quick(programs, &server, 1);

    let faulty = comparison.faulty();
    assert!(
        faulty.len() == 1 && faulty[0].starts_with("wrong: "),
        "{faulty:?}"
    );
    assert!(comparison.missed().contains(&faulty[0]));
}

fn a_slow_server_misses_a_must(programs: &Programs) {
    let server = Reference::faulty(programs, "slow");

    let comparison = quick(programs, &server, 1);

    let missed = comparison.missed();
    assert!(
        missed.iter().any(|name| name.starts_with("CPU/request, 64")),
        "{missed:?}"
    );
    assert_eq!(comparison.faulty(), [""; 0]);
}

fn a_median_at_a_bound_meets_it_and_one_beyond_does_not(_: &Programs) {
    let figures = |value: f64, rps: f64| {
        let all = [("loop64.cpu_us", value), ("loop64.rps", rps)];
        Figures::from(all.map(|(name, value)| (name.to_owned(), value)))
    };
    let missed = |cpu: [f64; 3], rps: f64| {
        let repetitions = cpu.map(|cpu| [figures(10.0, 100.0), figures(cpu, rps)]).into();
        let names = ["reference", "kekring"];
        let missed = Comparison::new(Runs { names, repetitions }).missed();
        ["CPU/request, 64 callers, µs", "requests/s, 64 callers"]
            .map(|name| missed.contains(&name.to_owned()))
    };

    assert_eq!(missed([4.0, 1.0, 90.0], 120.0), [false, false]);
    assert_eq!(missed([4.1, 1.0, 90.0], 120.0), [true, false]);
    assert_eq!(missed([4.0, 1.0, 90.0], 119.0), [false, true]);
}

fn quick(programs: &Programs, server: &dyn Server, repetitions: usize) -> Comparison {
    let plan = Plan {
        load: programs.load,
        repetitions,
        quick: true,
    };
    Comparison::new(plan.run([&Reference::new(programs), server]).unwrap())
}
