//! `generation.json`.

use kekring::crypto::kdf::sha256;
use kekring::crypto::secret::Key32;
use kekring::format::FormatError;
use kekring::format::generation::{self, Header, MAX_LEN, OpenGeneration};
use kekring::keyring::ring::{Activate, Key, KeyState, Ring};
use serde_json::{Value, json};

use crate::cases::{Case, cases};
use crate::joins::{shown_bytes, shown_member, shown_replaced, shown_retirement, shown_tombstone};

fn open(bytes: &[u8], ring_key: &Key32) -> Result<(Header, OpenGeneration), FormatError> {
    let stored = generation::parse(bytes)?;
    let open = stored.open(ring_key)?;
    Ok((stored.header, open))
}

#[test]
fn a_generation_opens_or_is_refused_as_its_vector_says() {
    for case in cases("generation.json") {
        let outcome = open(&case.bytes("bytes"), &case.key("ring_key"));

        let Some((header, open)) = case.judge(outcome) else {
            continue;
        };
        match &case.0["read_only"] {
            Value::Null => assert_eq!(shown(&header, &open), case.0["expect"], "{}", case.name()),
            expect => {
                let ids: Vec<_> = open.ring.keys.iter().map(|key| key.id.as_str()).collect();
                assert_eq!(header.generation, expect["generation"].as_u64().unwrap());
                assert_eq!(json!(ids), expect["keys"], "{}", case.name());
                assert_eq!(json!(open.writable), expect["writable"], "{}", case.name());
            }
        }
    }
}

#[test]
fn what_was_read_is_written_back_without_loss() {
    let good = |case: &Case| case.0["expect"].is_object();
    for case in cases("generation.json").into_iter().filter(good) {
        let ring_key = case.key("ring_key");
        let (header, first) = open(&case.bytes("bytes"), &ring_key).unwrap();

        let bytes = generation::encode(&header, &first.ring, &ring_key).unwrap();

        let (header, again) = open(&bytes, &ring_key).unwrap();
        assert_eq!(shown(&header, &again), case.0["expect"], "{}", case.name());
        assert_eq!(bytes.len(), case.bytes("bytes").len(), "{}", case.name());
    }
}

#[test]
fn the_identity_is_the_hash_of_all_bytes_and_names_the_parent() {
    let cases = cases("generation.json");
    let bytes = |name: &str| {
        cases
            .iter()
            .find(|case| case.name() == name)
            .unwrap()
            .bytes("bytes")
    };

    let first = generation::parse(&bytes("generation 1")).unwrap();
    let second = generation::parse(&bytes("generation 2")).unwrap();

    assert_eq!(first.hash, sha256(&bytes("generation 1")));
    assert_eq!(second.header.parents, [first.hash]);
}

#[test]
fn a_generation_over_the_limit_is_corrupt() {
    let mut bytes = b"kekring\n".to_vec();
    bytes.resize(MAX_LEN + 1, 0);

    let refused = generation::parse(&bytes).unwrap_err();

    assert_eq!(refused.to_string(), "corrupt: longer than 1048576 bytes");
}

/// Everything that a generation says, in the vectors' words.
fn shown(header: &Header, open: &OpenGeneration) -> Value {
    let ring: &Ring = &open.ring;
    assert_eq!((ring.id, ring.generation), (header.ring_id, header.generation));
    json!({
        "ring_id": hex(&header.ring_id.0),
        "generation": header.generation,
        "parents": header.parents.iter().map(|it| hex(it)).collect::<Vec<_>>(),
        "writer": hex(&header.writer),
        "proposal_id": hex(&header.proposal_id),
        "written": header.written.0,
        "slots": header.slots.iter().map(|slot| json!({
            "id": hex(&slot.id),
            "kind": slot.kind,
            "name": slot.name,
            "sealed": hex(&slot.sealed),
            "created": slot.created.0,
            "replaces": slot.replaces.map(|it| hex(&it)).unwrap_or_default(),
        })).collect::<Vec<_>>(),
        "keys": ring.keys.iter().map(shown_key).collect::<Vec<_>>(),
        "tombstones": ring.tombstones.iter().map(shown_tombstone).collect::<Vec<_>>(),
        "proposal": ring.proposal.as_ref().map(|proposal| json!({
            "id": hex(&proposal.id),
            "activate": match proposal.activate {
                Activate::Auto => "auto",
                Activate::Manual => "manual",
            },
            "key_id": proposal.key_id.as_str(),
        })),
        "machine": ring.machine.map(|tag| hex(&tag)),
        "development": ring.development,
        "members": ring.members.iter().map(shown_member).collect::<Vec<_>>(),
        "replaced": shown_replaced(ring),
        "removed": ring.removed.iter().map(|it| shown_bytes(it)).collect::<Vec<_>>(),
        "retirements": ring.retirements.iter().map(shown_retirement).collect::<Vec<_>>(),
        "superseding": ring.superseding.iter().map(|it| shown_bytes(it)).collect::<Vec<_>>(),
        "writable": open.writable,
    })
}

fn shown_key(key: &Key) -> Value {
    json!({
        "id": key.id.as_str(),
        "material": hex(key.material.expose()),
        "state": match key.state {
            KeyState::PreActive => "pre-active",
            KeyState::Active => "active",
            KeyState::Deactivated => "deactivated",
        },
        "suspended": key.suspended,
        "suspension": key.suspension,
        "changed": key.changed,
        "created": key.created.0,
        "activated": key.activated.map(|time| time.0),
        "deactivated": key.deactivated.map(|time| time.0),
        "decrypt_only": key.decrypt_only,
    })
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[test]
fn the_longest_generation_is_looked_at_and_one_byte_more_is_not() {
    let says = |length| {
        generation::parse(&vec![0; length])
            .map(drop)
            .unwrap_err()
            .to_string()
    };

    assert!(!says(MAX_LEN).contains("longer than"), "{}", says(MAX_LEN));
    assert!(says(MAX_LEN + 1).contains("longer than"));
}
