//! Rotating in a loop: allowed, warned of, and bounded.

use std::fs;
use std::io::Write;
use std::sync::Arc;

use kekring::custody::CommitError;
use kekring::keyring::ring::{Key, KeyState};
use kekring::keyring::{KeyId, RingId};

use crate::bench::{Bench, NOW, key};

const ROTATIONS: u32 = 200;

#[test]
fn two_hundred_rotations_in_a_row_lose_nothing_and_leave_five_small_files() {
    let bench = Bench::mirrored();
    let mut sealed = Vec::new();

    let mut opened = bench.open();
    for _ in 0..ROTATIONS {
        let keyring = opened.keyring();
        sealed.push(keyring.encrypt(None, &[7; 32]).unwrap());
        bench.try_rotate(&opened).unwrap();
        opened = bench.open();
    }

    let keyring = bench.open().keyring();
    for (sealed, id) in &sealed {
        assert_eq!(keyring.decrypt(id.as_str(), sealed).unwrap().expose(), [7; 32]);
    }
    let warnings = bench.open().warnings.join("\n");
    assert!(
        warnings.contains("201 keys became active within a day"),
        "{warnings}"
    );
    for place in ["ring", "mirror"] {
        let files = fs::read_dir(bench.path(place)).unwrap().map(|it| it.unwrap());
        let sizes: Vec<u64> = files.map(|file| file.metadata().unwrap().len()).collect();
        let total: u64 = sizes.iter().sum();
        let said = format!(
            "{place}: {} files and {total} bytes after {ROTATIONS} rotations",
            sizes.len()
        );
        writeln!(std::io::stdout(), "{said}").unwrap();
        assert!(
            sizes.len() <= 7,
            "five generations, the mark and the lock: {said}"
        );
        assert!(total < 5 * 202 * 200, "under 200 bytes a key: {said}");
    }
}

#[test]
fn a_ring_that_has_no_room_for_another_key_refuses_it_and_serves_on() {
    let bench = Bench::new();
    let opened = bench.open();
    let mut next = kekring::keyring::lifecycle::activate(&opened.ring, key(), NOW).unwrap();
    // As after 12,000 rotations: the active and the next one move up.
    let (mut active, mut waiting) = (next.keys[1].clone(), next.keys[2].clone());
    next.keys.truncate(1);
    for sequence in 2..=12_000 {
        next.keys.push(deactivated(next.id, &next.keys[0], sequence));
    }
    for (place, moved) in [(12_001, &mut active), (12_002, &mut waiting)] {
        moved.id = KeyId::derive(next.id, place, &moved.material);
        next.keys.push(moved.clone());
    }

    let refused = bench.custody().commit(&opened, next, NOW).map(drop).unwrap_err();

    assert!(
        matches!(refused, CommitError::Full { keys: 12_002, .. }),
        "{refused}"
    );
    assert!(refused.is_refusal() && refused.hint().contains("rotation.period"));
    assert_eq!(bench.open().ring.generation, 1);
    assert_eq!(bench.generations().len(), 1);
}

fn deactivated(ring: RingId, like: &Key, sequence: u64) -> Key {
    let material = Arc::new(key());
    Key {
        id: KeyId::derive(ring, sequence, &material),
        material,
        state: KeyState::Deactivated,
        ..like.clone()
    }
}
