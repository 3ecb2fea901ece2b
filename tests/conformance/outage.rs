//! The plugin goes away, or comes back without what opens its ring.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use rustix::process::Signal;

use crate::client::Client;
use crate::client::Stored;
use crate::golang::Program;
use crate::lab::{
    API, Lab, NOTICED, PROVIDER, VERBOSE, encryption_configuration, encrypts, holds, key, server_status,
};
use crate::support::{PATIENCE, Plugin, wait_until};

/// kube-apiserver writes under a seed for this long after the last good Status (encryptionconfig/config.go).
const SEED_LIFE: u64 = 180;
const RESTARTS: usize = 5;
const WORKERS: usize = 4;
/// Of every worker between two restarts.
const ROUNDS: u64 = 20;

/// The plugin starts again without its root key: it lives, and cannot open its ring.
pub fn seal(lab: &mut Lab) {
    let root = lab.plugin.dir.join("root.key");
    fs::rename(&root, root.with_extension("away")).unwrap();
    assert!(lab.plugin.stop().success());
    lab.plugin.spawn();
    wait_until("the sealed plugin to answer", PATIENCE, || {
        let status = lab.client.status(&lab.plugin.socket);
        status.is_err_and(|why| why.text.contains("cannot open the ring"))
    });
}

/// The root key is back, and the operator says so.
pub fn unseal(lab: &mut Lab) {
    let root = lab.plugin.dir.join("root.key");
    fs::rename(root.with_extension("away"), &root).unwrap();
    lab.plugin.signal(Signal::HUP);
    wait_until("the plugin to open its ring", PATIENCE, || {
        lab.client.status(&lab.plugin.socket).is_ok()
    });
}

/// A kube-apiserver that has noticed that its plugin is sealed, and an object that it wrote before.
fn sealed_lab(program: &'static Program) -> (Lab, Stored) {
    let mut lab = Lab::idle(program);
    lab.client.own_clock(PROVIDER);
    lab.load();
    let old = lab.write("old");
    seal(&mut lab);
    lab.wait_for_health(false);
    (lab, old)
}

pub fn sealed(program: &'static Program) {
    let (mut lab, old) = sealed_lab(program);

    let status = lab.client.status(&lab.plugin.socket).unwrap_err();
    let unready = lab.client.health(API).unwrap_err();
    let meanwhile = lab.write("meanwhile");
    lab.client.advance(SEED_LIFE + 1);
    let refused = lab.client.write(API, &key("too late"), "too late").unwrap_err();

    assert_eq!(status.code, "Unavailable", "{status:?}");
    assert!(unready.text.contains("cannot open the ring"), "{unready:?}");
    assert!(refused.text.contains(" expired at "), "{refused:?}");
    // What is cached is read on.
    for (name, object) in [("old", &old), ("meanwhile", &meanwhile)] {
        assert_eq!(lab.read(object).unwrap(), holds(name, false));
    }
    // A kube-apiserver that starts now can neither read nor write, and says so.
    lab.load();
    assert!(lab.client.health(API).is_err());
    assert!(lab.read(&old).is_err());
    assert!(lab.client.write(API, &key("none"), "none").is_err());
}

pub fn unsealed(program: &'static Program) {
    let (mut lab, old) = sealed_lab(program);
    lab.client.advance(SEED_LIFE + 1);
    assert!(lab.client.write(API, &key("too late"), "too late").is_err());
    let before = encrypts(&mut lab);

    unseal(&mut lab);
    lab.wait_for_health(true);
    let new = lab.write("new");

    assert_eq!(encrypts(&mut lab), before, "the old seed is extended");
    let sealed_by = |object| crate::lab::parse(object).object.encrypted_dek_source;
    assert_eq!(sealed_by(&new), sealed_by(&old));
    assert_eq!(lab.read(&old).unwrap(), holds("old", false));
    assert_eq!(lab.read(&new).unwrap(), holds("new", false));
}

/// The listening socket is an init system's: who connects while nobody serves waits in its queue.
pub fn activated_restart(program: &'static Program) {
    let plugin = Plugin::prepared(VERBOSE);
    let run = plugin.socket.parent().unwrap();
    fs::create_dir(run).unwrap();
    fs::set_permissions(run, fs::Permissions::from_mode(0o700)).unwrap();
    let listener = UnixListener::bind(&plugin.socket).unwrap();
    let mut server = plugin.activate(&listener);
    let mut client = Client::start(program);
    client.load(API, &encryption_configuration(&plugin));
    client.health(API).unwrap();

    client.hammer(&plugin.socket, WORKERS);
    for _ in 0..RESTARTS {
        // All of them are in the middle of a call, or between two.
        client.wait_for_rounds(ROUNDS);
        let old = server.0.id();
        assert!(server.stop().success());
        server = plugin.activate(&listener);
        wait_until("the successor to serve", NOTICED, || {
            let pid = server_status(&plugin)["pid"].as_u64();
            pid.is_some_and(|pid| pid != u64::from(old))
        });
    }
    client.wait_for_rounds(ROUNDS);
    let blows = client.halt();

    println!(
        "\n{} times Status, Encrypt and Decrypt across {RESTARTS} restarts, none failed",
        blows.rounds
    );
    assert_eq!(blows.failures, [""; 0]);
    assert_eq!(blows.mismatches, [""; 0]);
    client.health(API).unwrap();
    client.write(API, &key("after"), "after").unwrap();
}
