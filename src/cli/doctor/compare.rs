//! The EncryptionConfigurations of two nodes: what one API server writes, the other must read.

use std::collections::BTreeSet;
use std::path::Path;

use super::encryption::{Configuration, read};
use super::finding::Findings;
use super::providers::{Block, Provider};

/// Compares the one in use with a copy of another node's.
pub(super) fn look(ours: Option<&Configuration>, other: &Path, findings: &mut Findings) {
    let shown = other.display();
    let Some((theirs, ..)) = read(other, (None, None), "compare/readable", findings) else {
        return;
    };
    match ours {
        None => findings.skipped(
            "compare/readable",
            shown,
            "there is nothing to compare it with: this node's own was not read",
            "give this node's own by --encryption-config FILE",
        ),
        Some(ours) => check(ours, &theirs, findings),
    }
}

fn check(ours: &Configuration, theirs: &Configuration, findings: &mut Findings) {
    let resources = |it: &Configuration| -> Vec<BTreeSet<String>> {
        let blocks = it.blocks.iter();
        blocks
            .map(|block| block.resources.iter().cloned().collect())
            .collect()
    };
    if resources(ours) != resources(theirs) {
        return findings.failure(
            "compare/resources",
            theirs.at(None),
            "its blocks are for other resources than this node's, or stand in another order",
            "give every node the same file",
        );
    }
    findings.ok(
        "compare/resources",
        theirs.at(None),
        "the same resources in the same blocks",
    );
    for (our, their) in ours.blocks.iter().zip(&theirs.blocks) {
        blocks(our, their, &theirs.at(their.line), findings);
    }
}

fn blocks(ours: &Block, theirs: &Block, place: &str, findings: &mut Findings) {
    let names =
        |block: &Block| -> Vec<String> { block.providers.iter().map(|it| it.called().to_owned()).collect() };
    let (our, their) = (names(ours), names(theirs));
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let what = ours.resources.join(",");
    if set(&our) != set(&their) {
        return findings.failure(
            "compare/names",
            place,
            format!(
                "for {what} it has {}, this node {}: one cannot read what the other writes",
                their.join(", "),
                our.join(", ")
            ),
            "give every node the same providers under the same names; a name is a part of every stored value",
        );
    }
    findings.ok("compare/names", place, format!("the same providers for {what}"));
    match our == their {
        true => findings.ok("compare/order", place, format!("the same order for {what}")),
        false => findings.warning(
            "compare/order",
            place,
            format!("for {what} it has {}, this node {}: each reads the other, and they rewrite each other's objects", their.join(", "), our.join(", ")),
            "finish the phase on every node",
        ),
    }
    let twin = |it: &Provider| {
        theirs
            .providers
            .iter()
            .find(|other| other.called() == it.called())
    };
    for (one, other) in ours.providers.iter().filter_map(|it| Some((it, twin(it)?))) {
        providers(one, other, place, findings);
    }
}

fn providers(one: &Provider, other: &Provider, place: &str, findings: &mut Findings) {
    let endpoint = |it: &Provider| it.kms.as_ref().map(|kms| kms.endpoint.clone());
    if endpoint(one) != endpoint(other) {
        findings.warning(
            "compare/endpoint",
            place,
            format!("{} has another endpoint than on this node", one.called()),
            "see that both lead to kekring on their own node; the same path everywhere is simpler",
        );
    }
    if one.keys != other.keys {
        findings.failure(
            "compare/keys",
            place,
            format!("{} has other keys, or in another order, than on this node: one cannot read what the other writes", one.called()),
            "give every node the same keys in the same order",
        );
    }
}
