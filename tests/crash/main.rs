//! A verb killed at, or failed in, each of its file-related system calls: the ring opens afterwards, nothing that was
//! sealed is lost, nothing goes back, and the next run of the verb succeeds.
//!
//! Without `KEKRING_TESTS=full` a sample of the points, drawn from a seed that is printed; `KEKRING_SEED` repeats one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[macro_use]
extern crate kekring_kit;

mod cases;
mod durable;
mod inject;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/witness.rs"]
mod witness;
mod world;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{ExitCode, Output};
use std::sync::LazyLock;

use cases::{CASES, Case, GOING_OVER};
use inject::{FAULTS, Fault, Point};
use support::{Plugin, kekring, shown};
use witness::{Lot, Witness, in_full};
use world::site;

fn main() -> ExitCode {
    kekring_kit::main("crash")
}

/// So many points of one verb and fault are tried in the short form.
const SAMPLE: usize = 30;

/// How a Rust program ends whose main thread panicked.
const PANICKED: i32 = 101;

/// One seed for all verbs.
static SEED: LazyLock<u64> = LazyLock::new(Lot::seed);

/// A world for one verb, of which each point gets a copy.
struct Template {
    world: Plugin,
    /// What must be there in the end.
    whole: Option<Witness>,
}

impl Template {
    fn of(case: &Case) -> Self {
        let world = Plugin::unmade("{}");
        let whole = (case.prepare)(&world);
        Self { world, whole }
    }

    fn copy(&self) -> Plugin {
        let copy = Plugin::unmade("{}");
        world::copy(&self.world.dir, &copy.dir);
        world::configure(&copy);
        copy
    }
}

/// One fault at one point, and what must hold after it; `None` where the point was not reached.
fn attempt(case: &Case, template: &Template, point: &Point, fault: Fault) -> Option<Result<(), String>> {
    let plugin = template.copy();
    // Nothing to lose where there is no ring yet.
    let mut before = site(&plugin).open().ok().as_ref().map(Witness::of);
    if ["root remove", GOING_OVER].contains(&case.name) {
        before = before.map(Witness::without_mark);
    }
    let output = inject::with_fault(&plugin, &world::args(case, &plugin), point, fault)?;
    let outcome = survived(case, template, &plugin, before.as_ref(), &output);
    Some(outcome.map_err(|why| {
        let Point { call, number } = point;
        format!(
            "{} with {fault:?} in {call} {number}: {why}\nit had ended: {}",
            case.name,
            shown(&output)
        )
    }))
}

fn survived(
    case: &Case,
    template: &Template,
    plugin: &Plugin,
    before: Option<&Witness>,
    output: &Output,
) -> Result<(), String> {
    check(plugin, before, "right after it")?;
    if output.status.code() == Some(PANICKED) {
        return Err("it panicked".into());
    }
    if output.status.success() {
        let opened = site(plugin).open().map_err(|why| why.to_string())?;
        if !(case.done)(plugin, &opened) {
            return Err("it ended well and is not done".into());
        }
    }
    let args = world::args(case, plugin);
    let again = kekring(&args.iter().map(String::as_str).collect::<Vec<_>>())
        .output()
        .unwrap();
    if !again.status.success() && again.status.code() != Some(case.again) {
        return Err(format!("the next run fails: {}", shown(&again)));
    }
    let opened = site(plugin)
        .open()
        .map_err(|why| format!("after the next run: {why}"))?;
    if !case.name.starts_with("rotate") && !(case.done)(plugin, &opened) {
        return Err(format!("the next run did not finish it: {}", shown(&again)));
    }
    check(plugin, template.whole.as_ref(), "after the next run")?;
    let dev = plugin.dir.join("dev").display().to_string();
    let rotate = if case.args.contains(&"--dev") {
        kekring(&["rotate", "--dev", &dev]).output().unwrap()
    } else {
        plugin.verb(&["rotate"])
    };
    if !rotate.status.success() {
        return Err(format!("it does not rotate any more: {}", shown(&rotate)));
    }
    check(plugin, template.whole.as_ref(), "after a rotation")?;
    unfinished(&site(plugin).ring)
}

