//! kube-apiserver takes a new EncryptionConfiguration while it runs.

use std::fs;

use crate::client::Stored;
use crate::golang::Program;
use crate::lab::{API, Lab, NOTICED, PROVIDER, holds, key, parse, server_status};
use crate::support::{shown, wait_until};

const SECOND: &str = "second";

/// A second provider entry for the same socket takes over, and later the first one's data is no longer anybody's.
pub fn hot(program: &'static Program) {
    let mut lab = Lab::start(program);
    let old = lab.write("old");
    let (first, second) = (provider(&lab, PROVIDER), provider(&lab, SECOND));

    change(&lab, &[&second, &first]);
    let new = write_until(&mut lab, SECOND);

    assert_eq!(parse(&old).provider, PROVIDER);
    assert_eq!(lab.read(&old).unwrap(), holds("old", true));
    assert_eq!(lab.read(&new).unwrap(), holds("new", false));
    lab.client.health(API).unwrap();
    // Each entry has a connection; that of the old configuration is closed after its grace period.
    wait_until("the old connection to be closed", NOTICED, || {
        connections(&lab) == 2
    });

    let rewritten = lab.write("old");
    change(&lab, &[&second]);
    wait_until("the first entry to be gone", NOTICED, || lab.read(&old).is_err());
    assert_eq!(lab.read(&rewritten).unwrap(), holds("old", false));
    assert_eq!(lab.read(&new).unwrap(), holds("new", false));
    wait_until("its connection to be closed", NOTICED, || connections(&lab) == 1);
}

/// A provider entry as `config encryption` writes it.
fn provider(lab: &Lab, name: &str) -> serde_json::Value {
    let output = lab
        .plugin
        .verb(&["config", "encryption", "--name", name, "-o", "json"]);
    assert!(output.status.success(), "{}", shown(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    document["resources"][0]["providers"][0].clone()
}

/// Replaces the configuration in one step, as it must be: half of one is none.
fn change(lab: &Lab, providers: &[&serde_json::Value]) {
    let document = serde_json::json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    });
    let unfinished = lab.config.with_extension("unfinished");
    fs::write(&unfinished, document.to_string()).unwrap();
    fs::rename(&unfinished, &lab.config).unwrap();
}

/// Writes until the provider is the one that writes. No write and no read fails meanwhile.
fn write_until(lab: &mut Lab, provider: &str) -> Stored {
    let mut last = None;
    wait_until("the new configuration to be used", NOTICED, || {
        let object = lab.client.write(API, &key("new"), "new").unwrap();
        assert_eq!(lab.read(&object).unwrap().data, b"new");
        let done = parse(&object).provider == provider;
        last = Some(object);
        done
    });
    last.unwrap()
}

fn connections(lab: &Lab) -> usize {
    let status = server_status(&lab.plugin);
    status["connections"].as_array().map_or(0, Vec::len)
}
