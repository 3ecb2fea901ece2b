//! The running server.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use kekring::telemetry::now;
use serde_json::{Value, json};

use crate::support::{PATIENCE, wait_until};
use crate::world::Node;

#[test]
fn a_server_that_does_not_run_is_missed_and_is_found_once_it_does() {
    let mut node = Node::good();
    let seen = node.doctor();
    assert_eq!(seen.code, 1);
    assert!(
        seen.finding("failure", "server/answers")
            .remedy
            .contains("serve`")
    );
    assert!(seen.finding("skipped", "server/status").remedy.contains("serve`"));

    node.serve();

    let seen = node.doctor();
    assert_eq!(seen.code, 0, "{:?}", seen.findings);
    for id in [
        "server/answers",
        "server/one",
        "server/status",
        "server/key",
        "server/version",
        "server/node-name",
        "server/problem",
        "server/polled",
        "server/refused-peers",
    ] {
        seen.finding("ok", id);
    }
}

#[test]
fn a_server_that_is_frozen_is_not_waited_for() {
    let node = Node::good();
    fs::create_dir(node.path("run")).unwrap();
    let _silent = UnixListener::bind(&node.plugin.socket).unwrap();
    let started = Instant::now();

    let finding = node.doctor().finding("failure", "server/answers");

    assert!(finding.message.contains("did not answer"), "{finding:?}");
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn two_sockets_at_one_path_are_named() {
    let node = Node::served();
    let good = node.doctor();
    let moved = node.path("run/moved");
    fs::rename(&node.plugin.socket, &moved).unwrap();
    // The server binds again what was removed: now there are two.
    wait_until("the socket to be bound again", PATIENCE, || {
        node.plugin.verb(&["probe"]).status.success()
    });
    let second = node.path("run/second.sock");
    node.doctor().no_worse(&good);
    let first = UnixListener::bind(&second).unwrap();
    fs::remove_file(&second).unwrap();
    let other = UnixListener::bind(&second).unwrap();
    node.configure(json!({"socket": {"path": second}}));

    let finding = node.doctor().finding("warning", "server/one");

    assert!(finding.message.starts_with("2 sockets listen"), "{finding:?}");
    drop((first, other));
}

/// What a server may say of itself, and what comes of it.
fn said() -> [(Value, &'static str, &'static str, &'static str); 7] {
    let refused = "landlock: refused (not supported)";
    [
        (
            json!({"version": "0.0.9"}),
            "warning",
            "server/version",
            "restart it",
        ),
        (
            json!({"node": "before"}),
            "warning",
            "server/node-name",
            "restart it",
        ),
        (
            json!({"protections": [refused]}),
            "warning",
            "server/protections",
            "use a kernel",
        ),
        (
            json!({"problems": ["the ring is upside down"]}),
            "failure",
            "server/problem",
            "README.md",
        ),
        (
            json!({"warnings": ["it rains"]}),
            "warning",
            "server/warning",
            "README.md",
        ),
        (
            json!({"refusedPeers": 3}),
            "warning",
            "server/refused-peers",
            "socket.allowUsers",
        ),
        (
            json!({"connections": []}),
            "warning",
            "server/polled",
            "/readyz?verbose",
        ),
    ]
}

#[test]
fn what_it_says_of_itself_is_heeded() {
    let mut node = Node::served();
    let good = node.doctor();
    let path = node.path("run/status.json");
    let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    // Else it writes its own account meanwhile. Its last one stands for a server that is there.
    node.plugin.kill();

    for (said, level, id, remedy) in said() {
        let mut status = whole.clone();
        crate::support::merge(&mut status, said);
        status["writtenUnix"] = json!(now().0);
        fs::write(&path, status.to_string()).unwrap();

        let seen = node.doctor();

        seen.finding("failure", "server/answers");
        let mut new: Vec<_> = seen.troubles().difference(&good.troubles()).cloned().collect();
        new.retain(|(_, other)| other != "server/answers");
        // A machine that grants less has that one already.
        let expected = new == [(level.to_owned(), id.to_owned())];
        assert!(
            expected || new.is_empty() && id == "server/protections",
            "{id}: {new:?}"
        );
        let finding = seen.finding(level, id);
        assert!(finding.remedy.contains(remedy), "{finding:?}");
    }
}

#[test]
fn a_server_that_has_not_taken_the_ring_reports_another_key() {
    let node = Node::served();
    let good = node.doctor();
    // It looks into the ring's directory by its path; the ring goes on in a copy of it.
    let copy = node.path("ring-2");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(node.path("ring"))
        .arg(&copy)
        .status()
        .unwrap();
    assert!(status.success());
    node.configure(json!({"ring": {"store": {"file": {"dir": copy}}, "mirror": null}}));
    // Done, and the server will never take it.
    assert_eq!(
        node.plugin.verb(&["rotate", "--timeout", "0s"]).status.code(),
        Some(4)
    );
    node.must(&["backup", node.path("backup-2").to_str().unwrap()]);

    let seen = node.doctor();

    let finding = seen.only(&good, "warning", "server/key");
    assert!(finding.message.contains("active one is k2-"), "{finding:?}");
}
