//! One node with a ring in files, beside it one that refuses strangers and one whose root is away.

use std::fs;
use std::path::Path;

use kekring::proto::kms;
use rustix::process::Signal;

use crate::client::Client;
use crate::coverage::{metric_of, metrics, selectors};
use crate::dashboard;
use crate::lab::Must;
use crate::pictures;
use crate::prometheus::Prometheus;
use crate::rules::alerts;
use crate::support::{PATIENCE, Plugin, wait_until};

const ON: &str = "{node: {name: cp-1}, telemetry: {listen: '127.0.0.1:0'}}";
const STRANGERS: &str = "{socket: {allowUsers: [4711]}, telemetry: {listen: '127.0.0.1:0'}}";
const UNKNOWN: &str = "k7-00112233445566778899aabbccddeeff";

pub fn what_befalls_one_node_makes_its_alerts_fire() {
    let mut refusing = Plugin::prepared(STRANGERS);
    refusing.spawn();
    let mut closed = Plugin::prepared(ON);
    let (root, away) = (closed.dir.join("root.key"), closed.dir.join("away"));
    fs::rename(&root, &away).unwrap();
    closed.spawn();
    let node = healthy();
    let client = Client::connect(&node.socket);
    let prometheus = Prometheus::of(&[
        (node.telemetry(), &[("instance", "cp-1"), ("cluster", "well")]),
        (
            refusing.telemetry(),
            &[("instance", "cp-2"), ("cluster", "refusing")],
        ),
        (closed.telemetry(), &[("instance", "cp-3"), ("cluster", "closed")]),
    ]);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    client.decrypt(&sealed).unwrap();
    prometheus.wait_for("kekring_backup_missing_keys{instance=\"cp-1\"}", "0");

    prometheus.fires("KekringStatusFailing cp-3");
    prometheus.fires("KekringOneSlot refusing");
    prometheus.fires("KekringBackupBehind refusing");
    client.status().unwrap();
    wait_until("status to have seen that", PATIENCE, || {
        node.json(&["status"])["nodes"][0]["connections"]
            .to_string()
            .contains("\"keyId\":\"k1-")
    });
    pictures::shows(
        &node,
        "status-one-node",
        "kekring status on one node: it serves, and there is nothing to do",
    );
    let ours = |it: &String| it.contains(" cp-1") || it.contains(" well");
    let firing = prometheus.firing();
    assert!(
        !firing.iter().any(ours),
        "nothing is wrong with cp-1: {firing:#?}"
    );

    refused_peer(&refusing, &prometheus);
    refusing.must(&["rotate", "--prepare"]);
    prometheus.fires("KekringRotationWaiting refusing");
    unreadable(&node, &client, &sealed, &prometheus);
    has_data(&prometheus, false);

    damage(&node.dir.join("ring"));
    node.signal(Signal::HUP);
    prometheus.fires("KekringReloadFailing cp-1");
    // Which says it already.
    prometheus.ends("KekringProblem cp-1");

    fs::rename(&away, &root).unwrap();
    closed.signal(Signal::HUP);
    prometheus.ends("KekringStatusFailing cp-3");
    refusing.kill();
    prometheus.fires("KekringDown cp-2");
}

/// With two slots and a backup, served.
fn healthy() -> Plugin {
    let mut node = Plugin::unmade(ON);
    let [code, backup] = ["code", "backup"].map(|name| node.dir.join(name).display().to_string());
    node.must(&["init", "--recovery-code-file", &code]);
    node.must(&["backup", &backup]);
    node.serve();
    node
}

fn refused_peer(refusing: &Plugin, prometheus: &Prometheus) {
    assert!(!refusing.verb(&["probe", "--timeout", "5s"]).status.success());
    prometheus.fires("KekringPeersRefused cp-2");
}

/// Under a key that the ring has not, one that does not open it, and one that is suspended.
fn unreadable(node: &Plugin, client: &Client, sealed: &kms::EncryptResponse, prometheus: &Prometheus) {
    let request = |key_id: &str| kms::DecryptRequest {
        ciphertext: vec![1; 142],
        uid: "a-uid".into(),
        key_id: key_id.into(),
        ..Default::default()
    };
    client.decrypt_with(request(UNKNOWN)).unwrap_err();
    prometheus.fires("KekringUnknownKey cp-1");
    client.decrypt_with(request(&sealed.key_id)).unwrap_err();
    prometheus.fires("KekringDecryptFailed cp-1");
    node.must(&["rotate"]);
    node.must(&["keys", "suspend", &sealed.key_id]);
    // So that a scrape has seen the key in that state before somebody asks for it.
    prometheus.wait_for("kekring_keys{instance=\"cp-1\",state=\"suspended\"}", "1");
    client.decrypt(sealed).unwrap_err();
    prometheus.fires("KekringSuspendedKeyUsed cp-1");
}

/// Each query of the dashboard and each series that an alert selects: those that only several nodes have, or the others.
pub fn has_data(prometheus: &Prometheus, of_several: bool) {
    let metrics = metrics();
    let selected = alerts().into_iter().flat_map(|alert| {
        // kube-apiserver's own come from tests/apiserver's real one; those of the alerts come and go.
        let ours = |it: &String| it.starts_with("kekring_") || it.starts_with("up");
        let selectors = selectors(&alert.expr).into_iter().filter(ours);
        selectors.map(|it| (alert.name.clone(), it)).collect::<Vec<_>>()
    });
    let on_etcd = |expr: &String| {
        selectors(expr).iter().any(|it| {
            let name = it.split('{').next().unwrap();
            metric_of(&metrics, name).is_some_and(|it| metrics[it].on_etcd)
        })
    };
    let queries = dashboard::queries().into_iter().chain(selected);
    let queries: Vec<(String, String)> = queries.filter(|(_, expr)| on_etcd(expr) == of_several).collect();
    assert!(queries.len() > 8, "{queries:?}");
    prometheus.have_data(&queries);
}

fn damage(ring: &Path) {
    for entry in fs::read_dir(ring).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "ring") {
            fs::write(path, b"damaged").unwrap();
        }
    }
}
