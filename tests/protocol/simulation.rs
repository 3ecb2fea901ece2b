//! Random schedules over the same model: more nodes, more faults, longer. A seed gives the same schedule on every machine.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::model::{Action, Bounds, Model, Rules, TWO_REMOVALS};
use crate::pool::Move;
use crate::say;
use crate::search::Search;

const STEPS: usize = 200;

/// Everything, and more of it than a search could go through.
const ALL: Bounds = Bounds {
    nodes: 5,
    registered: 3,
    periods: 4,
    restores: 2,
    tampers: 6,
    removals: 2,
    fresh: 1,
    rollbacks: 0,
    losses: 0,
    left_out: 1,
    flights: 4,
    roots: 0,
    forgeries: 0,
    blinds: 0,
    upgrades: 0,
    begin: &[],
};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % bound as u64) as usize
    }
}

#[derive(Default)]
struct Tally {
    rotations: usize,
    restores: usize,
    joins: usize,
    keys: usize,
    roots: usize,
    forgeries: usize,
    /// Sights in which a node took what was shown for its copy, and in which it waited for an operator between two ring keys;
    /// generations that name a ring key that lost.
    adopted: usize,
    undecided: usize,
    outranked: usize,
    /// Generations in the later format.
    later: usize,
}

/// One schedule: laws after each event, and rest in the end.
fn schedule(seed: u64, bounds: Bounds) -> Result<Tally, String> {
    let mut random = Random(seed);
    let mut search = Search::new(Model::new(bounds, Rules::default()));
    let mut state = search.model.start();
    let (mut way, mut actions) = (Vec::new(), Vec::new());
    // A node that runs tends to go on for a while; otherwise nothing would ever be finished.
    let (mut running, mut left) = (0, 0);
    for _ in 0..10 * STEPS {
        if way.len() == STEPS {
            break;
        }
        if left == 0 {
            (running, left) = (random.below(bounds.nodes.into()) as u8, random.below(12));
        }
        left = left.saturating_sub(1);
        search.model.actions(&state, &mut actions);
        let action = match random.below(12) {
            0 => actions[random.below(actions.len())],
            1 if state.flight.is_some() => Action::Arrive,
            2..=6 => Action::Read(running),
            _ => Action::Take(running),
        };
        let next = search.model.take(&state, action);
        let next = next.and_then(|next| search.model.check(&next).map(|()| next));
        let next = next.map_err(|why| format!("{why}\nafter {way:?} and {action:?}"))?;
        if next != state {
            way.push(action);
        }
        state = next;
    }
    let tally = Tally {
        rotations: state.used.count_ones() as usize - 1,
        restores: state.epoch.into(),
        joins: search.model.pool.joins(),
        keys: search.model.pool.key_count(),
        roots: state.roots.into(),
        forgeries: state.forged.into(),
        ..Tally::default()
    };
    search
        .comes_to_rest(&state)
        .map_err(|why| format!("{why}\nafter {way:?}"))?;
    let moves = |it: fn(&Move) -> bool| search.model.pool.moves().filter(|one| it(one)).count();
    Ok(Tally {
        adopted: moves(|it| matches!(it, Move::Adopt(_))),
        undecided: moves(|it| matches!(it, Move::TwoRingKeys)),
        outranked: search.model.pool.outranked(),
        later: search.model.pool.later(),
        ..tally
    })
}

fn schedules(name: &str, bounds: Bounds) {
    let given = std::env::var("KEKRING_SEED").ok().and_then(|it| it.parse().ok());
    let count = match std::env::var_os("KEKRING_TESTS").is_some_and(|it| it == "full") {
        true => 10_000,
        false => 500,
    };
    let seeds = given.map_or(0..count, |seed: u64| seed..seed + 1);
    let mut all = Tally::default();
    let runs = seeds.clone().count();
    for seed in seeds {
        // A panic of the product's counts as well, and needs its seed as much.
        let outcome = catch_unwind(AssertUnwindSafe(|| schedule(seed, bounds)));
        match outcome {
            Ok(Ok(tally)) => {
                all.rotations += tally.rotations;
                all.restores += tally.restores;
                all.joins += tally.joins;
                all.keys = all.keys.max(tally.keys);
                all.roots += tally.roots;
                all.forgeries += tally.forgeries;
                all.adopted += tally.adopted;
                all.undecided += tally.undecided;
                all.outranked += tally.outranked;
                all.later += tally.later;
            }
            failed => panic!(
                "{name}: {}\nagain: KEKRING_SEED={seed} cargo test --test protocol {name}",
                failed.map_or("it panicked".into(), |it| it.err().unwrap_or_default())
            ),
        }
    }
    say(&format!(
        "protocol: {name}: {runs} schedules of {STEPS} events, {} keys came into use, {} restores, {} joins, at most {} keys",
        all.rotations, all.restores, all.joins, all.keys
    ));
    if bounds.roots > 0 {
        say(&format!(
            "protocol: {name}: {} roots removed, {} forgeries, {} adopted, {} undecided, {} generations name a ring key that lost, {} are in the later format",
            all.roots, all.forgeries, all.adopted, all.undecided, all.outranked, all.later
        ));
    }
    assert!(given.is_some() || all.rotations > runs / 2 && all.joins > runs / 8);
    let enough = |bound: u8, count: usize| given.is_some() || bound == 0 || count > runs / 8;
    assert!(enough(bounds.begin.len() as u8, all.outranked));
    assert!(enough(bounds.roots, all.roots) && enough(bounds.upgrades, all.later));
    assert!(enough(bounds.forgeries, all.forgeries) && enough(bounds.forgeries, all.adopted));
}

#[test]
fn random_schedules_of_five_nodes_keep_every_law() {
    schedules("random_schedules_of_five_nodes", ALL);
}

#[test]
fn random_schedules_with_disks_that_go_back_keep_every_law() {
    let bounds = Bounds {
        nodes: 4,
        restores: 0,
        rollbacks: 3,
        ..ALL
    };
    schedules("random_schedules_with_disks", bounds);
}

#[test]
fn random_schedules_with_disks_that_are_lost_keep_every_law() {
    let bounds = Bounds {
        restores: 0,
        losses: 3,
        removals: 4,
        ..ALL
    };
    schedules("random_schedules_with_disks_that_are_lost", bounds);
}

#[test]
fn random_schedules_with_roots_that_are_removed_keep_every_law() {
    let bounds = Bounds {
        nodes: 4,
        restores: 3,
        roots: 3,
        blinds: 2,
        begin: TWO_REMOVALS,
        ..ALL
    };
    schedules("random_schedules_with_roots_that_are_removed", bounds);
}

#[test]
fn random_schedules_with_forgeries_under_a_replaced_ring_key_keep_every_law() {
    let bounds = Bounds {
        nodes: 4,
        restores: 1,
        roots: 2,
        forgeries: 6,
        blinds: 1,
        ..ALL
    };
    schedules("random_schedules_with_forgeries", bounds);
}

#[test]
fn random_schedules_of_two_versions_of_the_program_keep_every_law() {
    let bounds = Bounds {
        roots: 1,
        upgrades: 5,
        ..ALL
    };
    schedules("random_schedules_of_two_versions", bounds);
}
