//! Our parser of stored objects beside kube-apiserver's transformer: the same key ids, the same plain text.

use std::fs;

use data_encoding::HEXLOWER;
use kekring::cluster::object;
use kekring::crypto::secret::SecretBytes;
use serde_json::Value;

use crate::client::{Client, Opened, Stored};
use crate::golang::Program;
use crate::lab::{API, Lab, PROVIDER, holds, key, key_id, parse, rotate};
use crate::seed::open_seed;
use crate::support::in_repository;

pub fn agrees(program: &'static Program) {
    let mut client = Client::start(program);
    published_vectors(&mut client);

    for written_as_before_1_29 in [false, true] {
        let mut lab = Lab::idle(program);
        if written_as_before_1_29 {
            lab.client.write_as_before_1_29(PROVIDER);
        }
        what_this_version_writes(&mut lab, i32::from(!written_as_before_1_29));
    }
}

/// Those of older Kubernetes and those of another plugin.
fn published_vectors(client: &mut Client) {
    let read = |name: &str| -> Value {
        let path = in_repository("tests/vectors").join(name);
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let mut vectors = read("apiserver-kmsv2-legacy.json").as_array().unwrap().clone();
    vectors.push(read("apiserver-kmsv2-seed.json"));
    assert_eq!(vectors.len(), 3);
    for vector in &vectors {
        let value = hex(&vector["stored_value_hex"]);
        let seed = hex(vector.get("seed_hex").unwrap_or(&vector["dek_or_seed_hex"]));
        let place = vector["etcd_key_aad"].as_str().unwrap();

        let stored = object::parse(&value).unwrap();
        let inspected = stored.decrypt(&SecretBytes::new(seed.clone()), place.as_bytes());
        let prefix = format!("k8s:enc:kms:v2:{}:", stored.provider).len();
        let transformed = client.read_foreign(place, &value[prefix..], &seed).unwrap();
        let elsewhere = client.read_foreign(&format!("{place}x"), &value[prefix..], &seed);

        assert_eq!(transformed.data, inspected.unwrap().expose());
        assert_eq!(stored.object.key_id, vector["key_id"].as_str().unwrap());
        assert!(elsewhere.is_err());
        let moved = stored.decrypt(&SecretBytes::new(seed), format!("{place}x").as_bytes());
        assert!(moved.is_err());
    }
}

/// Under several keys of one ring, opened with the ring and its root alone, while the plugin is stopped.
fn what_this_version_writes(lab: &mut Lab, kind: i32) {
    let mut written: Vec<(String, String, Stored)> = Vec::new();
    for name in ["one", "two", "three"] {
        lab.load();
        written.push((name.to_owned(), lab.active(), lab.write(name)));
        rotate(&lab.plugin, &[]);
    }
    lab.load();
    let transformed: Vec<Opened> = written
        .iter()
        .map(|(_, _, object)| lab.client.read(API, object).unwrap())
        .collect();
    assert!(lab.plugin.stop().success());

    for ((name, active, object), opened) in written.iter().zip(transformed) {
        let stored = parse(object);
        let seed = open_seed(
            &lab.plugin.config,
            &stored.object.key_id,
            &stored.object.encrypted_dek_source,
        );
        let inspected = stored.decrypt(&seed, key(name).as_bytes()).unwrap();

        assert_eq!(stored.object.encrypted_dek_source_type, kind);
        assert_eq!(stored.provider, PROVIDER);
        assert_eq!(key_id(object), *active);
        assert_eq!(opened, holds(name, true));
        assert_eq!(inspected.expose(), opened.data);
    }
}

fn hex(text: &Value) -> Vec<u8> {
    HEXLOWER.decode(text.as_str().unwrap().as_bytes()).unwrap()
}
