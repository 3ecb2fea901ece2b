//! A root stops a start and never a running server; a ring key that was replaced is taken as soon as a root opens it.

use std::fs;

use serde_json::json;

use crate::client::Client;
use crate::support::{PATIENCE, Plugin, wait_until};

fn two_roots(plugin: &Plugin) -> String {
    let roots = ["root.key", "second.key"].map(|name| json!({"file": {"path": plugin.dir.join(name)}}));
    json!({"ring": {"roots": roots}}).to_string()
}

fn slot(plugin: &Plugin, at: usize) -> String {
    let slots = plugin.json(&["root", "list"]);
    slots["slots"][at]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_root_that_goes_away_under_a_running_server_stops_nothing_but_the_next_start() {
    let mut plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    fs::rename(plugin.dir.join("root.key"), plugin.dir.join("away")).unwrap();

    plugin.signal(rustix::process::Signal::HUP);
    wait_until("the ring to be read again", PATIENCE, || {
        plugin.log().contains("reading the ring again")
    });
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    client.status().unwrap();
    assert!(plugin.stop().success());

    plugin.spawn();
    let status = || plugin.verb(&["probe"]);
    wait_until("the cause on the socket", PATIENCE, || {
        String::from_utf8_lossy(&status().stderr).contains("unavailable: cannot read")
    });
    fs::rename(plugin.dir.join("away"), plugin.dir.join("root.key")).unwrap();
    wait_until("the ring to open by itself", PATIENCE, || {
        status().status.success()
    });
    assert_eq!(Client::connect(&plugin.socket).decrypt(&sealed).unwrap(), [7; 32]);
}

#[test]
fn a_replaced_ring_key_is_taken_while_requests_go_on() {
    let mut plugin = Plugin::prepared("{}");
    plugin.configure(&two_roots(&plugin));
    assert!(plugin.verb(&["root", "add"]).status.success());
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();

    let removed = plugin.json(&["root", "remove", &slot(&plugin, 0)]);

    assert_eq!(removed["waiting"], json!([]));
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    let rotated = plugin.json(&["rotate"]);
    assert_eq!(
        client.status().unwrap().key_id,
        rotated["active"].as_str().unwrap()
    );
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
}

#[test]
fn a_server_that_no_root_helps_to_the_new_ring_key_keeps_the_ring_in_memory_and_says_so() {
    let mut plugin = Plugin::prepared("{}");
    let old = fs::read_to_string(&plugin.config).unwrap();
    plugin.configure(&two_roots(&plugin));
    assert!(plugin.verb(&["root", "add"]).status.success());
    let new = fs::read_to_string(&plugin.config).unwrap();
    // The server knows the first root only, which is the one that is removed.
    fs::write(&plugin.config, old).unwrap();
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    fs::write(&plugin.config, new).unwrap();

    let removed = plugin.verb(&["root", "remove", &slot(&plugin, 0), "--timeout", "1s"]);

    assert_eq!(
        removed.status.code(),
        Some(4),
        "{}",
        crate::support::shown(&removed)
    );
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    client.status().unwrap();
    wait_until("the log to name the cause", PATIENCE, || {
        let log = plugin.log();
        log.contains("the ring in memory is kept") && log.contains("wrong root")
    });
}
