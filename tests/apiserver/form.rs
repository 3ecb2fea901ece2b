//! How a value lies in etcd.

use kekring::cluster::object;

/// Who encrypted it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    Plain,
    AesCbc,
    Kms { provider: String, key_id: String },
}

impl Form {
    pub fn of(value: &[u8]) -> Self {
        if value.starts_with(b"k8s:enc:aescbc:v1:") {
            return Self::AesCbc;
        }
        if !value.starts_with(b"k8s:enc:") {
            return Self::Plain;
        }
        let stored = object::parse(value).unwrap();
        Self::Kms {
            provider: stored.provider,
            key_id: stored.object.key_id,
        }
    }

    /// Ours, under the provider's usual name.
    pub fn ours(key_id: &str) -> Self {
        Self::Kms {
            provider: "kekring".into(),
            key_id: key_id.into(),
        }
    }
}
