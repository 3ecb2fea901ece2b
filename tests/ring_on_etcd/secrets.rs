//! What is secret stays out of etcd, its files and every log.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::lab::{Lab, Must};
use crate::support::leaks::leaks;
use crate::watch::Watch;

pub fn no_key_is_in_etcd_and_none_in_a_log() {
    let mut lab = Lab::with(2, json!({"telemetry": {"log": {"level": "trace"}}}));
    let watch = Watch::over(&lab.nodes);
    for node in [0, 1, 0] {
        lab.nodes[node].must(&["rotate"]);
    }
    let mut places = Vec::new();
    for verb in [&["status"][..], &["node", "list"], &["keys", "list"], &["rotate"]] {
        let output = lab.nodes[1].must(&[verb, &["-o", "json"]].concat());
        places.push((format!("{verb:?}"), [output.stdout, output.stderr].concat()));
    }
    watch.end();
    let opened = lab.open();
    let mut secrets = vec![
        ("the ring key".to_owned(), opened.ring_key.expose().to_vec()),
        (
            "the root".to_owned(),
            fs::read(lab.nodes[0].dir.join("root.key")).unwrap(),
        ),
    ];
    for key in &opened.ring.keys {
        secrets.push((key.id.to_string(), key.material.expose().to_vec()));
    }

    for kv in lab.all("/") {
        places.push((String::from_utf8_lossy(&kv.key).into_owned(), kv.value));
    }
    let values = places.len();
    for node in &mut lab.nodes {
        assert!(
            node.log().contains("DEBUG") || node.log().contains("TRACE"),
            "{}",
            node.log()
        );
        places.push(("its log".into(), node.log().into_bytes()));
        places.push((
            "status.json".into(),
            fs::read(node.socket.with_file_name("status.json")).unwrap(),
        ));
        node.stop();
        below(&node.dir.join("ring"), &mut places);
    }
    // Also what etcd has of the past.
    lab.cluster.kill(0);
    below(lab.cluster.dir(), &mut places);

    assert!(values > 8, "{values}");
    for (name, place) in &places {
        for (what, secret) in &secrets {
            assert!(!leaks(place, secret), "{what} is in {name}");
        }
    }
    // The scanner sees: raw in the root's own file, and in base64 of something that holds it.
    let root = &secrets[1].1;
    assert!(leaks(&fs::read(lab.nodes[0].dir.join("root.key")).unwrap(), root));
    let wrapped = data_encoding::BASE64.encode(&[&b"xy"[..], root, b"z"].concat());
    assert!(leaks(wrapped.as_bytes(), root));
}

fn below(dir: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, places);
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        // What etcd has set aside and not written.
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        bytes.truncate(end);
        places.push((path.display().to_string(), bytes));
    }
}
