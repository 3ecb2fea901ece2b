//! Trials that `#[test]` registers.

use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;

use crate::{Missing, Suite};

/// One `#[test]`.
pub struct Registered {
    /// With its modules, from the crate's on.
    pub path: &'static str,
    /// Why it does not run unless asked for by `--ignored`.
    pub ignored: Option<&'static str>,
    /// Whether the machine has what it needs, and then the test.
    pub run: fn() -> Result<(), Missing>,
}

inventory::collect!(Registered);

/// What a test may return.
pub trait Ending {
    /// Whether it found all that it needs.
    fn ending(self) -> Result<(), Missing>;
}

impl Ending for () {
    fn ending(self) -> Result<(), Missing> {
        Ok(())
    }
}

impl Ending for Result<(), Missing> {
    fn ending(self) -> Self {
        self
    }
}

/// Runs every `#[test]` of a suite.
pub fn main(suite: &'static str) -> ExitCode {
    let mut suite = Suite::new(suite);
    suite.registered();
    suite.run()
}

impl Suite {
    /// Adds every `#[test]` of this suite by `module::name`, in the order of their names.
    pub fn registered(&mut self) {
        let mut all: Vec<&Registered> = inventory::iter::<Registered>().collect();
        all.sort_by_key(|test| test.path);
        for test in all {
            let (_, name) = test.path.split_once("::").expect("a path from the crate on");
            self.add(name.to_owned(), test.ignored.is_some(), || {
                on_its_own_thread(name, test.run)
            });
        }
    }
}

/// As libtest runs it: what a test does to its thread (its user, what it may open) ends with the test, and the thread has
/// its name.
fn on_its_own_thread(name: &str, run: fn() -> Result<(), Missing>) -> Result<(), Missing> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    let ended = thread.expect("a thread for a test").join();
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

/// What `#[test]` becomes: not to be written by hand.
#[doc(hidden)]
#[macro_export]
macro_rules! registered {
    (($test:ident) ($($needs:tt)*) ()) => {
        $crate::registered! { @ $test (None) $($needs)* }
    };
    (($test:ident) ($($needs:tt)*) ($why:literal)) => {
        $crate::registered! { @ $test (Some($why)) $($needs)* }
    };
    (@ $test:ident $ignored:tt $($needs:tt)*) => {
        $crate::inventory::submit! {
            $crate::Registered {
                path: concat!(module_path!(), "::", stringify!($test)),
                ignored: $ignored,
                run: || {
                    $crate::asked!($($needs)*);
                    $crate::Ending::ending($test())
                },
            }
        }
    };
}

/// The needs of a test, one after the other.
#[doc(hidden)]
#[macro_export]
macro_rules! asked {
    () => {};
    ($program:literal $(, $($rest:tt)*)?) => {
        $crate::needs::program($program)?;
        $crate::asked!($($($rest)*)?);
    };
    ($need:ident $(, $($rest:tt)*)?) => {
        $crate::needs::$need()?;
        $crate::asked!($($($rest)*)?);
    };
    ($need:path $(, $($rest:tt)*)?) => {
        $need()?;
        $crate::asked!($($($rest)*)?);
    };
}
