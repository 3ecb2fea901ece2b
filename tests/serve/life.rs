//! Start, reload, stop; what systemd and `kekring status` are told.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::support::notify::Systemd;
use crate::support::{Killed, PATIENCE, Plugin, Raised, kekring, scratch, shown, wait_until};

#[test]
fn systemd_is_told_ready_with_the_key_that_is_served() {
    let plugin = Plugin::prepared("{}");

    let systemd = Systemd::bind(&plugin);
    let server = systemd.start(&plugin);
    let text = systemd.told("READY=1");

    assert!(
        plugin.verb(&["probe"]).status.success(),
        "ready means that it answers"
    );
    assert!(server.stop().success());
    assert!(text.contains("STATUS=serving k1-"), "{text}");
}

#[test]
fn systemd_is_told_ready_with_the_cause_when_the_root_is_missing() {
    let plugin = Plugin::prepared("{}");
    fs::remove_file(plugin.dir.join("root.key")).unwrap();

    let systemd = Systemd::bind(&plugin);
    let server = systemd.start(&plugin);
    let text = systemd.told("READY=1");

    assert!(server.stop().success());
    assert!(text.contains("STATUS=cannot open the ring"), "{text}");
}

#[test]
fn sighup_reads_the_ring_again_between_reloading_and_ready() {
    let plugin = Plugin::prepared("{}");
    let systemd = Systemd::bind(&plugin);
    let server = systemd.start(&plugin);
    systemd.told("READY=1");
    let mark = plugin.dir.join("ring/mark");
    fs::remove_file(&mark).unwrap();

    kill_process(Pid::from_child(&server.0), Signal::HUP).unwrap();
    let text = systemd.told("READY=1");

    assert!(
        text.contains("RELOADING=1") && text.contains("MONOTONIC_USEC="),
        "{text}"
    );
    // By its name alone a store without a mark is unchanged: this took a full read.
    assert!(mark.exists());
}

#[test]
fn a_stop_ends_open_connections_and_leaves_nothing_behind() {
    let mut plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    client.status().unwrap();

    let status = plugin.stop();

    assert_eq!(status.code(), Some(0), "{}", plugin.log());
    assert!(!plugin.socket.exists());
    assert!(!plugin.socket.with_file_name("status.json").exists());
    assert!(!plugin.log().contains("were cut"), "{}", plugin.log());
}

#[test]
fn requests_in_flight_are_answered_while_it_stops() {
    let mut plugin = Plugin::start();
    let socket = plugin.socket.clone();
    let (stopping, over) = (AtomicBool::new(false), AtomicBool::new(false));

    // A request fails only once the listener is gone, never by being cut off in the middle.
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let client = Client::connect(&socket);
                    let mut answered = 0;
                    while !over.load(Ordering::SeqCst) {
                        match client.encrypt(&[7; 32]) {
                            Ok(_) => answered += 1,
                            Err(_) if stopping.load(Ordering::SeqCst) => return answered,
                            Err(status) => panic!("after {answered} answers: {status:?}"),
                        }
                    }
                    answered
                })
            })
            .collect();
        let _raised = Raised(&over);
        wait_until("calls to be under way", PATIENCE, || {
            plugin.log().matches("Encrypt done").count() > 20
        });
        stopping.store(true, Ordering::SeqCst);
        let status = plugin.stop();

        assert!(status.success());
        for caller in callers {
            assert!(caller.join().unwrap() > 0);
        }
    });
    assert!(!plugin.log().contains("were cut"), "{}", plugin.log());
}

#[test]
fn the_same_keys_are_served_after_a_kill() {
    let mut plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let (key_id, sealed) = (client.key_id(), client.encrypt(&[7; 32]).unwrap());

    plugin.kill();
    plugin.serve();

    let client = Client::connect(&plugin.socket);
    assert_eq!(client.key_id(), key_id);
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
}

