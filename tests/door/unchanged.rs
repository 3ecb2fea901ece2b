//! Nothing in a request changes state, whatever it names.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use kekring::proto::kms;
use prost::Message;
use serde_json::{Value, json};
use tonic::Code;

use crate::client::Client;
use crate::raw::DECRYPT;
use crate::support::{PATIENCE, Plugin, wait_until};

/// A `DecryptRequest` with bytes where the protocol has text.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(bytes, tag = "1")]
    ciphertext: Vec<u8>,
    #[prost(bytes, tag = "3")]
    key_id: Vec<u8>,
}

/// Every file of the ring and of its mirror, with its content.
fn stored(plugin: &Plugin) -> BTreeMap<PathBuf, Vec<u8>> {
    let dirs = ["ring", "mirror"].map(|name| fs::read_dir(plugin.dir.join(name)).unwrap());
    let paths = dirs.into_iter().flatten().map(|entry| entry.unwrap().path());
    paths
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// What the server says of its ring in `status.json`: all but times and connections.
fn told(plugin: &Plugin) -> Value {
    let text = fs::read(plugin.socket.with_file_name("status.json")).unwrap_or_default();
    let Ok(Value::Object(mut told)) = serde_json::from_slice(&text) else {
        return Value::Null;
    };
    told.retain(|name, _| !["written", "writtenUnix", "connections"].contains(&name.as_str()));
    Value::Object(told)
}

/// Names that are none of the ring's, with the one-way part of one that is.
fn hostile_names(own: &str) -> Vec<Vec<u8>> {
    vec![
        format!("k{}-{own}", u64::MAX).into(),
        format!("k{}-{own}", u64::MAX - 1).into(),
        format!("k18446744073709551616-{own}").into(),
        format!("k0-{own}").into(),
        format!("k-1-{own}").into(),
        format!("k01-{own}").into(),
        Vec::new(),
        vec![b'k'; 1024],
        vec![0xff, 0xfe, 0],
        b"../../../etc/shadow".to_vec(),
        b"k1-\0\x1b[2J\x07".to_vec(),
        b"k1\nERROR a forged line\r\nERROR another".to_vec(),
        "k1-\u{202e}\u{2028}".into(),
    ]
}

#[test]
fn a_decrypt_under_any_name_changes_nothing_and_forges_no_line() {
    let plugin = Plugin::unmade("{}");
    plugin.configure_mirrored(&["root.key"]);
    let mut plugin = plugin;
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    wait_until("the status file", PATIENCE, || {
        told(&plugin)["active"].is_string()
    });
    let before = (stored(&plugin), told(&plugin), plugin.json(&["keys", "list"]));
    let own = sealed.key_id.split_once('-').unwrap().1.to_owned();

    let names = hostile_names(&own);
    let count = names.len();
    for key_id in names {
        let request = Named {
            ciphertext: sealed.ciphertext.clone(),
            key_id: key_id.clone(),
        };
        let code = client.code(DECRYPT, request);
        let refused = [Code::InvalidArgument, Code::NotFound].contains(&code);
        assert!(refused, "{code:?} for {}", key_id.escape_ascii());
    }
    let huge = Named {
        ciphertext: sealed.ciphertext.clone(),
        key_id: vec![b'k'; 1 << 20],
    };
    assert_eq!(client.code(DECRYPT, huge), Code::ResourceExhausted);

    let written = fs::metadata(plugin.socket.with_file_name("status.json"))
        .unwrap()
        .modified()
        .unwrap();
    wait_until("a status file from afterwards", PATIENCE, || {
        let file = fs::metadata(plugin.socket.with_file_name("status.json"));
        file.is_ok_and(|it| it.modified().unwrap() > written)
    });
    let after = (stored(&plugin), told(&plugin), plugin.json(&["keys", "list"]));
    assert!(before == after, "{before:#?}\nbecame\n{after:#?}");
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    let log = plugin.log();
    assert!(log.matches("Decrypt refused").count() >= count - 2, "{log}");
    assert!(!log.lines().any(|line| line.starts_with("ERROR")), "{log}");
    assert!(log.is_ascii() && !log.contains(['\u{1b}', '\0', '\r']), "{log}");
    assert!(plugin.verb(&["rotate"]).status.success());
    let keys = plugin.json(&["keys", "list"]);
    let sequences: Vec<&Value> = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["sequence"])
        .collect();
    assert_eq!(json!(sequences), json!([1, 2, 3]), "the next number is the next");
}

#[test]
fn a_thousand_names_from_outside_leave_no_series_and_no_file() {
    let plugin = Plugin::with("{telemetry: {listen: '127.0.0.1:0'}}");
    let client = Client::connect(&plugin.socket);
    let page = || {
        crate::support::scrape::get(&plugin.telemetry(), "/metrics")
            .unwrap()
            .body
    };
    let refuse = |number: u64| {
        let request = kms::DecryptRequest {
            ciphertext: vec![1; 142],
            // Names of another form need no read of the store.
            key_id: format!("K{number}-\n"),
            ..Default::default()
        };
        client.decrypt_with(request).unwrap_err();
    };
    refuse(0);
    let (before, files) = (
        page().lines().count(),
        fs::read_dir(plugin.dir.join("ring")).unwrap().count(),
    );

    (1..1000).for_each(refuse);

    assert_eq!(page().lines().count(), before);
    assert_eq!(fs::read_dir(plugin.dir.join("ring")).unwrap().count(), files);
}
