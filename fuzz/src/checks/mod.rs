//! What must hold for any bytes. A check panics where it does not; time and memory are the engine's to watch.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod configuration;
pub mod generation;
pub mod mark;
pub mod node;
pub mod request;
pub mod seed;
pub mod slot;

use data_encoding::{BASE64, HEXLOWER};
use kekring::crypto::secret::Key32;
use kekring::keyring::{KeyId, RingId};
use serde_json::Value;

/// A target's name and its check.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 7] = [
    ("seed", seed::check),
    ("generation", generation::check),
    ("slot", slot::check),
    ("mark", mark::check),
    ("node", node::check),
    ("request", request::check),
    ("configuration", configuration::check),
];

/// The first byte chooses what is done with the rest.
fn choice(data: &[u8], of: u8) -> Option<(u8, &[u8])> {
    let (first, rest) = data.split_first()?;
    Some((first % of, rest))
}

/// An error is read by people and lands in logs: it holds no secret, in no spelling.
fn quiet(text: &str, secrets: &[&[u8]]) {
    for secret in secrets.iter().filter(|it| it.len() >= 16) {
        let plain = String::from_utf8_lossy(secret);
        assert!(!text.contains(plain.as_ref()), "a secret is told");
        assert!(
            !text.to_lowercase().contains(&HEXLOWER.encode(secret)),
            "a secret is told"
        );
        assert!(!text.contains(&BASE64.encode(secret)), "a secret is told");
        assert!(!text.contains(&format!("{secret:?}")), "a secret is told");
    }
}

/// One of our own test vectors.
struct Case(Value);

impl Case {
    /// The cases of a file of vectors.
    fn all(file: &str) -> Vec<Self> {
        let Value::Array(cases) = serde_json::from_str::<Value>(file).unwrap()["cases"].take() else {
            panic!("no cases")
        };
        cases.into_iter().map(Self).collect()
    }

    fn named(file: &str, name: &str) -> Self {
        let found = Self::all(file).into_iter().find(|case| case.0["name"] == name);
        found.unwrap_or_else(|| panic!("no case {name}"))
    }

    fn opens(&self) -> bool {
        self.0["error"].is_null()
    }

    fn bytes(&self, field: &str) -> Vec<u8> {
        HEXLOWER
            .decode(self.0[field].as_str().unwrap().as_bytes())
            .unwrap()
    }

    fn key(&self, field: &str) -> Key32 {
        Key32::from_slice(&self.bytes(field)).unwrap()
    }

    fn ring_id(&self) -> RingId {
        RingId(self.bytes("ring_id").try_into().unwrap())
    }

    fn key_id(&self) -> KeyId {
        self.0["key_id"].as_str().unwrap().parse().unwrap()
    }
}
