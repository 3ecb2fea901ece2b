//! What kube-apiserver itself wrote; `README.md` beside this file names the origins.

use kekring::cluster::object::{self, ObjectError};
use kekring::crypto::secret::SecretBytes;
use serde_json::Value;

use crate::cases::{hex, json};

fn published() -> Vec<Value> {
    let mut all: Vec<Value> = serde_json::from_value(json("apiserver-kmsv2-legacy.json")).unwrap();
    all.push(json("apiserver-kmsv2-seed.json"));
    all
}

fn seed(vector: &Value) -> SecretBytes {
    let seed = vector.get("seed_hex").unwrap_or(&vector["dek_or_seed_hex"]);
    SecretBytes::new(hex(seed))
}

#[test]
fn stored_objects_of_kube_apiserver_open() {
    let vectors = published();
    assert_eq!(vectors.len(), 3);
    for vector in &vectors {
        let plaintext = match vector.get("plaintext") {
            Some(text) => text.as_str().unwrap().as_bytes().to_vec(),
            None => hex(&vector["plaintext_hex"]),
        };

        let stored = object::parse(&hex(&vector["stored_value_hex"])).unwrap();
        let place = vector["etcd_key_aad"].as_str().unwrap().as_bytes();
        let opened = stored.decrypt(&seed(vector), place).unwrap();

        assert_eq!(opened.expose(), plaintext);
        assert_eq!(stored.provider, vector["provider"].as_str().unwrap());
        assert_eq!(stored.object.key_id, vector["key_id"].as_str().unwrap());
        let source = hex(&vector["encrypted_dek_source_hex"]);
        assert_eq!(stored.object.encrypted_dek_source, source);
    }
}

#[test]
fn a_stored_object_opens_at_its_own_place_and_with_its_own_seed_only() {
    for vector in published() {
        let stored = object::parse(&hex(&vector["stored_value_hex"])).unwrap();
        let place = vector["etcd_key_aad"].as_str().unwrap();
        let mut bent = hex(vector.get("seed_hex").unwrap_or(&vector["dek_or_seed_hex"]));
        bent[0] ^= 1;

        let moved = stored.decrypt(&seed(&vector), format!("{place}x").as_bytes());
        let other = stored.decrypt(&SecretBytes::new(bent), place.as_bytes());
        let short = stored.decrypt(&SecretBytes::new(vec![0; 31]), place.as_bytes());

        assert_eq!(moved.unwrap_err(), ObjectError::Decrypt);
        assert_eq!(other.unwrap_err(), ObjectError::Decrypt);
        assert_eq!(short.unwrap_err(), ObjectError::Decrypt);
    }
}

#[test]
fn what_is_no_kms_v2_value_is_told_from_a_damaged_one() {
    for (value, expected) in [
        (b"".as_slice(), ObjectError::NotKmsV2),
        (b"k8s\0plain", ObjectError::NotKmsV2),
        (b"k8s:enc:kms:v1:name:x", ObjectError::NotKmsV2),
        (b"k8s:enc:kms:v2:", ObjectError::Malformed),
        (b"k8s:enc:kms:v2:name", ObjectError::Malformed),
        (b"k8s:enc:kms:v2:name:", ObjectError::Malformed),
        (b"k8s:enc:kms:v2::\x0a\x01x\x1a\x01y", ObjectError::Malformed),
        (b"k8s:enc:kms:v2:\xff:\x0a\x01x\x1a\x01y", ObjectError::Malformed),
        (b"k8s:enc:kms:v2:name:\x0a\x01x", ObjectError::Malformed),
        (b"k8s:enc:kms:v2:name:\x1a\x01y", ObjectError::Malformed),
        (b"k8s:enc:kms:v2:name:\xff", ObjectError::Malformed),
    ] {
        assert_eq!(object::parse(value).unwrap_err(), expected, "{value:?}");
    }
}
