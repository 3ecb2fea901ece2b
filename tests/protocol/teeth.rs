//! The checker has teeth: each rule of the protocol, left out, leads to a law that is broken. The product's functions are the
//! same; the model around them does one thing wrong.

use crate::model::{Bounds, Model, Rules};
use crate::search::{Found, Search};
use crate::{SMALL, say};

/// Searches until something breaks, and checks that it is what should.
fn caught(name: &str, bounds: Bounds, rules: Rules, join_lower: bool, expected: &[&str]) {
    let mut model = Model::new(bounds, rules);
    model.pool.join_lower = join_lower;
    caught_in(name, model, expected);
}

fn caught_in(name: &str, model: Model, expected: &[&str]) {
    let Found { states, broken, .. } = Search::new(model).run(3_000_000);

    let (why, way) = broken.unwrap_or_else(|| panic!("{name}: nothing broke in {states} states"));
    let what = why.split(": ").next().unwrap();
    say(&format!(
        "protocol: {name}: caught after {} events and {states} states: {what}",
        way.len()
    ));
    assert!(expected.iter().any(|it| why.contains(it)), "{name}: {why}");
}

#[test]
fn waiting_only_for_nodes_that_are_alive_is_caught() {
    let rules = Rules {
        live_only: true,
        ..Rules::default()
    };
    let bounds = Bounds { periods: 2, ..SMALL };
    caught("live nodes only", bounds, rules, false, &["lacks it"]);
}

#[test]
fn an_acknowledgement_before_the_copy_is_durable_is_caught() {
    let rules = Rules {
        early: true,
        ..Rules::default()
    };
    let bounds = Bounds { periods: 2, ..SMALL };
    caught("acknowledged early", bounds, rules, false, &["lacks it"]);
}

#[test]
fn activating_a_key_that_nobody_has_acknowledged_is_caught() {
    let rules = Rules {
        unasked: true,
        ..Rules::default()
    };
    let bounds = Bounds { periods: 2, ..SMALL };
    caught("nobody asked", bounds, rules, false, &["lacks it"]);
}

#[test]
fn repeating_a_rotation_whose_outcome_is_unknown_is_caught() {
    let rules = Rules {
        blind_retry: true,
        ..Rules::default()
    };
    caught(
        "repeated blindly",
        SMALL,
        rules,
        false,
        &["2 rotations, of which 1 were due"],
    );
}

#[test]
fn a_join_that_makes_the_lower_key_active_is_caught() {
    let bounds = Bounds {
        nodes: 2,
        registered: 2,
        restores: 1,
        ..SMALL
    };
    let laws = ["does not report the active key", "a later key was used"];
    caught("the lower key joined", bounds, Rules::default(), true, &laws);
}

#[test]
fn a_start_that_does_not_heed_the_mark_is_caught() {
    let rules = Rules {
        unmarked: true,
        ..Rules::default()
    };
    let bounds = Bounds {
        rollbacks: 1,
        ..SMALL
    };
    caught(
        "without the mark",
        bounds,
        rules,
        false,
        &["reports key 1 after key 2"],
    );
}

/// As [`caught`], with a model whose nodes break a rule of their own.
fn caught_with(name: &str, bounds: Bounds, break_rule: impl Fn(&mut Model), expected: &[&str]) {
    let mut model = Model::new(bounds, Rules::default());
    break_rule(&mut model);
    caught_in(name, model, expected);
}

#[test]
fn nodes_to_which_every_ring_key_counts_are_caught() {
    let bounds = Bounds {
        nodes: 2,
        registered: 2,
        roots: 1,
        forgeries: 1,
        ..SMALL
    };
    let laws = ["something foreign", "is foreign"];
    caught_with(
        "every ring key counts",
        bounds,
        |it| it.pool.all_count = true,
        &laws,
    );
}

#[test]
fn believing_acknowledgements_under_any_ring_key_is_caught() {
    let bounds = Bounds {
        nodes: 2,
        registered: 2,
        periods: 0,
        fresh: 1,
        roots: 1,
        forgeries: 1,
        ..SMALL
    };
    caught_with("any hand", bounds, |it| it.pool.any_hand = true, &["lacks it"]);
}

#[test]
fn writing_in_the_writers_own_format_is_caught() {
    let bounds = Bounds { upgrades: 1, ..SMALL };
    caught_with(
        "its own format",
        bounds,
        |it| it.pool.own_format = true,
        &["cannot read"],
    );
}
