//! A ring that is bound to a machine, and the decision that it belongs to another one now.

use std::fs;

use kekring::custody::{CommitError, Custody};

use crate::bench::{Bench, NOW};

#[test]
fn a_ring_is_here_where_it_is_bound_to_this_machine_alone() {
    let bench = Bench::new();
    let on = |machine: Option<&str>| Custody {
        calls: Default::default(),
        machine: machine.map(str::to_owned),
        ..bench.custody()
    };
    let unbound = bench.open();
    assert!(!on(Some("here")).is_here(&unbound), "bound to none");
    let warnings = unbound.warnings.join("\n");
    assert!(warnings.contains("bound to no machine"), "{warnings}");
    assert!(
        !on(None).is_here(&bench.open()),
        "two unknown machines are not one"
    );

    let bound = on(Some("here")).adopt(&bench.open(), NOW).unwrap();

    assert!(on(Some("here")).is_here(&bound));
    assert!(!on(Some("there")).is_here(&bound) && !on(None).is_here(&bound));
}

#[test]
fn a_ring_of_another_machine_is_adopted_and_not_accepted() {
    let bench = Bench::new();
    let on = |machine: &str| Custody {
        calls: Default::default(),
        machine: Some(machine.to_owned()),
        ..bench.custody()
    };
    on("here")
        .adopt(&on("here").open(None, NOW).unwrap(), NOW)
        .unwrap();
    assert!(on("here").open(None, NOW).unwrap().frozen.is_none());
    let moved = on("there").open(None, NOW).unwrap();
    assert!(
        moved
            .frozen
            .as_ref()
            .is_some_and(|it| it.is_adoptable() && !it.is_acceptable())
    );
    assert!(matches!(
        on("there").accept(&moved, NOW),
        Err(CommitError::Frozen(_))
    ));

    on("there").adopt(&moved, NOW).unwrap();

    assert!(on("there").open(None, NOW).unwrap().frozen.is_none());
    assert!(on("here").open(None, NOW).unwrap().frozen.is_some());
}

#[test]
fn a_machine_without_an_id_adopts_nothing() {
    let bench = Bench::new();

    let refused = bench.custody().adopt(&bench.open(), NOW).map(drop).unwrap_err();

    assert!(refused.to_string().contains("no machine id"), "{refused}");
}

#[test]
fn a_ring_of_which_more_than_the_machine_is_wrong_is_not_adopted() {
    let (bench, other) = (Bench::new(), Bench::new());
    fs::copy(other.path("ring/mark"), bench.path("ring/mark")).unwrap();
    let here = Custody {
        machine: Some("here".to_owned()),
        ..bench.custody()
    };
    let frozen = here.open(None, NOW).unwrap();

    let refused = here.adopt(&frozen, NOW).map(drop);

    assert!(matches!(refused, Err(CommitError::Frozen(_))), "{refused:?}");
    assert_eq!(here.open(None, NOW).unwrap().ring.machine, None);
}
