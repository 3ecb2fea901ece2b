//! Two writers at once.

use std::cell::Cell;
use std::fs::File;
use std::thread;

use kekring::custody::CommitError;
use kekring::store::{NewGeneration, RingStore, StoreError};

use crate::bench::Bench;

#[test]
fn of_two_changes_from_one_state_exactly_one_is_made() {
    let bench = Bench::new();
    let (one, other) = (bench.open(), bench.open());

    let first = bench.try_rotate(&one);
    let second = bench.try_rotate(&other);

    assert!(first.is_ok());
    assert!(matches!(second, Err(CommitError::Store(StoreError::Conflict(_)))));
    assert_eq!(bench.generations().len(), 2);
}

#[test]
fn many_writers_make_one_unbroken_history() {
    let bench = Bench::new();
    let rotated: usize = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let attempts = (0..10).map(|_| bench.try_rotate(&bench.open()));
                    attempts.filter(Result::is_ok).count()
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });

    let opened = bench.open();

    assert!(rotated >= 10, "{rotated}");
    assert_eq!(opened.ring.generation, 1 + u64::try_from(rotated).unwrap());
    assert_eq!(opened.ring.keys.len(), 2 + rotated);
    assert!(
        opened.warnings.iter().all(|it| !it.contains("histories")),
        "{:?}",
        opened.warnings
    );
}

#[test]
fn the_lock_is_held_until_a_generation_is_proven_and_what_does_not_verify_is_not_stored() {
    let bench = Bench::new();
    let store = bench.store();
    let held = Cell::new(false);
    let verify = |_: &[u8]| {
        let lock = File::open(bench.path("ring/lock")).unwrap();
        held.set(lock.try_lock().is_err());
        Err("it is not whole".to_owned())
    };
    let new = NewGeneration {
        generation: 2,
        hash: [7; 32],
        bytes: b"not whole",
        verify: &verify,
    };

    let refused = store.save(&new, &store.stamp().unwrap()).unwrap_err();

    assert!(held.get());
    assert!(refused.to_string().contains("it is not whole"), "{refused}");
    assert_eq!(bench.generations().len(), 1);
}

#[test]
fn a_writer_waits_for_the_lock() {
    let bench = Bench::new();
    bench.rotate();
    let held = File::open(bench.path("ring/lock")).unwrap();
    held.lock().unwrap();

    thread::scope(|scope| {
        let writer = scope.spawn(|| bench.rotate());
        crate::support::wait_until("the writer to reach the lock", crate::support::PATIENCE, || {
            // Another thread has the lock file open besides us.
            let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            let lock = bench.path("ring/lock");
            open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|it| it == lock))
                .count()
                >= 2
        });
        assert!(!writer.is_finished());
        assert_eq!(bench.generations().len(), 2);
        drop(held);
        assert_eq!(writer.join().unwrap().ring.generation, 3);
    });
}
