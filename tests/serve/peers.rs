//! Which users are let in, and what a probe says to who is not.

use std::fs;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::door::probe_as_any_user;
use crate::support::{PATIENCE, Plugin, shown, wait_until};
use kekring_kit::Missing;

#[test]
#[needs(root)]
fn users_that_are_listed_get_in_and_the_overflow_number_is_one_where_every_user_is_mapped()
-> Result<(), Missing> {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    if map.split_ascii_whitespace().ne(["0", "0", "4294967295"]) {
        return Err(Missing::Tool("a user namespace that maps every user".into()));
    }
    let plugin = Plugin::with("{socket: {allowUsers: [0, 4711, 65534]}}");
    let probe_as = probe_as_any_user(&plugin);

    let (listed, overflow, other) = (probe_as(4711), probe_as(65534), probe_as(65533));

    assert!(listed.status.success(), "{}", shown(&listed));
    assert!(overflow.status.success(), "{}", shown(&overflow));
    assert_eq!(other.status.code(), Some(3), "{}", shown(&other));
    let status = status_of(&plugin);
    assert_eq!(status["admittedUsers"], json!([0, 4711, 65534]));
    assert_eq!(
        status["warnings"].to_string().matches("65534").count(),
        0,
        "{status}"
    );
    Ok(())
}

/// Who has no mapping in the server's namespace is shown as the overflow number, and could be anybody.
#[test]
#[needs(root)]
fn the_overflow_number_is_refused_where_it_could_be_anybody_and_the_server_says_so() {
    let mut plugin = Plugin::prepared("{socket: {allowUsers: [0, 65534]}}");
    let mut unshared = Command::new("unshare");
    unshared.args(["--user", "--map-root-user", env!("CARGO_BIN_EXE_kekring")]);
    let serve = plugin.command(&["serve"]);
    unshared.args(serve.get_args());
    plugin.spawn_as(unshared);
    wait_until("it to serve who is mapped", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });
    let probe_as = probe_as_any_user(&plugin);

    let overflow = probe_as(65534);

    assert_eq!(overflow.status.code(), Some(3), "{}", shown(&overflow));
    let status = status_of(&plugin);
    assert_eq!(status["admittedUsers"], json!([0]));
    let warnings = status["warnings"].to_string();
    assert!(
        warnings.contains("socket.allowUsers has 65534, who is not let in"),
        "{warnings}"
    );
    let check = plugin.verb(&["config", "check"]);
    assert!(shown(&check).contains("65534 is let in where the server's user namespace maps every number"));
}

/// A probe says whether it is this user that may not ask, or nobody is there, or nobody answers.
#[test]
#[needs(root)]
fn a_probe_tells_a_refused_user_from_a_server_that_is_away_and_one_that_hangs() {
    let mut plugin = Plugin::start();
    let probe_as = probe_as_any_user(&plugin);
    let says = |output: &Output, code: i32, why: &str| {
        assert_eq!(output.status.code(), Some(code), "{}", shown(output));
        assert!(shown(output).contains(why), "{}", shown(output));
    };

    says(&probe_as(4711), 3, "does not let a user in, and this is uid 4711");
    plugin.signal(Signal::STOP);
    says(&probe_as(4711), 1, "did not answer in 3s");
    plugin.signal(Signal::CONT);
    plugin.kill();
    says(&probe_as(4711), 1, "Connection refused");
    fs::remove_file(&plugin.socket).unwrap();
    says(&probe_as(4711), 1, "No such file");
}

fn status_of(plugin: &Plugin) -> Value {
    wait_until("its status", PATIENCE, || {
        plugin.dir.join("run/status.json").exists()
    });
    serde_json::from_slice(&fs::read(plugin.dir.join("run/status.json")).unwrap()).unwrap()
}
