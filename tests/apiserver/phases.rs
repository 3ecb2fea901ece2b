//! The EncryptionConfigurations that an operator goes through, from what was there before and back to it.

use serde_json::{Value, json};

use crate::plugin::Plugin;

/// A step of the way in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Read,
    Write,
    Exit,
}

/// What encrypted before kekring came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: kube-apiserver has no EncryptionConfiguration.
    Identity,
    /// A key in the EncryptionConfiguration itself.
    AesCbc,
}

impl Origin {
    /// The configuration before and after; none where kube-apiserver has none.
    pub fn configuration(self) -> Option<String> {
        (self == Self::AesCbc).then(|| document(&[aes_cbc(), identity()]))
    }

    /// The configuration of a phase.
    pub fn phase(self, plugin: &Plugin, phase: Phase) -> String {
        let options = ["--resources", "secrets,configmaps", "-o", "json"];
        let generated: Value = serde_json::from_str(&plugin.encryption(&options)).unwrap();
        let kms = generated["resources"][0]["providers"][0].clone();
        let mut providers = match self {
            Self::Identity => vec![identity()],
            Self::AesCbc => vec![aes_cbc(), identity()],
        };
        let place = if phase == Phase::Write { 0 } else { 1 };
        providers.insert(place, kms);
        document(&providers)
    }
}

fn document(providers: &[Value]) -> String {
    let document = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets", "configmaps"], "providers": providers}],
    });
    document.to_string()
}

fn identity() -> Value {
    json!({"identity": {}})
}

fn aes_cbc() -> Value {
    json!({"aescbc": {"keys": [{"name": "key1", "secret": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}]}})
}
