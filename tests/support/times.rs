//! How long the trials of a suite took, for its last lines.
//!
//! Included by `#[path = "../support/times.rs"] mod times;`.

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// One trial for each scenario, called by the scenario's own name; `run` is the suite's. For who includes this file with
/// `#[macro_use]`.
#[allow(unused_macros)] // some suites tell more of each scenario
macro_rules! trials {
    ($times:expr, $($module:ident::$scenario:ident,)*) => {
        vec![$({
            let times = std::sync::Arc::clone($times);
            let name = stringify!($scenario);
            libtest_mimic::Trial::ignorable_test(name, move || run(name, $module::$scenario, &times))
        }),*]
    };
}

pub struct Times {
    started: Instant,
    parts: Mutex<Vec<(String, Duration)>>,
}

impl Times {
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            parts: Mutex::default(),
        }
    }

    /// Runs a trial. A panic is caught by the harness, after everything that the trial started has been stopped.
    pub fn run(&self, name: &str, scenario: impl FnOnce()) -> Result<Completion, Failed> {
        let started = Instant::now();
        scenario();
        self.took(name, started);
        Ok(Completion::Completed)
    }

    /// Notes what has lasted from `started` until now.
    pub fn took(&self, name: &str, started: Instant) -> Duration {
        let time = started.elapsed();
        self.parts.lock().unwrap().push((name.to_owned(), time));
        time
    }

    /// Runs the trials of a suite, and then says how long they took.
    #[allow(dead_code)] // one suite has something to end in between
    pub fn conclude(&self, suite: &str, arguments: &Arguments, trials: Vec<Trial>) -> ExitCode {
        let conclusion = libtest_mimic::run(arguments, trials);
        if !arguments.list {
            self.print(suite);
        }
        conclusion.exit_code()
    }

    pub fn print(&self, suite: &str) {
        for (name, time) in self.parts.lock().unwrap().iter() {
            println!("{:6.1} s  {name}", time.as_secs_f32());
        }
        println!("{:6.1} s  suite {suite}", self.started.elapsed().as_secs_f32());
    }
}
