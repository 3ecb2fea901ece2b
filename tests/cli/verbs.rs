//! The other verbs, their codes and their forms.

use std::fs;

use crate::support::{Plugin, kekring};
use crate::{assert_error, parts};

#[test]
fn help_and_version_are_no_errors() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["help"],
        &["rotate", "--help"],
        &["config", "encryption", "--help"],
    ] {
        let (code, out, err) = parts(&kekring(args).output().unwrap());
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(!out.is_empty());
    }
    let (_, help, _) = parts(&kekring(&["--help"]).output().unwrap());
    for verb in ["serve", "init", "rotate", "status", "keys", "probe", "config"] {
        assert!(help.contains(&format!("  {verb} ")), "{verb}: {help}");
    }
    assert!(
        help.contains("3 refused for safety, 4 not finished yet"),
        "{help}"
    );
}

#[test]
fn a_wrong_command_line_is_2() {
    for args in [
        &[][..],
        &["rotat"],
        &["rotate", "--fresh", "--prepare"],
        &["rotate", "--timeout", "soon"],
        &["status", "-o", "xml"],
        &["status", "--dev", "/x", "--config", "/y"],
        &["keys"],
    ] {
        let (code, out, err) = parts(&kekring(args).output().unwrap());
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(!err.is_empty());
    }
}

#[test]
fn probe_names_what_is_wrong_with_a_plugin() {
    let mut plugin = Plugin::prepared("{}");
    assert_error(&plugin.verb(&["probe"]), 1, "No such file or directory");
    plugin.serve();
    plugin.kill();
    assert_error(&plugin.verb(&["probe"]), 1, "Connection refused");
    fs::remove_file(plugin.dir.join("root.key")).unwrap();
    plugin.spawn();
    crate::support::wait_until("the socket", crate::support::PATIENCE, || {
        parts(&plugin.verb(&["probe"]))
            .2
            .contains("no active key in memory")
    });

    assert_error(&plugin.verb(&["probe"]), 1, "Status failed: Unavailable");
}

#[test]
fn probe_needs_a_socket_and_no_configuration() {
    let plugin = Plugin::start();
    let socket = plugin.socket.to_str().unwrap();

    let (code, out, _) = parts(
        &kekring(&["probe", "--round-trip", "--socket", socket, "-o", "json"])
            .output()
            .unwrap(),
    );

    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!(
        (&answer["version"], &answer["healthz"], &answer["roundTrip"]),
        (&"v2".into(), &"ok".into(), &"ok".into())
    );
}

#[test]
fn a_frozen_plugin_does_not_hold_probe_up() {
    let plugin = Plugin::start();
    plugin.signal(rustix::process::Signal::STOP);

    let output = plugin.verb(&["probe", "--timeout", "1s"]);
    plugin.signal(rustix::process::Signal::CONT);

    assert_error(&output, 1, "did not answer in 1s");
}

#[test]
fn status_without_a_server_shows_the_ring_and_says_so() {
    let plugin = Plugin::prepared("{}");

    let status = plugin.json(&["status"]);
    let (code, text, _) = parts(&plugin.verb(&["status"]));

    assert_eq!(code, 0);
    assert_eq!(status["generation"], 1);
    assert_eq!(status["nodes"][0]["serving"], false);
    assert!(status["warnings"].to_string().contains("no server is running"));
    assert!(text.contains("rotation does not rewrite old data"), "{text}");
    for field in ["active", "next", "nodes", "protections", "warnings"] {
        assert!(!status[field].is_null(), "{field}");
    }
}

#[test]
fn status_of_a_ring_that_does_not_open_is_1_and_shows_the_server() {
    let plugin = Plugin::start();
    fs::remove_file(plugin.dir.join("root.key")).unwrap();

    let (code, out, err) = parts(&plugin.verb(&["status"]));

    assert_eq!(code, 1, "{err}");
    assert!(out.contains("NODE") && out.contains("yes"), "{out}");
    assert!(err.contains("hint: "), "{err}");
}

#[test]
fn keys_are_listed_oldest_first_with_the_hash_that_kube_apiserver_shows() {
    let plugin = Plugin::prepared("{}");
    assert!(plugin.verb(&["rotate"]).status.success());

    let listing = plugin.json(&["keys", "list"]);
    let (_, text, _) = parts(&plugin.verb(&["keys", "list"]));

    let keys = listing["keys"].as_array().unwrap();
    let sequences: Vec<_> = keys.iter().map(|key| key["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, [1, 2, 3]);
    let id = keys[1]["id"].as_str().unwrap();
    let hash = data_encoding::HEXLOWER.encode(&kekring::crypto::kdf::sha256(id.as_bytes()));
    assert_eq!(keys[1]["hash"], format!("sha256:{hash}"));
    assert!(keys[1]["activated"].as_str().unwrap().ends_with('Z'));
    assert!(text.starts_with("KEY ID"), "{text}");
    assert_eq!(text.lines().count(), 4);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let plugin = Plugin::prepared("{}");
    let mut child = plugin
        .command(&["keys", "list"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();

    drop(child.stdout.take());

    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn only_a_key_that_is_not_active_is_suspended_and_its_name_is_given_in_full() {
    let plugin = Plugin::prepared("{}");
    let keys = plugin.json(&["keys", "list"])["keys"].clone();
    let id = |at: usize| keys[at]["id"].as_str().unwrap().to_owned();
    let unknown = "k9-00112233445566778899aabbccddeeff";

    assert_error(
        &plugin.verb(&["keys", "suspend", &id(0)]),
        3,
        "is active; rotate first",
    );
    assert_error(
        &plugin.verb(&["keys", "suspend", &id(1)[..10]]),
        2,
        "not a key_id of the form",
    );
    assert_error(
        &plugin.verb(&["keys", "suspend", unknown]),
        3,
        "is not in the ring",
    );
    assert_error(&plugin.verb(&["keys", "resume", &id(1)]), 3, "is already so");
    let (code, out, err) = parts(&plugin.verb(&["keys", "suspend", &id(1)]));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("what it encrypted cannot be read until"), "{out}");
    assert_error(&plugin.verb(&["rotate"]), 3, "is suspended");
    assert!(plugin.verb(&["keys", "resume", &id(1)]).status.success());
    assert!(plugin.verb(&["rotate"]).status.success());
}
