//! kekring beside the plugin that a Go author gets for free, under kube-apiserver's own client code.
//!
//! `cargo bench --bench compare` measures and judges: see `benches/README.md`. `cargo test` runs the same with little of
//! everything and judges no time, and sees that a wrong answer and a slow server are noticed.
//!
//! Needs Go. Everything listens on a unix socket or on loopback and keeps its files in a temporary directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod judge;
mod programs;
mod repeat;
mod servers;
mod trials;

#[path = "../../tests/support/golang.rs"]
mod golang;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use judge::Comparison;
use programs::Programs;
use servers::{Kekring, Reference};

/// Compares kekring with a Go plugin and prints the ratios; ends with 1 where a must is missed.
#[derive(Parser)]
#[command(name = "compare")]
struct Arguments {
    /// How often every server is run
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Where to write all figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Little of everything; times are not judged
    #[arg(long)]
    quick: bool,
    /// Another kekring than the one that `cargo build --release` makes of this tree
    #[arg(long, value_name = "PATH")]
    kekring: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        return trials::run();
    }
    let arguments = Arguments::parse();
    let programs = match programs::built() {
        Ok(programs) => programs,
        Err(missing) => {
            eprintln!("compare: {missing}");
            return ExitCode::FAILURE;
        }
    };
    match compare(&arguments, &programs) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("compare: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every must was met; in a quick run, whether every answer was right.
fn compare(arguments: &Arguments, programs: &Programs) -> Result<bool, String> {
    let reference = Reference::new(programs);
    let program = match &arguments.kekring {
        Some(program) => program.clone(),
        None => programs::released()?,
    };
    let kekring = Kekring { program };
    let repetitions = if arguments.quick { 2 } else { arguments.repetitions };
    let plan = repeat::Plan {
        load: programs.load,
        repetitions,
        quick: arguments.quick,
    };
    let comparison = Comparison::new(plan.run([&reference, &kekring])?);
    print!("{}", comparison.table(!arguments.quick));
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&comparison.json()).map_err(|why| why.to_string())?;
        fs::write(path, text + "\n").map_err(|why| format!("cannot write {}: {why}", path.display()))?;
    }
    let missed = if arguments.quick {
        comparison.faulty()
    } else {
        comparison.missed()
    };
    for name in &missed {
        println!("missed: {name}");
    }
    Ok(missed.is_empty())
}
