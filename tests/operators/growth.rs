//! Rotating in a loop: allowed, warned of, and bounded.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use kekring::custody::{CommitError, FOR_ROTATIONS, Header, Opened, Share};
use kekring::format::generation;
use kekring::keyring::ring::{Key, KeyState, Ring};
use kekring::keyring::{KeyId, RingId, lifecycle};
use kekring::root::{FileRoot, RootKey};
use kekring::store::generation_name;

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
        println!("{said}");
        assert!(
            sizes.len() <= 7,
            "five generations, the mark and the lock: {said}"
        );
        assert!(total < 5 * 202 * 200, "under 200 bytes a key: {said}");
    }
}

#[test]
fn a_rotation_stops_where_an_emergency_still_fits_and_emergencies_go_on() {
    let bench = Bench::new();
    let opened = filled(&bench, 18_000);
    assert!(
        opened.head.bytes.len() > FOR_ROTATIONS,
        "{}",
        opened.head.bytes.len()
    );
    let next = || lifecycle::activate(&opened.ring, key(), NOW).unwrap();

    let refused = bench.custody().rotate(&opened, next(), Share::Rotation, NOW);

    let refused = refused.map(drop).unwrap_err();
    assert!(
        matches!(refused, CommitError::Reserved { keys: 18_001, .. }),
        "{refused}"
    );
    assert!(refused.is_refusal() && refused.hint().contains("rotate --fresh"));
    assert_eq!(bench.generations().len(), 1);
    let fresh = bench.custody().rotate(&opened, next(), Share::All, NOW).unwrap();
    let first = fresh.ring.keys[0].id.clone();
    let suspended = lifecycle::suspend(&fresh.ring, &first, true).unwrap();
    let suspended = bench.custody().commit(&fresh, suspended, NOW).unwrap();
    let root = bench.path("second.key");
    fs::write(&root, [7; 32]).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();
    let root: Arc<dyn RootKey> = Arc::new(FileRoot::new(root));
    bench.custody().add_slots(&suspended, &[root], NOW).unwrap();
    assert_eq!(bench.open().head.header.slots.len(), 2);
}

#[test]
fn keys_that_are_taken_in_leave_what_an_emergency_needs() {
    let bench = Bench::new();
    let mut copy = bench.open();
    copy.ring = lifecycle::activate(&copy.ring, key(), NOW).unwrap();
    copy.ring_key = Arc::new(key());
    let opened = filled(&bench, 18_000);

    let refused = bench
        .custody()
        .take_in(&opened, &copy, NOW)
        .map(drop)
        .unwrap_err();

    assert!(matches!(refused, CommitError::Reserved { .. }), "{refused}");
    assert_eq!(bench.generations().len(), 1);
}

#[test]
fn a_ring_that_has_no_room_for_another_key_refuses_it_and_serves_on() {
    let bench = Bench::new();
    let opened = bench.open();
    let next = with_keys(&opened.ring, 21_000);

    let refused = bench.custody().commit(&opened, next, NOW).map(drop).unwrap_err();

    assert!(
        matches!(refused, CommitError::Full { keys: 21_000, .. }),
        "{refused}"
    );
    assert!(refused.is_refusal() && refused.hint().contains("rotation.period"));
    assert_eq!(bench.open().ring.generation, 1);
    assert_eq!(bench.generations().len(), 1);
}

/// The ring of a bench with so many keys, as it is stored.
fn filled(bench: &Bench, keys: u64) -> Opened {
    let opened = bench.open();
    let next = with_keys(&opened.ring, keys);
    let header = Header {
        generation: 2,
        parents: vec![opened.head.hash],
        ..opened.head.header.clone()
    };
    let bytes = generation::encode(&header, &next, &opened.ring_key).unwrap();
    let hash = generation::parse(&bytes).unwrap().hash;
    let place = bench.path("ring").join(generation_name(2, &hash));
    fs::write(&place, bytes).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();
    for old in bench.generations() {
        if old != place {
            fs::remove_file(old).unwrap();
        }
    }
    bench.open()
}

/// The next generation of a ring as after so many rotations: the active and the next key move up.
fn with_keys(ring: &Ring, keys: u64) -> Ring {
    let mut next = lifecycle::activate(ring, key(), NOW).unwrap();
    let (mut active, mut waiting) = (next.keys[1].clone(), next.keys[2].clone());
    next.keys.truncate(1);
    for sequence in 2..=keys - 2 {
        next.keys.push(deactivated(next.id, &next.keys[0], sequence));
    }
    for (place, moved) in [(keys - 1, &mut active), (keys, &mut waiting)] {
        moved.id = KeyId::derive(next.id, place, &moved.material);
        next.keys.push(moved.clone());
    }
    next
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
