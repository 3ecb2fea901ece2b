//! The EncryptionConfiguration of another node.

use std::fs;

use serde_json::json;

use crate::world::Node;

const KEYS: &str = "  - aescbc: {keys: [{name: a, secret: MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}, {name: b, secret: MTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=}]}\n";

/// What differs on the other node, and what comes of it.
const BAD: [(&str, &str, &str, &str); 7] = [
    ("name: kekring", "name: kekring-2", "failure", "compare/names"),
    ("  - identity: {}\n", "", "failure", "compare/names"),
    ("- secrets", "- configmaps", "failure", "compare/resources"),
    ("run/kms.sock", "run/other.sock", "warning", "compare/endpoint"),
    ("name: b", "name: c", "failure", "compare/keys"),
    ("MTEy", "MTMy", "failure", "compare/keys"),
    ("kind:", "kind: [", "failure", "compare/readable"),
];

#[test]
fn each_difference_has_its_own_finding() {
    let (node, text) = compared();
    let other = node.path("other.yaml");
    let look = |text: &str| {
        fs::write(&other, text).unwrap();
        node.doctor_with(&["--compare", other.to_str().unwrap()])
    };
    let good = look(&text);
    assert_eq!(
        good.troubles()
            .iter()
            .filter(|(_, id)| id.starts_with("compare/"))
            .count(),
        0,
        "{:?}",
        good.findings
    );
    for id in ["compare/resources", "compare/names", "compare/order"] {
        good.finding("ok", id);
    }

    for (from, to, level, id) in BAD {
        assert!(text.contains(from), "{from}");
        let finding = look(&text.replacen(from, to, 1)).only(&good, level, id);
        assert!(
            finding.subject.starts_with(other.to_str().unwrap()),
            "{finding:?}"
        );
    }
    let (head, rest) = text.split_once("  providers:\n").unwrap();
    let (first, last) = rest.split_at(rest.find("  - identity").unwrap());
    look(&format!("{head}  providers:\n{last}{first}")).only(&good, "warning", "compare/order");
}

#[test]
fn without_this_nodes_own_there_is_nothing_to_compare_with() {
    let (node, text) = compared();
    let other = node.path("other.yaml");
    fs::write(&other, text).unwrap();
    fs::remove_file(&node.files.encryption).unwrap();

    let seen = node.doctor_with(&["--compare", other.to_str().unwrap()]);

    assert!(
        seen.finding("skipped", "compare/readable")
            .remedy
            .contains("--encryption-config")
    );
}

#[test]
fn a_ring_in_files_is_for_one_node() {
    let (node, text) = compared();
    let other = node.path("other.yaml");
    fs::write(&other, text).unwrap();
    let alone = node.doctor();

    let seen = node.doctor_with(&["--compare", other.to_str().unwrap()]);

    seen.only(&alone, "failure", "ring/several-file-rings");
    let copy = node.path("copy");
    node.configure(json!({"ring": {"store": {"file": null, "etcd": {"endpoints": ["http://127.0.0.1:1"], "localCopy": copy}}}}));
    let seen = node.doctor_with(&["--compare", other.to_str().unwrap()]);
    seen.finding("ok", "ring/several-file-rings");
}

fn compared() -> (Node, String) {
    let node = Node::good();
    let text = fs::read_to_string(&node.files.encryption).unwrap();
    let text = text.replace("  - identity", &format!("{KEYS}  - identity"));
    fs::write(&node.files.encryption, &text).unwrap();
    crate::world::mode(&node.files.encryption, 0o600);
    (node, text)
}
