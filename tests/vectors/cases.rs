//! Reads a file of vectors. Bytes are hexadecimal; an expected error that ends in `…` is a beginning.

use std::path::Path;

use data_encoding::HEXLOWER;
use kekring::crypto::secret::Key32;
use kekring::keyring::{KeyId, RingId};
use serde_json::Value;

/// One vector.
pub struct Case(pub Value);

/// Every case of `tests/vectors/<file>`; none is a failure.
pub fn cases(file: &str) -> Vec<Case> {
    let Value::Array(cases) = json(file)["cases"].take() else {
        panic!("{file} has no cases")
    };
    assert!(!cases.is_empty(), "{file}");
    println!("{file}: {} cases", cases.len());
    cases.into_iter().map(Case).collect()
}

/// The content of `tests/vectors/<file>`.
pub fn json(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Case {
    pub fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    pub fn bytes(&self, field: &str) -> Vec<u8> {
        hex(&self.0[field])
    }

    pub fn key(&self, field: &str) -> Key32 {
        Key32::from_slice(&self.bytes(field)).unwrap()
    }

    pub fn ring_id(&self) -> RingId {
        RingId(self.bytes("ring_id").try_into().unwrap())
    }

    pub fn error(&self) -> Option<&str> {
        self.0["error"].as_str()
    }

    /// Compares an outcome with the expected error, and gives the value where none is expected.
    pub fn judge<T, E: std::fmt::Display>(&self, outcome: Result<T, E>) -> Option<T> {
        match (outcome, self.error()) {
            (Ok(value), None) => Some(value),
            (Ok(_), Some(error)) => panic!("{}: succeeds instead of: {error}", self.name()),
            (Err(why), None) => panic!("{}: {why}", self.name()),
            (Err(why), Some(error)) => {
                let why = why.to_string();
                match error.strip_suffix('…') {
                    Some(beginning) => assert!(why.starts_with(beginning), "{}: {why}", self.name()),
                    None => assert_eq!(why, error, "{}", self.name()),
                }
                None
            }
        }
    }
}

pub fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

pub fn key_id(value: &Value) -> KeyId {
    value.as_str().unwrap().parse().unwrap()
}

pub fn key_ids(value: &Value) -> Vec<KeyId> {
    value.as_array().unwrap().iter().map(key_id).collect()
}
