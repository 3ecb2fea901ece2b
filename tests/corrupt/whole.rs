//! Files that are sound and not where they should be, or not at all.

use std::fs;

use crate::{Ring, put, say};

#[test]
fn generations_under_each_others_names_are_what_their_headers_say() {
    let ring = Ring::new();
    let paths = ring.bench.generations();
    let bytes: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let orders = [[1, 0, 2], [0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]];
    for order in orders {
        for (path, at) in paths.iter().zip(order) {
            put(path, &bytes[at]);
        }

        let opened = ring.judge("swapped").unwrap();

        assert_eq!(opened.ring.generation, 3, "{order:?}");
        assert!(opened.keyring().status().is_ok());
    }
    say(&format!("corrupt: {} orders of three generations", orders.len()));
}

#[test]
fn a_generation_that_lies_there_twice_is_one() {
    let ring = Ring::new();
    let newest = fs::read(ring.bench.newest()).unwrap();
    for name in [
        "gen-4-00112233.ring",
        "gen-1-00112233.ring",
        "gen-99-ffffffff.ring",
    ] {
        put(&ring.dir().join(name), &newest);
    }

    let opened = ring.judge("four times").unwrap();

    assert_eq!(opened.ring.generation, 3);
    assert!(opened.frozen.is_none() && !opened.joined);
}

#[test]
fn an_older_generation_in_the_name_of_the_newest_does_not_go_back_in_time() {
    let ring = Ring::new();
    let older = fs::read(&ring.bench.generations()[0]).unwrap();
    for path in ring.bench.generations() {
        put(&path, &older);
    }

    let opened = ring.judge("all of them the first").unwrap();

    assert_eq!(opened.ring.generation, 1);
    assert!(opened.keyring().status().is_err());
    assert!(opened.frozen.is_some());
}

#[test]
fn each_set_of_generations_that_is_left_reports_nothing_older_and_takes_nothing_for_new() {
    let all = 1_u32 << 3;
    for kept in 0..all {
        let ring = Ring::new();
        for (at, path) in ring.bench.generations().iter().enumerate() {
            if kept & (1 << at) == 0 {
                fs::remove_file(path).unwrap();
            }
        }

        let outcome = ring.judge(&format!("{kept:03b}"));

        match outcome {
            Ok(opened) if kept & 4 != 0 => assert!(opened.keyring().status().is_ok()),
            Ok(opened) => {
                // Generation 2 has the key that was reported; the suspension that is lost with generation 3 stays.
                assert_eq!(opened.keyring().status().is_ok(), kept & 2 != 0, "{kept:03b}");
                assert!(opened.frozen.is_some(), "{kept:03b}");
            }
            Err(why) => {
                assert_eq!(kept, 0, "{why}");
                assert!(why.contains("it is gone, and its mark is still there"), "{why}");
            }
        }
    }
    say(&format!("corrupt: {all} of {all} sets of deleted generations"));
}

#[test]
fn an_empty_directory_holds_no_ring() {
    let ring = Ring::new();
    for path in ring.bench.generations() {
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(ring.dir().join("mark")).unwrap();

    let why = ring.judge("empty").map(drop).unwrap_err();

    assert!(why.contains("there is none"), "{why}");
}
