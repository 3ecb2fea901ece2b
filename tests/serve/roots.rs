//! A root stops a start and never a running server; a ring key that was replaced is taken as soon as a root opens it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::json;

use crate::client::Client;
use crate::support::{Killed, PATIENCE, Plugin, shown, wait_until};

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

    assert_eq!(removed.status.code(), Some(4), "{}", shown(&removed));
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    client.status().unwrap();
    wait_until("the log to name the cause", PATIENCE, || {
        let log = plugin.log();
        log.contains("the ring in memory is kept") && log.contains("wrong root")
    });
}

#[test]
fn a_credential_of_the_unit_opens_the_ring_and_verbs_outside_say_what_they_lack() {
    let plugin = Plugin::unmade("{}");
    let credentials = plugin.dir.join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join("kekring-root"), [3; 32]).unwrap();
    // As systemd hands it out where its owner is root and the service has it by an ACL.
    fs::set_permissions(
        credentials.join("kekring-root"),
        fs::Permissions::from_mode(0o440),
    )
    .unwrap();
    plugin.configure("{ring: {roots: [{credential: {name: kekring-root}}]}}");
    let in_unit = |args: &[&str]| {
        let mut command = plugin.command(args);
        command.env("CREDENTIALS_DIRECTORY", &credentials);
        command
    };
    let made = in_unit(&["init", "--no-recovery"]).output().unwrap();
    assert!(made.status.success(), "{}", shown(&made));

    let server = Killed(in_unit(&["serve"]).stderr(Stdio::null()).spawn().unwrap());
    wait_until("the unit to answer", PATIENCE, || {
        plugin.verb(&["probe", "--round-trip"]).status.success()
    });

    let outside = plugin.verb(&["keys", "list"]);
    let text = String::from_utf8_lossy(&outside.stderr).into_owned();
    assert!(
        !outside.status.success() && text.contains("set its encryptedFile"),
        "{text}"
    );
    fs::set_permissions(
        credentials.join("kekring-root"),
        fs::Permissions::from_mode(0o444),
    )
    .unwrap();
    let open = in_unit(&["keys", "list"]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&open.stderr).contains("mode 0444"),
        "{}",
        shown(&open)
    );
    drop(server);
}
