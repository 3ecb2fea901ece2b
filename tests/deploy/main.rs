//! What lies in `deploy/` is what our own code accepts, and the sample is the reference: every key, with its default.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[macro_use]
extern crate kekring_kit;

mod archive;
mod image;
mod kubeadm;
mod manifest;
mod release;
mod schema;
#[path = "../support/mod.rs"]
mod support;
mod workflow;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use kekring::config::{Config, Node, Rotation, Socket, Store, Telemetry};
use serde_json::Value;
use support::{configuration_keys, in_repository, kekring, shown};

fn main() -> ExitCode {
    kekring_kit::main("deploy")
}

/// The sample with every key of a file ring.
const FILE: &str = "deploy/config/file.yaml";
/// The sample with every key of a ring on etcd.
const ETCD: &str = "deploy/config/etcd.yaml";

#[test]
fn every_configuration_in_deploy_passes_config_check() {
    let samples = samples();

    assert!(samples.len() >= 6, "{samples:?}");
    for sample in samples {
        let output = kekring(&["config", "check", "--config"])
            .arg(&sample)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            sample.display(),
            shown(&output)
        );
    }
}

#[test]
fn a_mistyped_key_in_a_sample_would_not_pass() {
    let scratch = support::scratch();
    let sample = fs::read_to_string(in_repository(FILE)).unwrap();
    let file = scratch.path().join("config.yaml");
    fs::write(&file, sample.replace("machineIdFile:", "machineIDFile:")).unwrap();

    let output = kekring(&["config", "check", "--config"])
        .arg(&file)
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("machineIDFile"));
}

#[test]
fn the_samples_name_every_key() {
    let keys = configuration_keys();

    assert!(keys.len() >= 15, "{keys:?}");
    for (_, key) in keys {
        let pointer = format!("/{}", key.replace('.', "/"));
        assert!(whole_of(&key).pointer(&pointer).is_some(), "no sample has {key}");
    }
}

/// The sample that has a key: one configuration has one store.
fn whole_of(key: &str) -> Value {
    let file = if key.starts_with("ring.store.etcd.") {
        ETCD
    } else {
        FILE
    };
    serde_saphyr::from_str(&fs::read_to_string(in_repository(file)).unwrap()).unwrap()
}

#[test]
fn the_sample_shows_the_defaults() {
    let config = Config::load(&in_repository(FILE)).unwrap();

    let socket = Socket {
        // Absent, it is root and the user of the moment.
        allow_users: Some(vec![0]),
        ..Socket::default()
    };
    assert_eq!(config.node, Node::default());
    assert_eq!(config.socket, socket);
    assert_eq!(config.ring.store, Store::default());
    assert_eq!(config.ring.id, "");
    assert_eq!(config.ring.mirror, PathBuf::new());
    assert_eq!(config.rotation, Rotation::default());
    assert_eq!(config.telemetry, Telemetry::default());
}

/// Every file below `deploy/` that says it is one of ours.
fn samples() -> Vec<PathBuf> {
    let (mut samples, mut places) = (Vec::new(), vec![in_repository("deploy")]);
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
        } else if fs::read_to_string(&place).is_ok_and(|text| text.contains("\napiVersion: kekring/")) {
            samples.push(place);
        }
    }
    samples
}
