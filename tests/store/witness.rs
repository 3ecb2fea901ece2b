//! A node's own copy of a ring that several nodes keep: it knows ring keys that were replaced, and decides nothing else.

use std::fs;

use kekring::custody::{Custody, OpenError};
use kekring::store::{FileStore, Loaded, RingStore, StoreError, StoredCopy};

use crate::bench::{Bench, NOW, file_root, put};
use crate::between::Between;
use crate::replaced::Removed;

/// A node with both roots, whose store holds `stored` alone, and whose own copy is `copy`.
fn node(removed: &Removed, stored: &[(String, Vec<u8>)], copy: Result<Vec<u8>, StoreError>) -> Custody {
    let dir = removed.bench.path("stored");
    let _ = fs::remove_dir_all(&dir);
    let store = FileStore::new(dir.clone(), None);
    store.create_directories().unwrap();
    for (name, bytes) in stored {
        put(&dir.join(name), bytes);
    }
    Custody {
        store: Box::new(Between {
            store,
            load: Box::new(move |store| {
                let witness = StoredCopy {
                    name: "gen-9-00000000.ring".into(),
                    place: "the node's own copy".into(),
                    own: false,
                    bytes: copy.clone(),
                };
                Ok(Loaded {
                    witness: Some(witness),
                    ..store.load()?
                })
            }),
            save: Box::new(|_| Ok(())),
        }),
        ..removed.bench.custody_with(vec![
            file_root(&removed.bench.path("root.key")),
            file_root(&removed.second),
        ])
    }
}

#[test]
fn a_store_in_which_every_ring_key_is_known_to_be_replaced_is_refused() {
    let removed = Removed::new();
    let newer = removed.open().head;
    let (mut files, _) = removed.forged(2);
    let open = |files: &[(String, Vec<u8>)], copy: &[u8]| {
        let node = node(&removed, files, Ok(copy.to_vec()));
        node.open(None, NOW).map(|opened| opened.head.hash)
    };

    let refused = open(&files, &newer.bytes).unwrap_err();
    assert!(matches!(refused, OpenError::Replaced(_)), "{refused}");
    // A copy that is older than all of it knows nothing.
    let older = files[0].1.clone();
    assert!(open(&files, &older).is_ok());
    // One generation under the later ring key is enough.
    files.push((newer.name.clone(), newer.bytes.clone()));
    assert_eq!(open(&files, &newer.bytes).unwrap(), newer.hash);
}

#[test]
fn a_copy_that_cannot_be_read_or_opened_refuses_nothing() {
    let removed = Removed::new();
    let (files, _) = removed.forged(2);
    let stranger = fs::read(Bench::new().newest()).unwrap();
    let away = StoreError::Unavailable("away".into());

    for copy in [Ok(stranger), Ok(b"garbage".to_vec()), Err(away)] {
        assert!(node(&removed, &files, copy).open(None, NOW).is_ok());
    }
}

#[test]
fn where_no_root_opens_the_store_that_is_what_is_said() {
    let removed = Removed::new();
    let newer = removed.open().head.bytes;
    let strangers = Bench::new();
    let stored = strangers.open().head;
    // Named like the ring's own, so that nothing else is wrong with it.
    let refused = node(&removed, &[(stored.name, stored.bytes)], Ok(newer)).open(None, NOW);

    let refused = refused.map(drop).unwrap_err();
    assert!(matches!(refused, OpenError::Roots { .. }), "{refused}");
}

#[test]
fn without_a_root_the_slots_are_told_of_a_copy_that_is_newer_than_the_store() {
    let removed = Removed::new();
    let (files, _) = removed.forged(0);
    let newer = removed.open().head;

    let header = node(&removed, &files, Ok(newer.bytes)).header().unwrap();

    assert_eq!(header.slots, newer.header.slots);
}
