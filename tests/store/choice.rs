//! Which generation is opened, which one is told of where none is, and what an opening adds for its caller.

use std::fs;

use kekring::custody::{Custody, Derivations, OpenError, Reason};
use kekring::keyring::RingId;
use kekring::keyring::members::{self, NodeName};

use crate::bench::{Bench, NOW, put};
use crate::forged::{HONEST, forged, of_a_stranger};

#[test]
fn the_header_says_which_generation_is_newer_and_not_the_name() {
    let bench = Bench::new();
    bench.rotate();
    let [first, second] = [0, 1].map(|at: usize| fs::read(&bench.generations()[at]).unwrap());
    for path in bench.generations() {
        fs::remove_file(path).unwrap();
    }
    put(&bench.path("ring/gen-9-00000000.ring"), &first);
    put(&bench.path("ring/gen-1-ffffffff.ring"), &second);

    let opened = bench.open();

    assert_eq!(opened.ring.generation, 2);
    assert!(!opened.joined && opened.frozen.is_none());
}

/// What a generation is where its clear part is sound and its body is not.
fn tampered(bytes: &[u8]) -> Vec<u8> {
    forged(bytes, |stored, _| {
        stored.body.as_mut().unwrap().ciphertext[0] ^= 1;
    })
}

#[test]
fn where_nothing_opens_the_newest_damage_is_told() {
    for newest_is_rubbish in [true, false] {
        let bench = Bench::new();
        bench.rotate();
        let [older, newest] = [0, 1].map(|at: usize| bench.generations()[at].clone());
        let (rubbish, other) = match newest_is_rubbish {
            true => (&newest, &older),
            false => (&older, &newest),
        };
        fs::write(rubbish, "rubbish").unwrap();
        fs::write(other, tampered(&fs::read(other).unwrap())).unwrap();

        let why = bench.error();

        let name = newest.file_name().unwrap().to_str().unwrap();
        assert!(why.contains(name), "{why}");
        assert_eq!(why.contains("does not authenticate"), !newest_is_rubbish, "{why}");
    }
}

#[test]
fn roots_that_open_nothing_are_told_before_damage() {
    let bench = Bench::new();
    bench.rotate();
    fs::write(bench.newest(), "rubbish").unwrap();
    put(&bench.path("root.key"), &[7; 32]);

    let refused = bench.custody().open(None, NOW).map(drop).unwrap_err();

    let OpenError::Roots { place, .. } = refused else {
        panic!("{refused}");
    };
    // Nothing opens: it is the whole store that is told of.
    assert_eq!(place, bench.path("ring").display().to_string());
}

#[test]
fn a_generation_by_itself_is_refused_where_it_is_another_rings_than_the_configured_one() {
    let bench = Bench::new();
    let head = bench.open().head;
    let open = |expected: Option<RingId>| {
        let custody = Custody {
            expected,
            ..bench.custody()
        };
        let mut derivations = Derivations::of_an_opening();
        custody
            .open_one("a place", &head.name, &head.bytes, &[], &mut derivations)
            .map(|version| version.ring.id)
    };

    assert!(open(None).is_ok() && open(Some(head.header.ring_id)).is_ok());
    let refused = open(Some(RingId([9; 16]))).unwrap_err();
    assert!(
        matches!(&refused, OpenError::TwoRings { other, .. } if *other == RingId([9; 16])),
        "{refused}"
    );
}

/// The generation whose slots are told where no root is asked.
fn told(bench: &Bench) -> u64 {
    bench.custody().header().unwrap().generation
}

#[test]
fn without_a_root_the_slots_are_told_of_the_generation_that_the_rings_mark_names() {
    let bench = Bench::mirrored();
    bench.rotate();
    bench.rotate();
    assert_eq!(told(&bench), 3);
    // A stranger's number is higher, and says nothing.
    let newest = fs::read(bench.newest()).unwrap();
    let (name, bytes) = of_a_stranger(&newest, 9, 1, HONEST);
    put(&bench.path("ring").join(&name), &bytes);
    assert_eq!(told(&bench), 3);

    // It is fetched from the mirror where the directory lacks it, and from nowhere else without that mark.
    fs::remove_file(bench.path("ring").join(name)).unwrap();
    fs::remove_file(bench.newest()).unwrap();
    assert_eq!(told(&bench), 3);
    fs::remove_file(bench.path("ring/mark")).unwrap();
    assert_eq!(told(&bench), 2);
    // Where the directory is empty, the mirror's mark will do.
    for path in bench.generations() {
        fs::remove_file(path).unwrap();
    }
    assert_eq!(told(&bench), 3);
}

#[test]
fn a_ring_in_files_that_several_nodes_keep_is_not_changed() {
    let bench = Bench::new();
    let opened = bench.open();
    let name: NodeName = "cp-1".parse().unwrap();
    let next = members::register(&opened.ring, &name, [1; 16]).unwrap();
    bench.custody().commit(&opened, next, NOW).unwrap();

    let frozen = bench.open().frozen.unwrap();
    assert_eq!(frozen.reasons().collect::<Vec<_>>(), [&Reason::Shared]);
    let shared = Custody {
        shared: true,
        ..bench.custody()
    };
    assert!(shared.open(None, NOW).unwrap().frozen.is_none());
}
