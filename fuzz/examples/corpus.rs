//! Writes the beginnings of the corpus anew, from the test vectors: `cargo run --example corpus`. What it writes is small, and
//! what is there already under another name stays.

use std::fs;
use std::path::Path;

use data_encoding::HEXLOWER;
use kekring::proto::{kms, ring as wire};
use kekring_fuzz::checks::generation::{WORLD, inside, plain};
use prost::Message;
use serde_json::Value;

fn main() {
    for (target, name, choice, bytes) in beginnings() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&dir).unwrap();
        fs::write(
            dir.join(name.replace([' ', ',', '/'], "-")),
            [&[choice], bytes.as_slice()].concat(),
        )
        .unwrap();
    }
}

/// Generations that begin a body each, beside the first nine.
const BODIES: [&str; 10] = [
    "a key that only decrypts",
    "a suspended key that only decrypts and was in use",
    "destroyed keys, two of one number and one of the highest",
    "times before the key was made",
    "replaced ring keys and removed slots",
    "retirements, one of them withdrawn",
    "a retirement of keys by number, by the longest name",
    "records of replaced ring keys",
    "nodes, one of them removed",
    "all of it",
];

/// And those that begin a header.
const HEADERS: [&str; 5] = [
    "two parents",
    "a slot of kind helper is kept",
    "a slot of a negative kind is kept",
    "a slot that took the place of another",
    "all of it",
];

