//! A root that is slow, hangs, or leaves something behind holds up nothing that another root opens.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{PATIENCE, Plugin, shown, wait_until};

/// Long beyond the time that a root gets.
const FOR_EVER: &str = "sleep 600";

/// A ring that a credential opens and a key file, in this order; the credential's program is what `script` says from then on.
fn with_a_credential(script: &str) -> Plugin {
    let plugin = Plugin::unmade("{}");
    let sealed = plugin.dir.join("sealed");
    fs::write(&sealed, "sealed").unwrap();
    fs::write(plugin.dir.join("plain"), [3; 32]).unwrap();
    // A server's child may write where the server may: beside the socket.
    for name in ["bin", "run"] {
        fs::create_dir(plugin.dir.join(name)).unwrap();
    }
    let roots = json!([
        {"credential": {"name": "kekring-root", "encryptedFile": sealed}},
        {"file": {"path": plugin.dir.join("root.key")}},
    ]);
    plugin.configure(&json!({"ring": {"roots": roots}}).to_string());
    systemd_creds(&plugin, "cat plain");
    let mut init = plugin.command(&["init", "--no-recovery"]);
    let made = init.env("PATH", path(&plugin)).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    systemd_creds(&plugin, script);
    plugin
}

fn systemd_creds(plugin: &Plugin, script: &str) {
    let program = plugin.dir.join("bin/systemd-creds");
    let dir = plugin.dir.display();
    fs::write(
        &program,
        format!("#!/bin/sh\ncd {dir}\necho $$ >>run/pids\n{script}\n"),
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn path(plugin: &Plugin) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", plugin.dir.join("bin").display())
}

/// Starts the server, its program first in the path.
fn spawn(plugin: &mut Plugin) {
    fs::remove_file(plugin.dir.join("run/pids")).unwrap();
    let mut serve = plugin.command(&["serve"]);
    serve.env("PATH", path(plugin));
    plugin.spawn_as(serve);
}

/// How long a start took until a probe was answered.
fn start(plugin: &mut Plugin) -> Duration {
    let began = Instant::now();
    spawn(plugin);
    plugin.wait_until_it_answers();
    began.elapsed()
}

/// What the programs have noted of themselves and their children.
fn noted(plugin: &Plugin) -> Vec<String> {
    let pids = fs::read_to_string(plugin.dir.join("run/pids")).unwrap_or_default();
    pids.lines().map(str::to_owned).collect()
}

fn is_alive(pid: &String) -> bool {
    let stat = fs::read_to_string(PathBuf::from("/proc").join(pid).join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_start_takes_as_long_as_the_fastest_root() {
    let child_on_the_pipe = format!("{FOR_EVER} & echo $! >>run/pids; exit 1");
    let child_and_a_key = format!("{FOR_EVER} & echo $! >>run/pids; cat plain");
    let forms = [
        ("good", "cat plain", "credential kekring-root: opened it"),
        ("slow", "sleep 2; cat plain", "file "),
        ("hanging", FOR_EVER, "credential kekring-root: has not answered"),
        (
            "failing, its child on the pipe",
            &child_on_the_pipe,
            "said nothing; file ",
        ),
        (
            "good, its child on the pipe",
            &child_and_a_key,
            "credential kekring-root: opened it",
        ),
        ("failing", "echo no TPM here >&2; exit 1", "no TPM here; file "),
    ];
    for (name, script, told) in forms {
        let mut plugin = with_a_credential(script);

        let took = start(&mut plugin);

        eprintln!(
            "a first root that is {name}: Status after {} ms",
            took.as_millis()
        );
        // The one that hangs would take 30 s.
        assert!(took < Duration::from_secs(15), "{name}: {took:?}");
        let status = plugin.verb(&["status"]);
        assert!(status.status.success(), "{name}: {}", shown(&status));
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        let line = status.lines().find(|line| line.starts_with("opened by"));
        assert_eq!(
            line.is_some(),
            told.contains("file ") || told.contains("has not"),
            "{name}: {status}"
        );
        assert!(line.is_none_or(|line| line.contains(told)), "{name}: {status}");
        let log = plugin.log();
        let line = log
            .lines()
            .find(|line| line.contains("ring opened"))
            .unwrap_or(&log);
        assert!(line.contains(told), "{name}: {line}");
        match name.contains("child") {
            true => assert_eq!(noted(&plugin).len(), 2),
            // What is still at work then ends with the server.
            false => assert!(plugin.stop().success()),
        }
        wait_until("what it started to be gone", PATIENCE, || {
            !noted(&plugin).iter().any(is_alive)
        });
    }
}

#[test]
fn status_names_what_each_root_is_doing_and_a_root_that_hangs_is_ended_with_all_that_it_started() {
    let mut plugin = with_a_credential(&format!("{FOR_EVER} & echo $! >>run/pids; wait"));
    fs::remove_file(plugin.dir.join("root.key")).unwrap();
    spawn(&mut plugin);

    let told = |what: &[&str]| {
        let probe = plugin.verb(&["probe"]);
        let text = String::from_utf8_lossy(&probe.stderr).into_owned();
        what.iter().all(|it| text.contains(it))
    };
    wait_until("the causes", PATIENCE, || {
        told(&[
            "the ring is being opened: credential kekring-root: has been asked for",
            "root.key: unavailable: cannot read",
        ])
    });
    assert_eq!(noted(&plugin).len(), 2, "it was started once");
    wait_until("the root to be given up", 3 * PATIENCE, || {
        told(&["did not end in 30 s"])
    });

    wait_until("all of it to be gone", PATIENCE, || {
        let first = noted(&plugin).into_iter().take(2);
        !first.into_iter().any(|it| is_alive(&it))
    });
    assert!(plugin.stop().success());
    wait_until("the one after it to be gone", PATIENCE, || {
        !noted(&plugin).iter().any(is_alive)
    });
}

#[test]
fn what_a_slow_root_brings_opens_the_ring_where_no_other_does() {
    let mut plugin = with_a_credential("sleep 6; cat plain");
    fs::remove_file(plugin.dir.join("root.key")).unwrap();

    let took = start(&mut plugin);

    eprintln!(
        "a root alone that takes 6 s: Status after {} ms",
        took.as_millis()
    );
    assert_eq!(noted(&plugin).len(), 1, "it was asked once");
    assert!(
        plugin.log().contains("credential kekring-root: opened it after"),
        "{}",
        plugin.log()
    );
}