fn check(plugin: &Plugin, witness: Option<&Witness>, when: &str) -> Result<(), String> {
    let site = site(plugin);
    let halves = site.false_generations();
    if !halves.is_empty() {
        return Err(format!("{when}: no generations: {halves:?}"));
    }
    let Some(witness) = witness else {
        return Ok(());
    };
    let opened = site.open().map_err(|why| format!("{when}: {why}"))?;
    witness.check(&opened).map_err(|why| format!("{when}: {why}"))
}

/// The last good run removes what a dead one left.
fn unfinished(dir: &Path) -> Result<(), String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left = names.filter(|name| name.to_string_lossy().starts_with(".tmp-"));
    left.next()
        .map_or(Ok(()), |name| Err(format!("{} stays", name.display())))
}

fn sweep(name: &str) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    let template = Template::of(case);
    let counted = template.copy();
    let points = inject::points(&counted, &world::args(case, &counted));
    let mut violations = Vec::new();
    for fault in FAULTS {
        let all = inject::meeting(&points, fault);
        let total = all.len();
        let most = if in_full() { total } else { SAMPLE };
        let chosen = Lot::new(*SEED, &format!("{name}{fault:?}")).some_of(all, most);
        let wanted = chosen.len();
        let mut tried = 0;
        let before = violations.len();
        for point in chosen {
            match attempt(case, &template, &point, fault) {
                None => {}
                Some(outcome) => {
                    tried += 1;
                    violations.extend(outcome.err());
                }
            }
        }
        say(&format!(
            "{name}, {fault:?}: {tried} points tried of {total}, {} violations; seed {}",
            violations.len() - before,
            *SEED
        ));
        assert!(
            tried * 10 >= wanted * 9,
            "{name}, {fault:?}: {wanted} were wanted"
        );
    }
    assert!(
        violations.is_empty(),
        "{} violations\n{}",
        violations.len(),
        violations.join("\n\n")
    );
}

/// Figures are wanted where all is well, too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

macro_rules! sweeps {
    ($($test:ident: $verb:expr,)*) => {
        $(#[test] #[needs(strace)] fn $test() { sweep($verb); })*

        #[test]
        fn every_verb_has_its_test() {
            let tested = [$($verb),*];
            for case in &CASES {
                assert!(tested.contains(&case.name), "{}", case.name);
            }
        }
    };
}

sweeps! {
    an_init_that_breaks_off_leaves_no_ring_or_a_whole_one: "init",
    a_rotation_that_breaks_off_leaves_the_ring_whole: "rotate",
    a_fresh_rotation_that_breaks_off_is_resumed: "rotate --fresh",
    a_preparation_that_breaks_off_leaves_the_ring_whole: "rotate --prepare",
    an_activation_that_breaks_off_is_resumed: "rotate --activate",
    a_suspension_that_breaks_off_is_made_or_is_not: "keys suspend",
    a_resumption_that_breaks_off_is_made_or_is_not: "keys resume",
    an_addition_of_a_root_that_breaks_off_is_finished_by_the_next_run: "root add",
    a_removal_of_a_root_that_breaks_off_is_finished_by_the_next_run: "root remove",
    a_backup_that_breaks_off_leaves_a_whole_one_or_none: "backup",
    a_restore_that_breaks_off_is_finished_by_the_next_one: "restore",
    an_adoption_that_breaks_off_is_finished_by_the_next_one: "restore --adopt",
    a_restore_under_a_replaced_ring_key_that_breaks_off_is_finished_by_the_next_one: "restore under a replaced ring key",
    a_restore_of_a_later_ring_key_that_breaks_off_is_finished_by_the_next_one: GOING_OVER,
    a_restore_over_what_no_root_opens_that_breaks_off_is_finished_by_the_next_one: "restore --abandon-unreadable",
    an_acceptance_that_breaks_off_is_decided_or_is_not: "ring accept",
    a_rotation_of_a_throw_away_ring_that_breaks_off_leaves_it_whole: "rotate --dev",
}
