//! The harness of the test suites: what a trial cannot run without is named, and then the trial is *ignored* and counted
//! as ignored. libtest can ignore only what was known when the suite was compiled.
//!
//! A suite says `harness = false` in `Cargo.toml` and `#[macro_use] extern crate kekring_kit;` in its main. From then on
//! each `#[test]` of it is ours, and `kekring_kit::main` runs them; `#[needs(root, "gdb")]` below one says what it needs. A
//! test that finds out only while it runs returns `Result<(), Missing>`. Where the order matters, or the trials share
//! something, a main makes a [`Suite`] and lists them by [`trials!`].
//!
//! Why an attribute and no list of names (November 2026): a `#[test]` that was left out of a list would be compiled away
//! without a word, for rustc knows that attribute in suites of libtest alone.
#![warn(missing_docs)]

mod missing;
pub mod needs;
mod registered;
mod suite;
mod times;

pub use inventory;
pub use kekring_kit_attribute::test;
pub use missing::{Lacking, Missing};
pub use registered::{Ending, Registered, main};
pub use suite::{Listed, Suite};
pub use times::Times;

/// Trials in the order in which they begin, each called by its scenario's own name.
///
/// `trials![needs program; module::scenario, …]` where all need the same, `trials![program: module::scenario, …]` where each
/// has its own: `program` is a function that returns `Result<(), Missing>`. A list of names alone is pairs of each name and
/// its function, for a suite whose scenarios take something.
#[macro_export]
macro_rules! trials {
    (needs $needs:path; $($module:ident::$scenario:ident,)*) => {
        vec![$($crate::Listed { name: stringify!($scenario), needs: $needs, run: $module::$scenario }),*]
    };
    ($($needs:ident: $module:ident::$scenario:ident,)*) => {
        vec![$($crate::Listed { name: stringify!($scenario), needs: $needs, run: $module::$scenario }),*]
    };
    ($($module:ident::$scenario:ident,)*) => {
        [$((stringify!($scenario), $module::$scenario as fn(&_))),*]
    };
    ($($scenario:ident,)*) => {
        [$((stringify!($scenario), $scenario as fn(&_))),*]
    };
}
