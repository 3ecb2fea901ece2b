//! The EncryptionConfigurations that an operator goes through, from what was there before and back to it.

use std::path::Path;

use crate::plugin::Plugin;

/// What encrypted before kekring came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing: kube-apiserver has no EncryptionConfiguration.
    Identity,
    /// A key in the EncryptionConfiguration itself.
    AesCbc,
}

const AES_CBC: &str = "\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets, configmaps]
  providers:
  - aescbc: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}
  - identity: {}
";

impl Origin {
    /// The configuration before and after; none where kube-apiserver has none.
    pub fn configuration(self) -> Option<&'static str> {
        (self == Self::AesCbc).then_some(AES_CBC)
    }

    /// The configuration of a phase, generated, where `in_use` is that of the phase before.
    pub fn phase(self, plugin: &Plugin, phase: &str, in_use: &Path) -> String {
        let mut options = vec!["--resources", "secrets,configmaps", "--phase", phase];
        if self == Self::AesCbc {
            options.extend(["--merge", in_use.to_str().unwrap()]);
        }
        plugin.encryption(&options)
    }
}
