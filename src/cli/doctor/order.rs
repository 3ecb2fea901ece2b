//! What the providers of an EncryptionConfiguration make together: who writes, what is covered, who can read the file.

use super::encryption::Configuration;
use super::finding::{Findings, quoted};
use super::providers::{Block, Provider};
use crate::cli::encryption::is_for;

impl Configuration {
    /// Who writes, and whether plain text is read.
    pub(super) fn check_order(&self, block: &Block, findings: &mut Findings) {
        let Some(place) = block.providers.iter().position(Provider::is_ours) else {
            return;
        };
        let what = block.resources.join(",");
        let identity = block.providers.iter().any(|it| it.kind == "identity");
        let Some(first) = block.providers.first().filter(|_| place > 0) else {
            findings.ok(
                "encryption/order",
                self.at(block.line),
                format!("kekring writes {what}"),
            );
            return match identity {
                true => findings.ok("encryption/identity", self.at(block.line), format!("{what} from before, in plain text, can be read; once all is rewritten, `identity` may go")),
                false => findings.ok("encryption/identity", self.at(block.line), format!("no plain text is read: where there are {what} from before encryption, add `- identity: {{}}` at the end")),
            };
        };
        let resources = match what.as_str() {
            "secrets" => String::new(),
            other => format!(" --resources '{other}'"),
        };
        let remedy = format!(
            "once every kube-apiserver reads: {}",
            self.merged(&format!("--phase write{resources}"))
        );
        match first.kind.as_str() {
            "identity" => findings.warning(
                "encryption/identity-first",
                self.at(first.line),
                format!(
                    "identity is first: new {what} are written in plain text, as in the phases read and exit"
                ),
                remedy,
            ),
            _ => findings.warning(
                "encryption/other-first",
                self.at(first.line),
                format!(
                    "{} is first and writes {what}; kekring only reads",
                    first.called()
                ),
                remedy,
            ),
        }
    }

    /// kube-apiserver's own objects are among what it cannot read without us; tests/apiserver shows what becomes of it.
    pub(super) fn check_everything(&self, block: &Block, findings: &mut Findings) {
        if block.resources.iter().any(|it| it == "*.*") && block.providers.iter().any(Provider::is_ours) {
            findings.warning(
                "encryption/everything",
                self.at(block.line),
                "kekring is for everything: where kube-apiserver starts without it, /livez fails, and kube-apiserver ends itself after half a minute",
                "let kekring start first, as its systemd unit does; or name the resources that hold secrets",
            );
        }
    }

    /// The command that changes this file.
    pub(super) fn merged(&self, options: &str) -> String {
        let file = quoted(&self.path);
        format!("`kekring config encryption {options} --merge {file} --out {file}`")
    }

    pub(super) fn check_secrets(&self, findings: &mut Findings) {
        let id = "encryption/secrets";
        let block = self
            .blocks
            .iter()
            .find(|block| is_for(&block.resources, "secrets"));
        match block {
            Some(block) if block.providers.iter().any(Provider::is_ours) => {
                findings.ok(id, self.at(block.line), "Secrets are among what kekring is for");
            }
            block => findings.warning(
                id,
                self.at(block.and_then(|it| it.line)),
                "kekring is not for Secrets: the first block that names them, or a wildcard, has other providers",
                self.merged("--phase read"),
            ),
        }
    }

    pub(super) fn check_mode(&self, mode: u32, findings: &mut Findings) {
        let (id, shown) = ("encryption/file-mode", self.path.display());
        let keys = self.providers().any(|it| !it.keys.is_empty());
        let mode = mode & 0o7777;
        let (what, right) = match keys {
            true if mode & 0o077 != 0 => ("others than its owner can use it, and it holds keys", "0600"),
            _ if mode & 0o022 != 0 => (
                "others than its owner can write it, and could turn encryption off",
                "0644",
            ),
            _ => return findings.ok(id, shown, format!("mode {mode:04o}")),
        };
        findings.failure(
            id,
            shown.to_string(),
            format!("mode {mode:04o}: {what}"),
            format!("`chmod {right} {}`", quoted(&self.path)),
        );
    }
}
