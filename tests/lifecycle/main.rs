//! The life of a ring under random changes: no rule broken, no key lost, no old seed unreadable, also across joins.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub
)]

mod covers;
mod histories;
mod joins;
mod nodes;
mod removals;
mod size;
mod steps;
mod stored;
mod transitions;
