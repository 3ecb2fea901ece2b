//! Texts in etcd by somebody who has no key: they stay quotations, and keep no node registered.

use std::time::Duration;

use kekring::etcd::{LeaseId, Op, Span, Txn};
use serde_json::{Value, json};

use crate::cluster::LONG;
use crate::lab::{Lab, Must, ended, wait_for_problem};
use crate::support::notify::Systemd;
use crate::support::{PATIENCE, shown, wait_until};

/// What a terminal would obey, and lines of a log, of sd_notify(3) and of a hint.
const FORGED: &str = "x\u{1b}[2J\u{1b}]0;title\u{7}\r\n1999-01-01T00:00:00Z  INFO forged\nWATCHDOG=trigger\nMAINPID=1\nhint: forged\u{9b}2J\u{202e}";

fn obeyed(it: char) -> bool {
    it != '\n' && it.is_control() || it == '\u{202e}'
}

#[track_caller]
fn is_quoted(what: &str, text: &str) {
    assert!(!text.contains(obeyed), "{what}: {text:?}");
    for line in text.lines() {
        let forged = ["1999", "WATCHDOG=trigger", "MAINPID", "hint: forged"];
        assert!(!forged.iter().any(|it| line.starts_with(it)), "{what}: {text:?}");
    }
}

/// Each text is another one.
fn forge(value: &mut Value) {
    match value {
        Value::String(text) => *text = FORGED.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(forge),
        Value::Object(fields) => fields.values_mut().for_each(forge),
        _ => {}
    }
}

fn put_under_a_lease(lab: &Lab, key: String, value: &[u8]) {
    let client = lab.cluster.client();
    let lease = client.lease_grant(Duration::from_secs(3600), LONG).unwrap().id;
    assert_ne!(lease, LeaseId(0));
    let then = vec![Op::Put {
        key: Span::key(key).unwrap(),
        value: value.to_vec(),
        lease,
    }];
    let txn = Txn {
        then,
        ..Txn::default()
    };
    assert!(client.txn(txn, LONG).unwrap().succeeded);
}

/// The account of the second node, which is dead, with other texts.
fn forged_account(lab: &mut Lab) -> Vec<u8> {
    let key = lab.key("live/cp-2");
    wait_until("the second to say that it lives", PATIENCE, || {
        lab.get(&key).is_some()
    });
    let mut account: Value = serde_json::from_slice(&lab.get(&key).unwrap()).unwrap();
    lab.nodes[1].kill();
    account["connections"] = json!([{"peer": "", "keyId": "", "lastStatus": ""}]);
    for field in ["problems", "warnings", "waitsFor", "protections"] {
        account[field] = json!([""]);
    }
    forge(&mut account);
    account.to_string().into_bytes()
}

pub fn what_others_say_of_a_node_is_shown_and_obeyed_by_no_terminal() {
    let mut lab = Lab::of(2);
    let account = forged_account(&mut lab);
    put_under_a_lease(&lab, lab.key("live/cp-2"), &account);

    let node = &lab.nodes[0];
    let list = shown(&node.must(&["node", "list"]));
    let status = shown(&node.must(&["status"]));

    let table = list.split("--- stdout\n").nth(1).unwrap();
    let table = table.split("--- stderr").next().unwrap();
    assert_eq!(table.lines().count(), 3, "{list:?}");
    assert!(
        list.contains("MAINPID=1") && status.contains("MAINPID=1"),
        "{list:?} {status:?}"
    );
    for (what, text) in [
        ("node list", list),
        ("status", status),
        (
            "node list -o json",
            shown(&node.must(&["node", "list", "-o", "json"])),
        ),
        ("status -o json", shown(&node.must(&["status", "-o", "json"]))),
        ("doctor", shown(&node.verb(&["doctor"]))),
        ("doctor -o json", shown(&node.verb(&["doctor", "-o", "json"]))),
    ] {
        is_quoted(what, &text);
    }
    is_quoted("the log", &node.log());
}

pub fn a_forged_record_without_a_lease_keeps_no_node_registered() {
    let mut lab = Lab::of(2);
    let account = forged_account(&mut lab);
    let key = lab.key("live/cp-2");
    let node = &lab.nodes[0];

    // Whoever lives keeps a lease: there is nothing to say against that.
    put_under_a_lease(&lab, key.clone(), &account);
    let (code, said) = ended(&node.verb(&["node", "remove", "--dead", "cp-2"]));
    assert!(code == 3 && said.contains("it is alive"), "{said}");

    lab.put(key, &account);
    let list = node.json(&["node", "list"]);
    assert_eq!(
        (&list["nodes"][1]["alive"], &list["nodes"][1]["version"]),
        (&json!(false), &json!(""))
    );
    let status = node.json(&["status"]);
    assert_eq!(status["nodes"][1]["serving"], false, "{status}");
    assert!(
        status["warnings"].to_string().contains("no server keeps it"),
        "{status}"
    );
    let doctor = shown(&node.verb(&["doctor"]));
    assert!(doctor.contains("ring/node-forged"), "{doctor}");

    let (code, said) = ended(&node.verb(&["node", "remove", "cp-2"]));
    assert!(
        code == 3 && said.contains("it has no lease") && said.contains("`--dead`"),
        "{said}"
    );
    assert_eq!(node.json(&["node", "list"])["nodes"].as_array().unwrap().len(), 2);
    let (code, said) = ended(&node.verb(&["node", "remove", "--dead", "cp-2"]));
    assert!(code == 0 && said.contains("destroy them"), "{said}");
    lab.wait_until_acknowledged(1);
    node.must(&["rotate"]);
}

pub fn the_name_of_a_key_in_etcd_forges_no_line_of_a_log_and_nothing_for_systemd() {
    let mut lab = Lab::empty(json!({}));
    let long = "x".repeat(900);
    lab.put(format!("/kekring/{FORGED}\nMAINPID=1\n{long}/head"), b"x");
    let node = lab.add();

    let systemd = Systemd::bind(node);
    let server = systemd.start(node);
    let told = systemd.told("is no ring's") + &systemd.told("WATCHDOG=1");
    assert!(server.stop().success());
    node.spawn();
    wait_for_problem(node, "is no ring's");
    wait_until("a line of the log", PATIENCE, || {
        node.log().contains("is no ring's")
    });

    for line in told.lines().filter(|line| !line.is_empty()) {
        let known = ["READY=1", "WATCHDOG=1", "STATUS=", "STOPPING=1"];
        assert!(known.iter().any(|it| line.starts_with(it)), "{told:?}");
    }
    for (what, text) in [
        ("systemd", told),
        ("the log", node.log()),
        ("status", shown(&node.verb(&["status"]))),
        ("init", shown(&node.verb(&["init", "--no-recovery"]))),
        ("rotate", shown(&node.verb(&["rotate"]))),
        ("doctor", shown(&node.verb(&["doctor"]))),
    ] {
        is_quoted(what, &text);
        assert!(!text.contains(&"x".repeat(300)), "{what}: {text:?}");
    }
}