#[test]
fn the_status_file_says_what_is_served_and_no_secret() {
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let key_id = client.key_id();
    let path = plugin.socket.with_file_name("status.json");

    let row = |plugin: &Plugin| plugin.json(&["status"])["nodes"][0].clone();
    wait_until("the connection to be listed", PATIENCE, || {
        row(&plugin)["connections"][0]["keyId"] == key_id.as_str()
    });

    let node = row(&plugin);
    assert_eq!(node["serving"], true);
    assert_eq!(node["name"], "node-under-test");
    assert_eq!(node["active"], key_id.as_str());
    assert!(node["protections"].to_string().contains("not dumpable"));
    assert!(
        node["connections"][0]["lastStatus"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn the_process_cannot_be_dumped() {
    let plugin = Plugin::start();
    let pid = plugin.pid().as_raw_nonzero();

    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();

    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
}

#[test]
fn the_first_command_of_the_readme_makes_a_ring_and_serves_it() {
    let scratch = scratch();
    let dir = scratch.path().join("dev");
    let stdout = fs::File::create(scratch.path().join("stdout")).unwrap();
    let server = kekring(&["serve", "--dev", dir.to_str().unwrap()])
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn();
    let _server = Killed(server.unwrap());
    let verb = |args: &[&str]| kekring(args).arg("--dev").arg(&dir).output().unwrap();
    wait_until("the plugin", PATIENCE, || {
        verb(&["probe", "--round-trip"]).status.success()
    });

    let said = fs::read_to_string(scratch.path().join("stdout")).unwrap();
    let second = verb(&["serve"]);
    let status = verb(&["status"]);

    assert!(
        said.contains("development ring") && said.contains("kind: EncryptionConfiguration"),
        "{said}"
    );
    assert!(
        said.contains(&format!("endpoint: unix://{}/kms.sock", dir.display())),
        "{said}"
    );
    assert_eq!(second.status.code(), Some(3), "{}", shown(&second));
    assert!(String::from_utf8_lossy(&status.stdout).contains("development ring"));
    for (path, mode) in [
        ("", 0o700),
        ("ring", 0o700),
        ("root.key", 0o600),
        ("kms.sock", 0o600),
    ] {
        assert_eq!(
            fs::symlink_metadata(dir.join(path)).unwrap().mode() & 0o777,
            mode,
            "{path}"
        );
    }
}

#[test]
fn a_development_ring_is_made_only_where_nothing_is() {
    let scratch = scratch();
    fs::write(scratch.path().join("something"), "of yours").unwrap();

    let output = kekring(&["serve", "--dev", scratch.path().to_str().unwrap()])
        .output()
        .unwrap();

    assert_eq!(output.status.code(), Some(3), "{}", shown(&output));
    assert_eq!(names(scratch.path()), ["something"]);
}

#[test]
fn a_second_node_s_machine_serves_the_ring_and_does_not_rotate_it() {
    let mut plugin = Plugin::prepared("{}");
    let id = plugin.dir.join("machine-id");
    fs::write(&id, "00000000000000000000000000000001\n").unwrap();
    plugin.configure(&format!(
        "{{node: {{machineIdFile: {}}}, rotation: {{period: 1s, allowShort: true}}}}",
        id.display()
    ));
    plugin.serve();

    let warnings = plugin.json(&["status"])["warnings"].to_string();
    let rotate = plugin.verb(&["rotate"]);

    assert!(warnings.contains("made on another machine"), "{warnings}");
    let told =
        "the ring is frozen, it serves and does not rotate: this file ring was made on another machine";
    wait_until("the log to say so, with what lifts it", PATIENCE, || {
        plugin.log().contains(told) && plugin.log().contains("kekring restore --adopt")
    });
    assert_eq!(rotate.status.code(), Some(3), "{}", shown(&rotate));
    assert_eq!(plugin.json(&["status"])["generation"], 1);
}

#[test]
fn a_mirror_and_its_mark_bring_a_lost_ring_back() {
    let plugin = Plugin::unmade("{}");
    let mirror = plugin.dir.join("mirror");
    plugin.configure(&format!("{{ring: {{mirror: {}}}}}", mirror.display()));
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
    let mut plugin = plugin;
    plugin.serve();
    let sealed = Client::connect(&plugin.socket).encrypt(&[7; 32]).unwrap();
    assert!(plugin.verb(&["rotate"]).status.success());
    plugin.kill();
    assert_eq!(
        names(&mirror)
            .iter()
            .filter(|name| name.ends_with(".ring"))
            .count(),
        2
    );

    fs::remove_dir_all(plugin.dir.join("ring")).unwrap();
    fs::create_dir(plugin.dir.join("ring")).unwrap();
    fs::set_permissions(plugin.dir.join("ring"), fs::Permissions::from_mode(0o700)).unwrap();
    plugin.serve();

    let client = Client::connect(&plugin.socket);
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    assert!(client.key_id().starts_with("k2-"));
    assert!(
        names(&plugin.dir.join("ring"))
            .iter()
            .any(|name| name.starts_with("gen-2-"))
    );
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
