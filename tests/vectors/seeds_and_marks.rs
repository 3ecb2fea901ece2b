//! `wrapped-seed.json`, `mark.json`, `acknowledgement.json`, `backup.json` and `superseded.json`.

use kekring::crypto::kdf::sha256;
use kekring::format::{backup, mark, node, superseded, wrapped_seed};
use kekring::keyring::RingId;

use serde_json::json;

use crate::cases::{cases, hex, key_id, key_ids};

#[test]
fn a_wrapped_seed_opens_or_is_refused_as_its_vector_says() {
    for case in cases("wrapped-seed.json") {
        let id = key_id(&case.0["key_id"]);

        let outcome = wrapped_seed::unwrap(case.ring_id(), &id, &case.key("key"), &case.bytes("bytes"));

        if let Some(opened) = case.judge(outcome) {
            assert_eq!(opened.expose(), case.bytes("plaintext"), "{}", case.name());
        }
    }
}

#[test]
fn a_mark_opens_or_is_refused_as_its_vector_says() {
    for case in cases("mark.json") {
        let (bytes, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

        let outcome = mark::decode(&bytes, &ring_key);

        let Some(mark) = case.judge(outcome) else { continue };
        let expect = &case.0["expect"];
        assert_eq!(mark.ring_id.0.as_slice(), hex(&expect["ring_id"]));
        assert_eq!(mark.generation, expect["generation"].as_u64().unwrap());
        assert_eq!(mark.hash.as_slice(), hex(&expect["hash"]));
        assert_eq!(mark.reported, key_id(&expect["key_id"]));
        assert_eq!(mark.suspended, key_ids(&expect["suspended"]));
        assert_eq!(
            mark.destroyed.map(Vec::from).unwrap_or_default(),
            hex(&expect["destroyed"])
        );
        assert_eq!(mark.seen.0, expect["seen"].as_u64().unwrap());
        assert_eq!(mark.encode(&ring_key), bytes, "{}", case.name());
    }
}

#[test]
fn a_mark_of_another_ring_is_told_from_one_of_ours_without_its_key() {
    let case = |name: &str| {
        cases("mark.json")
            .into_iter()
            .find(|it| it.name() == name)
            .unwrap()
    };
    let (ours, other) = (case("a mark"), case("another ring"));
    let ring = RingId(hex(&ours.0["expect"]["ring_id"]).try_into().unwrap());
    let key = ours.key("ring_key");
    let told = |bytes: &[u8]| mark::of_another_ring(bytes, ring, &key);

    assert!(told(&other.bytes("bytes")).is_some_and(|it| it != ring));
    assert_eq!(told(&ours.bytes("bytes")), None);
    assert_eq!(told(b""), None);
    for bit in 0..16 * 8 {
        // Version in two bytes, then the ring id's tag and length.
        let mut bytes = ours.bytes("bytes");
        bytes[4 + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(told(&bytes), None, "bit {bit} of its name");
        assert!(mark::decode(&bytes, &key).is_err());
    }
}

#[test]
fn an_acknowledgement_opens_or_is_refused_as_its_vector_says() {
    for case in cases("acknowledgement.json") {
        let (bytes, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

        let outcome = node::decode(&bytes, &ring_key);

        let Some(said) = case.judge(outcome) else { continue };
        let expect = &case.0["expect"];
        assert_eq!(said.ring_id.0.as_slice(), hex(&expect["ring_id"]));
        assert_eq!(said.name.as_str(), expect["node"].as_str().unwrap());
        assert_eq!(said.instance.as_slice(), hex(&expect["instance"]));
        assert_eq!(said.generation, expect["generation"].as_u64().unwrap());
        assert_eq!(said.hash.as_slice(), hex(&expect["hash"]));
        assert_eq!(said.held, key_id(&expect["held"]));
        let reported = said.reported.as_ref().map_or("", |it| it.as_str());
        assert_eq!(reported, expect["reported"].as_str().unwrap());
        let shown = said.shown.map(Vec::from).unwrap_or_default();
        assert_eq!(shown, hex(&expect["shown"]));
        assert_eq!(u64::from(said.format), expect["format"].as_u64().unwrap());
        assert_eq!(said.time.0, expect["time"].as_u64().unwrap());
        let watched = said
            .watched
            .iter()
            .map(|(id, decrypts)| json!({"key_id": id.as_str(), "decrypts": decrypts}));
        assert_eq!(json!(watched.collect::<Vec<_>>()), expect["watched"]);
        assert_eq!(
            said.purged.map(Vec::from).unwrap_or_default(),
            hex(&expect["purged"])
        );
        assert_eq!(said.encode(&ring_key), bytes, "{}", case.name());
    }
}

#[test]
fn the_record_of_a_backup_opens_or_is_refused_as_its_vector_says() {
    for case in cases("backup.json") {
        let (bytes, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

        let outcome = backup::decode(&bytes, &ring_key);

        let Some(record) = case.judge(outcome) else {
            continue;
        };
        let expect = &case.0["expect"];
        assert_eq!(record.ring_id.0.as_slice(), hex(&expect["ring_id"]));
        assert_eq!(record.generation, expect["generation"].as_u64().unwrap());
        assert_eq!(record.hash.as_slice(), hex(&expect["hash"]));
        assert_eq!(record.newest, key_id(&expect["key_id"]));
        assert_eq!(record.written.0, expect["written"].as_u64().unwrap());
        assert_eq!(record.encode(&ring_key), bytes, "{}", case.name());
    }
}

#[test]
fn the_record_of_a_replaced_ring_key_opens_or_is_refused_as_its_vector_says() {
    for case in cases("superseded.json") {
        let (bytes, ring_key) = (case.bytes("bytes"), case.key("ring_key"));

        let outcome = superseded::decode(&bytes, &ring_key);

        let Some(record) = case.judge(outcome) else {
            continue;
        };
        let expect = &case.0["expect"];
        assert_eq!(record.ring_id.0.as_slice(), hex(&expect["ring_id"]));
        assert_eq!(record.generation, expect["generation"].as_u64().unwrap());
        assert_eq!(record.encode(&ring_key), bytes, "{}", case.name());
        assert_eq!(superseded::claimed(&bytes), Some(record.generation));
        let digits = data_encoding::HEXLOWER.encode(&sha256(&bytes)[..8]);
        let name = format!("superseded/{}-{digits}", record.generation);
        assert_eq!(superseded::name(&bytes), name);
        assert!(bytes.len() <= superseded::MAX_LEN);
    }
}
