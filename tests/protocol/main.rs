//! Several nodes and one ring, through every order of events: `kekring::nodes` and the ring's own transitions, run by a model
//! checker on small clusters and by random schedules on larger ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    missing_docs,
    unreachable_pub
)]

mod events;
mod formats;
mod laws;
mod model;
mod numbers;
mod parted;
mod pool;
mod replaced;
mod scene;
mod search;
mod simulation;
mod steps;
mod teeth;

use std::io::Write as _;
use std::time::Instant;

use model::{Bounds, Model, Rules, TWO_REMOVALS};
use search::{Found, Search};

/// Past the capture of the test runner: the figures are wanted in every log.
fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}

fn search(name: &str, bounds: Bounds, rules: Rules, most: usize) -> Found {
    let began = Instant::now();
    let mut search = Search::new(Model::new(bounds, rules));
    let found = search.run(most);
    say(&format!(
        "protocol: {name}: {} states, depth {}, complete {}, {:?} rings, stores and views, {:.1} s",
        found.states,
        found.depth,
        found.complete,
        search.model.pool.counts(),
        began.elapsed().as_secs_f64()
    ));
    found
}

/// Nothing breaks within so many states; where there is a night, within thirty times as many.
fn holds(name: &str, bounds: Bounds, most: usize) {
    let full = std::env::var_os("KEKRING_TESTS").is_some_and(|it| it == "full");
    let most = if full { 30 * most } else { most };
    let found = search(name, bounds, Rules::default(), most);
    if let Some((why, way)) = found.broken {
        panic!("{name}: {why}\nafter {way:#?}");
    }
}

/// Enough for most of the searches to be complete; a million states take 20 seconds and 150 MB.
const MOST: usize = 4_000_000;
/// For those that are not, in CI.
const SOME: usize = 700_000;
/// For those with removed roots, which are endless.
const FEW: usize = 100_000;

/// Three nodes, all registered, and one rotation.
const SMALL: Bounds = Bounds {
    nodes: 3,
    registered: 3,
    periods: 1,
    restores: 0,
    tampers: 0,
    removals: 0,
    fresh: 0,
    rollbacks: 0,
    losses: 0,
    left_out: 0,
    flights: 0,
    roots: 0,
    forgeries: 0,
    blinds: 0,
    upgrades: 0,
    begin: &[],
};

#[test]
fn a_third_node_joins_during_a_rotation() {
    let bounds = Bounds {
        registered: 2,
        ..SMALL
    };
    holds("a third node joins", bounds, MOST);
}

#[test]
fn two_rotations_follow_each_other() {
    let bounds = Bounds { periods: 2, ..SMALL };
    holds("two rotations", bounds, MOST);
}

#[test]
fn a_node_is_removed_and_comes_back() {
    let bounds = Bounds { removals: 1, ..SMALL };
    holds("a node is removed", bounds, SOME);
}

#[test]
fn a_fresh_key_is_asked_for() {
    let bounds = Bounds { fresh: 1, ..SMALL };
    holds("a fresh key", bounds, MOST);
}

#[test]
fn an_operator_goes_on_without_a_node() {
    let bounds = Bounds { left_out: 1, ..SMALL };
    holds("without a node", bounds, MOST);
}

#[test]
fn a_write_arrives_late() {
    let bounds = Bounds { flights: 1, ..SMALL };
    holds("a late write", bounds, MOST);
}

#[test]
fn the_store_of_two_nodes_is_put_back() {
    let bounds = Bounds {
        restores: 1,
        nodes: 2,
        registered: 2,
        ..SMALL
    };
    holds("put back, two nodes", bounds, MOST);
}

#[test]
fn the_store_is_put_back_while_a_third_node_joins() {
    let bounds = Bounds {
        restores: 1,
        registered: 2,
        ..SMALL
    };
    holds("put back, three nodes", bounds, SOME);
}

#[test]
fn the_store_is_put_back_and_tampered_with() {
    let bounds = Bounds {
        tampers: 1,
        restores: 1,
        nodes: 2,
        registered: 2,
        ..SMALL
    };
    holds("tampered with", bounds, SOME);
}

#[test]
fn the_disk_of_a_node_goes_back() {
    let bounds = Bounds {
        rollbacks: 1,
        ..SMALL
    };
    holds("a disk goes back", bounds, MOST);
}

#[test]
fn the_disk_of_a_node_is_lost() {
    let bounds = Bounds {
        losses: 1,
        removals: 1,
        ..SMALL
    };
    holds("a disk is lost", bounds, SOME);
}

#[test]
fn a_foreign_history_appears_under_a_replaced_ring_key() {
    let bounds = Bounds {
        nodes: 2,
        registered: 2,
        roots: 1,
        forgeries: 2,
        ..SMALL
    };
    holds("a foreign history", bounds, FEW);
}

#[test]
fn roots_are_removed_in_two_histories() {
    let bounds = Bounds {
        restores: 2,
        roots: 3,
        blinds: 1,
        begin: TWO_REMOVALS,
        ..SMALL
    };
    holds("two removals", bounds, FEW);
}

#[test]
fn a_node_returns_after_the_ring_key_was_replaced() {
    let bounds = Bounds {
        roots: 1,
        blinds: 1,
        ..SMALL
    };
    holds("a node returns", bounds, FEW);
}

#[test]
fn nodes_change_to_a_later_program_one_by_one() {
    let bounds = Bounds {
        registered: 2,
        removals: 1,
        upgrades: 3,
        ..SMALL
    };
    holds("two programs", bounds, FEW);
}
