//! The plugin starts, and starts again.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use crate::client::Told;
use crate::golang::Program;
use crate::lab::{API, Lab, PROVIDER, encrypts, holds, key_id, key_in_state, logged, parse, rotate, verb};
use crate::outage::{seal, unseal};

pub fn cold(program: &'static Program) {
    let mut lab = Lab::idle(program);

    lab.load();
    // Not waited for: kube-apiserver asked for Status and Encrypt while it started.
    lab.client.health(API).unwrap();
    let object = lab.write("first");
    let opened = lab.read(&object).unwrap();

    assert_eq!(opened, holds("first", false));
    assert_eq!(parse(&object).provider, PROVIDER);
    assert_eq!(key_id(&object), lab.active());
    assert_eq!(encrypts(&mut lab), 1);
    assert_eq!(
        logged(&lab.plugin, "Decrypt done"),
        0,
        "its own seed needs no Decrypt"
    );
}

pub fn restart(program: &'static Program) {
    let mut lab = Lab::start(program);
    let (before, old) = (lab.active(), lab.write("old"));

    for end in ["SIGTERM", "SIGKILL"] {
        if end == "SIGTERM" {
            assert!(lab.plugin.stop().success());
        } else {
            lab.plugin.kill();
        }
        lab.plugin.serve();
        // A kube-apiserver that starts too has cached nothing.
        lab.load();

        lab.client.health(API).unwrap();
        assert_eq!(lab.read(&old).unwrap(), holds("old", false), "after {end}");
        let new = lab.write("new");
        assert_eq!(key_id(&new), before, "after {end}");
        assert_eq!(lab.active(), before, "after {end}");
    }
}

pub fn stale_socket(program: &'static Program) {
    let mut lab = Lab::start(program);
    let old = lab.write("old");
    lab.plugin.kill();
    let left = fs::symlink_metadata(&lab.plugin.socket).unwrap();
    assert!(left.file_type().is_socket(), "a killed server removes nothing");

    lab.plugin.serve();

    // A kube-apiserver that was running all the while, and one that starts now.
    lab.wait_for_health(true);
    lab.client.status(&lab.plugin.socket).unwrap();
    lab.client.load("another", &lab.config);
    assert_eq!(lab.client.read("another", &old).unwrap(), holds("old", false));
    assert!(lab.plugin.stop().success());
    assert!(
        fs::symlink_metadata(&lab.plugin.socket).is_err(),
        "one that is asked to stop removes its own"
    );
}

pub fn version(program: &'static Program) {
    let mut lab = Lab::start(program);
    let mut all: Vec<Told> = Vec::new();
    let mut ask = |lab: &mut Lab| all.push(lab.client.status(&lab.plugin.socket).unwrap());

    ask(&mut lab);
    rotate(&lab.plugin, &[]);
    ask(&mut lab);
    verb(
        &lab.plugin,
        &["keys", "suspend", &key_in_state(&lab.plugin, "deactivated")],
    );
    ask(&mut lab);
    verb(&lab.plugin, &["rotate", "--fresh"]);
    ask(&mut lab);
    assert!(lab.plugin.stop().success());
    lab.plugin.serve();
    ask(&mut lab);
    seal(&mut lab);
    let sealed = lab.client.status(&lab.plugin.socket).unwrap_err();
    unseal(&mut lab);
    ask(&mut lab);
    lab.wait_for_health(true);

    for told in &all {
        assert_eq!((told.version.as_str(), told.healthz.as_str()), ("v2", "ok"));
    }
    // kube-apiserver refuses a plugin for its whole life when the version ever changes: an error names none.
    assert_eq!(sealed.code, "Unavailable", "{sealed:?}");
}