type Beginning = (&'static str, String, u8, Vec<u8>);

fn beginnings() -> Vec<Beginning> {
    let mut all = Vec::new();
    let mut add =
        |target, name: &str, choice, bytes: Vec<u8>| all.push((target, name.to_owned(), choice, bytes));
    for (name, bytes, case) in vectors("wrapped-seed.json", "bytes", 1100).into_iter().take(4) {
        add("seed", &name, 0, bytes.clone());
        let id = case["key_id"].as_str().unwrap();
        add(
            "seed",
            &format!("named {name}"),
            1,
            [&[u8::try_from(id.len()).unwrap()], id.as_bytes(), &bytes].concat(),
        );
    }
    add("seed", "plain", 2, vec![7; 32]);
    for (name, bytes, _) in vectors("generation.json", "bytes", 1500).into_iter().take(9) {
        let message = wire::StoredGeneration::decode(inside(&bytes)).unwrap();
        let Some(body) = plain(&message, &WORLD.ring_key) else {
            continue;
        };
        add("generation", &format!("body {name}"), 2, body);
        add("generation", &format!("header {name}"), 3, message.header);
    }
    for (name, bytes, _) in vectors("generation.json", "bytes", 1500).into_iter().take(2) {
        add("generation", &name, 0, bytes.clone());
        add(
            "generation",
            &format!("message {name}"),
            1,
            inside(&bytes).to_vec(),
        );
    }
    for (_, bytes, _) in vectors("generation.json", "bytes", 1500).into_iter().take(1) {
        let message = wire::StoredGeneration::decode(inside(&bytes)).unwrap();
        add(
            "generation",
            "body of a newer version",
            4,
            plain(&message, &WORLD.ring_key).unwrap(),
        );
    }
    for (file, choice) in [
        ("slot-file.json", 0),
        ("slot-credential.json", 1),
        ("slot-passphrase.json", 2),
    ] {
        for (name, bytes, _) in vectors(file, "sealed", 500).into_iter().take(5) {
            add("slot", &format!("{choice} {name}"), choice, bytes);
        }
    }
    for (name, _, case) in vectors("slot-passphrase.json", "sealed", 500) {
        if name.starts_with("a recovery code") {
            add(
                "slot",
                &format!("code {name}"),
                3,
                case["secret"].as_str().unwrap().as_bytes().to_vec(),
            );
        }
    }
    for (file, choice) in [("mark.json", 0), ("backup.json", 1), ("superseded.json", 2)] {
        for (name, bytes, _) in vectors(file, "bytes", 500).into_iter().take(5) {
            add("mark", &format!("raw {file} {name}"), choice, bytes.clone());
            add("mark", &format!("message {file} {name}"), choice + 3, bytes);
        }
    }
    for (name, bytes, _) in vectors("acknowledgement.json", "bytes", 500).into_iter().take(7) {
        add("node", &format!("raw {name}"), 0, bytes.clone());
        add("node", &format!("message {name}"), 1, bytes);
    }
    for (name, bytes, _) in vectors("generation.json", "bytes", 1500) {
        let message = || wire::StoredGeneration::decode(inside(&bytes)).unwrap();
        if BODIES.contains(&name.as_str()) {
            let body = plain(&message(), &WORLD.ring_key).unwrap();
            add("generation", &format!("body {name}"), 2, body);
        }
        if HEADERS.contains(&name.as_str()) {
            add("generation", &format!("header {name}"), 3, message().header);
        }
    }
    requests(&mut add);
    configurations(&mut add);
    all
}

fn requests(add: &mut impl FnMut(&'static str, &str, u8, Vec<u8>)) {
    let encrypt = kms::EncryptRequest {
        plaintext: vec![5; 32],
        uid: "0b8a3c0e-1".into(),
    };
    let decrypt = kms::DecryptRequest {
        ciphertext: vec![1; 142],
        uid: "0b8a3c0e-2".into(),
        key_id: format!("k1-{}", "0".repeat(32)),
        annotations: [("a.example.com".to_owned(), b"b".to_vec())].into(),
    };
    // 0 to 3 choose the method; 4 frames what follows, 8 seals it; 12 sends it in pieces.
    for (pieces, how) in [(0, "whole"), (12, "in pieces")] {
        add("request", &format!("Status {how}"), pieces + 4, Vec::new());
        add(
            "request",
            &format!("Encrypt {how}"),
            pieces + 5,
            encrypt.encode_to_vec(),
        );
        add(
            "request",
            &format!("Decrypt {how}"),
            pieces + 6,
            decrypt.encode_to_vec(),
        );
        add(
            "request",
            &format!("Encrypt of a seed {how}"),
            pieces + 9,
            vec![5; 32],
        );
        add(
            "request",
            &format!("Decrypt of a seed {how}"),
            pieces + 10,
            vec![5; 32],
        );
        add(
            "request",
            &format!("a frame {how}"),
            pieces + 1,
            vec![0, 0, 0, 0, 3, 10, 1, 7],
        );
        add(
            "request",
            &format!("a compressed frame {how}"),
            pieces + 1,
            vec![1, 0, 0, 0, 3, 10, 1, 7],
        );
        add(
            "request",
            &format!("no such method {how}"),
            pieces + 7,
            Vec::new(),
        );
    }
}

fn configurations(add: &mut impl FnMut(&'static str, &str, u8, Vec<u8>)) {
    let texts: [(&str, u8, &str); 7] = [
        (
            "own small",
            0,
            "apiVersion: kekring/v1alpha1\nkind: Configuration\nring:\n  roots:\n  - file: {path: /etc/kekring/root.key}\n",
        ),
        (
            "own whole",
            0,
            "apiVersion: kekring/v1alpha1\nkind: Configuration\nnode: {name: cp-1}\nsocket: {path: /run/kekring/kms.sock, mode: \"0600\", group: \"\", allowUsers: [0], allowGroups: []}\nring:\n  id: \"\"\n  store: {file: {dir: /var/lib/kekring}}\n  mirror: /mnt/mirror\n  roots:\n  - file: {path: /a}\n  - passphrase: {path: /b}\n  - credential: {name: c, encryptedFile: /d}\nrotation: {period: 30d}\ntelemetry: {listen: \"127.0.0.1:9476\", log: {format: json, level: info}}\n",
        ),
        (
            "own JSON",
            0,
            "{\"apiVersion\":\"kekring/v1alpha1\",\"kind\":\"Configuration\",\"ring\":{\"roots\":[{\"file\":{\"path\":\"/a\"}}]}}",
        ),
        (
            "aescbc",
            5,
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n      - name: key1\n        secret: c2VjcmV0IGlzIHNlY3VyZSwgb3IgaXMgaXQ/Cg==\n  - identity: {}\n",
        ),
        (
            "kms",
            6,
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets, configmaps]\n  providers:\n  - kms: {apiVersion: v2, name: kekring, endpoint: \"unix:///run/kekring/kms.sock\", timeout: 3s}\n  - secretbox: {keys: [{name: a, secret: YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY=}]}\n  - identity: {}\n",
        ),
        (
            "several blocks",
            8,
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [events]\n  providers: [{identity: {}}]\n- resources: ['*.apps']\n  providers: [{aesgcm: {keys: [{name: k, secret: c2VjcmV0IGlzIHNlY3VyZQ==}]}}, {identity: {}}]\n- resources: ['*.*']\n  providers: [{identity: {}}]\n",
        ),
        (
            "anchors",
            14,
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: &r [secrets]\n  providers: [{identity: {}}]\n- resources: *r\n",
        ),
    ];
    for (name, choice, text) in texts {
        add("configuration", name, choice, text.as_bytes().to_vec());
    }
}

/// Name, bytes and the whole of each vector that is short enough.
fn vectors(file: &str, field: &str, longest: usize) -> Vec<(String, Vec<u8>, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(file);
    let mut file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let Value::Array(cases) = file["cases"].take() else {
        panic!("no cases")
    };
    let one = |case: Value| {
        let bytes = HEXLOWER.decode(case[field].as_str()?.as_bytes()).ok()?;
        (bytes.len() <= longest).then(|| (case["name"].as_str().unwrap().to_owned(), bytes, case.clone()))
    };
    cases.into_iter().filter_map(one).collect()
}
