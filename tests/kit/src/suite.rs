//! Runs the trials of a suite.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use libtest_mimic::{Arguments, Completion, Trial};

use crate::{Missing, Times};

/// A line of [`trials!`](crate::trials).
pub struct Listed {
    /// The scenario's own name.
    pub name: &'static str,
    /// Whether the machine has what it needs.
    pub needs: fn() -> Result<(), Missing>,
    /// The scenario.
    pub run: fn(),
}

/// Trials, and the arguments that `cargo test` was given for them.
pub struct Suite {
    name: &'static str,
    arguments: Arguments,
    times: Arc<Times>,
    trials: Vec<Trial>,
}

impl Suite {
    /// Without a trial yet. With arguments that are none the process ends here, as with libtest.
    pub fn new(name: &'static str) -> Self {
        let mut arguments = Arguments::from_args();
        // libtest's other way to say so.
        let threads = std::env::var("RUST_TEST_THREADS").ok();
        arguments.test_threads = arguments.test_threads.or(threads.and_then(|it| it.parse().ok()));
        Self {
            name,
            arguments,
            times: Arc::new(Times::start()),
            trials: Vec::new(),
        }
    }

    /// So many trials at once, unless the caller says otherwise; without either, as many as there are processors.
    pub fn at_once(mut self, trials: usize) -> Self {
        self.arguments.test_threads.get_or_insert(trials);
        self
    }

    /// One after the other on the thread of main, whatever the arguments say.
    pub fn in_turn(mut self) -> Self {
        self.arguments.test_threads = Some(1);
        self
    }

    /// Whether the trials are only listed.
    pub fn lists(&self) -> bool {
        self.arguments.list
    }

    /// For parts of the suite that are no trial.
    pub fn times(&self) -> Arc<Times> {
        Arc::clone(&self.times)
    }

    /// Adds the trials of a list.
    pub fn list(&mut self, trials: Vec<Listed>) {
        for Listed { name, needs, run } in trials {
            self.trial(name, move || {
                needs()?;
                run();
                Ok(())
            });
        }
    }

    /// Adds a trial. A panic is caught, after everything that the trial started has been stopped.
    pub fn trial(
        &mut self,
        name: impl Into<String>,
        run: impl FnOnce() -> Result<(), Missing> + Send + 'static,
    ) {
        self.add(name.into(), false, run);
    }

    /// Adds one that runs with `--ignored` alone.
    pub(crate) fn add(
        &mut self,
        name: String,
        ignored: bool,
        run: impl FnOnce() -> Result<(), Missing> + Send + 'static,
    ) {
        let (times, noted) = (Arc::clone(&self.times), name.clone());
        let trial = Trial::ignorable_test(name, move || {
            let started = Instant::now();
            if let Err(missing) = run() {
                return missing.outcome();
            }
            times.took(&noted, started);
            Ok(Completion::Completed)
        });
        self.trials.push(trial.with_ignored_flag(ignored));
    }

    /// Runs the trials, and then says how long they took.
    pub fn run(self) -> ExitCode {
        self.run_and_then(|| {})
    }

    /// The same, with something to end in between.
    pub fn run_and_then(self, end: impl FnOnce()) -> ExitCode {
        let conclusion = libtest_mimic::run(&self.arguments, self.trials);
        end();
        if !self.arguments.list {
            self.times.print(self.name);
        }
        conclusion.exit_code()
    }
}
