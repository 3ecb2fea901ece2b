//! A ring survives being written and read.

use kekring::crypto::kdf::sha256;
use kekring::format::generation::{self, Header, Slot};
use kekring::keyring::ring::{Ring, UnixTime};
use proptest::prelude::*;

use crate::nodes::{node_changes, with_nodes};
use crate::steps::{Source, changes, shown};

fn header(ring: &Ring, parents: usize) -> Header {
    let mut parents: Vec<_> = (0..parents).map(|number| sha256(&number.to_be_bytes())).collect();
    parents.sort_unstable();
    let slot = |kind| Slot {
        id: [kind; 16],
        kind: kind.into(),
        name: "a root".into(),
        sealed: vec![1, 2, 3],
        created: UnixTime(u64::from(kind)),
        replaces: (kind > 1).then_some([1; 16]),
    };
    Header {
        ring_id: ring.id,
        generation: ring.generation,
        parents,
        writer: [1; 16],
        proposal_id: [2; 16],
        written: UnixTime(1_790_000_000),
        slots: vec![slot(1_u8), slot(99)],
    }
}

proptest! {
    #[test]
    fn a_ring_that_is_written_and_read_is_the_same_ring(
        steps in changes(), joined in any::<bool>(), machine in any::<Option<[u8; 32]>>(), development in any::<bool>(),
        nodes in node_changes(),
    ) {
        let mut source = Source::new("stored");
        let ring_key = source.key();
        let mut ring = source.ring();
        (ring.machine, ring.development) = (machine, development);
        let ring = with_nodes(source.take_all(&ring, &steps), &nodes);
        let parents = if ring.generation == 1 { 0 } else { 1 + usize::from(joined) };
        let header = header(&ring, parents);

        let bytes = generation::encode(&header, &ring, &ring_key).unwrap();

        let stored = generation::parse(&bytes).unwrap();
        let open = stored.open(&ring_key).unwrap();
        prop_assert_eq!(shown(&open.ring), shown(&ring));
        prop_assert_eq!(&stored.header, &header);
        prop_assert_eq!(stored.hash, sha256(&bytes));
        prop_assert!(open.writable);
    }

    #[test]
    fn no_key_byte_stands_in_what_is_stored(steps in changes()) {
        let mut source = Source::new("no key byte");
        let ring_key = source.key();
        let ring = source.ring();
        let ring = source.take_all(&ring, &steps);
        let parents = usize::from(ring.generation > 1);

        let bytes = generation::encode(&header(&ring, parents), &ring, &ring_key).unwrap();

        let secrets = ring.keys.iter().map(|key| key.material.expose()).chain([ring_key.expose()]);
        for secret in secrets {
            prop_assert!(!bytes.windows(8).any(|window| window == &secret[..8]));
        }
    }
}
