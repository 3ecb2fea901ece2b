//! The ring that a custody expects, and what it says where that is not there.

use kekring::custody::{Custody, OpenError};
use kekring::keyring::{NotServing, RingId};

use crate::bench::{Bench, NOW};

#[test]
fn another_ring_than_the_configuration_names_reports_no_key() {
    let bench = Bench::new();
    let id = bench.open().ring.id;
    let expecting = |expected| {
        let custody = Custody {
            calls: Default::default(),
            expected: Some(expected),
            ..bench.custody()
        };
        custody.open(None, NOW).unwrap()
    };

    assert!(expecting(id).refusing.is_none());
    let other = expecting(RingId([9; 16]));
    assert!(matches!(other.refusing, Some(NotServing::OtherRing { .. })));
    assert!(other.frozen.is_some());
}

#[test]
fn an_empty_store_says_which_ring_is_missing() {
    let bench = Bench::new();
    std::fs::remove_dir_all(bench.path("ring")).unwrap();
    bench.store().create_directories().unwrap();
    let missing = |development| {
        let custody = Custody {
            calls: Default::default(),
            development,
            ..bench.custody()
        };
        custody.open(None, NOW).map(drop).unwrap_err()
    };

    assert!(matches!(missing(true), OpenError::NoDevelopmentRing(_)));
    assert!(matches!(missing(false), OpenError::NoRing(_)));
}
