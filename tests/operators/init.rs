//! `init` where a ring is, or was, in any form.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;

use crate::forged::of_a_newer_kekring;
use crate::support::{Killed, PATIENCE, Plugin, wait_until};
use crate::tree::refuses;

/// What is left of a mirrored ring with a backup, and how it comes to that.
type Form = (&'static str, fn(&Plugin));
const FORMS: [Form; 13] = [
    ("everything", |_| {}),
    ("generations", |it| keep(it, &["ring/gen-"])),
    ("the mark", |it| keep(it, &["ring/mark"])),
    ("the record of a backup", |it| keep(it, &["ring/backup"])),
    ("the mirror's generations", |it| keep(it, &["mirror/gen-"])),
    ("the mirror's mark", |it| keep(it, &["mirror/mark"])),
    ("a damaged generation", |it| {
        keep(it, &["ring/gen-"]);
        fs::write(it.newest(), "rubbish").unwrap();
    }),
    ("an empty generation", |it| {
        keep(it, &["ring/gen-"]);
        fs::write(it.newest(), "").unwrap();
    }),
    ("a newer kekring's generation", |it| {
        keep(it, &["ring/gen-"]);
        let newest = it.newest();
        fs::write(&newest, of_a_newer_kekring(&fs::read(&newest).unwrap())).unwrap();
    }),
    ("a link to a generation that is away", |it| {
        keep(it, &[]);
        symlink(
            "/nowhere/gen-1-00112233.ring",
            it.dir.join("ring/gen-1-00112233.ring"),
        )
        .unwrap();
    }),
    ("a directory named like a generation", |it| {
        keep(it, &[]);
        fs::create_dir(it.dir.join("ring/gen-1-00112233.ring")).unwrap();
    }),
    ("a generation under another name", |it| {
        keep(it, &["ring/gen-"]);
        fs::rename(it.newest(), it.dir.join("ring/old.ring")).unwrap();
    }),
    ("a damaged mark", |it| {
        keep(it, &["ring/mark"]);
        fs::write(it.dir.join("ring/mark"), "rubbish").unwrap();
    }),
];

/// Removes every file of ring and mirror whose path does not begin like one of these.
fn keep(plugin: &Plugin, kept: &[&str]) {
    for place in ["ring", "mirror"] {
        for entry in fs::read_dir(plugin.dir.join(place)).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let below = path
                .strip_prefix(&plugin.dir)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            if !kept.iter().any(|it| below.starts_with(it)) {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn init_makes_no_second_ring_whatever_is_left_of_the_first() {
    for (form, make) in FORMS {
        let plugin = Plugin::unmade("{}");
        plugin.configure_mirrored(&["root.key"]);
        assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
        assert!(
            plugin
                .verb(&["backup", plugin.dir.join("backup").to_str().unwrap()])
                .status
                .success()
        );
        make(&plugin);
        // Who sets a machine up anew may have lost the root, too: none is made.
        fs::remove_file(plugin.dir.join("root.key")).unwrap();

        refuses(form, &plugin, &["init", "--no-recovery"], 3, "there is already");
    }
}

#[test]
fn init_is_not_held_up_by_a_frozen_server_and_makes_no_ring_beside_it() {
    let plugin = Plugin::unmade("{}");
    fs::create_dir(plugin.socket.parent().unwrap()).unwrap();
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    let address = rustix::net::SocketAddrUnix::new(&plugin.socket).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    // Its backlog is full with this one: whoever waits for a place waits for ever.
    let _first = std::os::unix::net::UnixStream::connect(&plugin.socket).unwrap();

    let mut command = plugin.command(&["init", "--no-recovery"]);
    let mut init = Killed(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut status = None;
    wait_until("init to end", PATIENCE, || {
        status = init.0.try_wait().unwrap();
        status.is_some()
    });

    let mut error = String::new();
    init.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(status.unwrap().code(), Some(3), "{error}");
    assert!(error.contains("a server that answers"), "{error}");
    assert!(!plugin.dir.join("ring").exists() && !plugin.dir.join("root.key").exists());
}
