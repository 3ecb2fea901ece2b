//! What is no file of a ring at all, or is one that others can use.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::support::Plugin;
use crate::{Ring, content, put, say};

/// What it is, how it is made, and what is said of it.
type Kind = (&'static str, fn(&Path), &'static str);

const KINDS: [Kind; 8] = [
    (
        "a symbolic link",
        |path| symlink("/etc/passwd", path).unwrap(),
        "symbolic link",
    ),
    (
        "a FIFO",
        |path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR, 0).unwrap(),
        "not a regular file",
    ),
    (
        "a socket",
        |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        "not a regular file",
    ),
    (
        "a directory",
        |path| fs::create_dir(path).unwrap(),
        "not a regular file",
    ),
    (
        "a sparse giant",
        |path| {
            put(path, b"");
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(1 << 40)
                .unwrap();
        },
        "a generation has at most 1048576",
    ),
    (
        "too long by a byte",
        |path| put(path, &vec![0; (1 << 20) + 1]),
        "a generation has at most 1048576",
    ),
    ("an empty file", |path| put(path, b""), "corrupt"),
    (
        "a mode of 0644",
        |path| {
            put(path, b"kekring\n");
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        },
        "has mode 0644",
    ),
];

/// What needs root to make.
const DEVICE: Kind = (
    "a device",
    |path| mknodat(CWD, path, FileType::CharacterDevice, Mode::RUSR, makedev(1, 5)).unwrap(),
    "not a regular file",
);

fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn whatever_lies_in_place_of_the_newest_generation_is_named_and_left_alone_and_an_older_one_serves() {
    in_place_of_the_newest_generation(&KINDS);
    say(&format!(
        "corrupt: {} kinds in place of a generation",
        KINDS.len()
    ));
}

#[test]
fn whatever_lies_in_place_of_the_only_generation_is_named_and_left_alone() {
    in_place_of_the_only_generation(&KINDS);
}

#[test]
fn whatever_lies_in_place_of_the_mark_is_named_and_does_not_count() {
    in_place_of_the_mark(&KINDS);
}

#[test]
#[needs(root)]
fn a_device_in_place_of_a_generation_is_named_and_left_alone() {
    in_place_of_the_newest_generation(&[DEVICE]);
    in_place_of_the_only_generation(&[DEVICE]);
}

#[test]
#[needs(root)]
fn a_device_in_place_of_the_mark_is_named_and_does_not_count() {
    in_place_of_the_mark(&[DEVICE]);
}

fn in_place_of_the_newest_generation(kinds: &[Kind]) {
    let ring = Ring::new();
    let newest = ring.bench.newest();
    for (what, make, class) in kinds {
        remove(&newest);
        make(&newest);

        ring.judge_older(what, class);
    }
}

fn in_place_of_the_only_generation(kinds: &[Kind]) {
    for (what, make, class) in kinds {
        let ring = Ring::new();
        let newest = ring.bench.newest();
        for path in ring.bench.generations() {
            remove(&path);
        }
        make(&newest);

        let why = ring.judge(what).map(drop).unwrap_err();

        assert!(why.contains(class), "{what}: {why}");
    }
}

fn in_place_of_the_mark(kinds: &[Kind]) {
    let ring = Ring::new();
    let mark = ring.dir().join("mark");
    for (what, make, class) in kinds {
        remove(&mark);
        make(&mark);

        let opened = ring.judge(what).unwrap();

        let told = opened
            .warnings
            .iter()
            .any(|it| it.contains("the mark") && it.contains(class));
        assert!(told, "{what}: {:?}", opened.warnings);
        assert!(opened.keyring().status().is_ok(), "{what}");
    }
}

#[test]
fn whatever_lies_in_place_of_the_root_key_is_named_and_left_alone() {
    let classes = [
        ("a symbolic link", "denied"),
        ("a FIFO", "not a regular file"),
        ("a socket", "unavailable"),
        ("a directory", "not a regular file"),
        ("a sparse giant", "is longer than 4096 bytes"),
        ("too long by a byte", "is longer than 4096 bytes"),
        ("an empty file", "is empty"),
        ("a mode of 0644", "has mode 0644"),
    ];
    for ((what, make, _), (_, class)) in KINDS.iter().zip(classes) {
        let ring = Ring::new();
        let root = ring.bench.path("root.key");
        remove(&root);
        make(&root);

        let why = ring.judge(what).map(drop).unwrap_err();

        assert!(why.contains(class), "{what}: {why}");
        assert!(why.contains("root.key"), "{what}: {why}");
    }
}

#[test]
fn a_directory_that_others_can_use_is_refused_and_stays_as_it_is() {
    let ring = Ring::new();
    for mode in [0o777, 0o755, 0o770, 0o701, 0o1777] {
        fs::set_permissions(ring.dir(), fs::Permissions::from_mode(mode)).unwrap();

        let why = ring.judge(&format!("{mode:o}")).map(drop).unwrap_err();

        assert!(
            why.contains(&format!("has mode {mode:04o}")) && why.contains("chmod 0700"),
            "{why}"
        );
        let now = fs::metadata(ring.dir()).unwrap().permissions().mode();
        assert_eq!(now & 0o7777, mode);
    }
}

#[test]
#[needs(root)]
fn a_ring_of_another_owner_is_refused_to_all_but_root_and_stays_as_it_is() {
    const OTHER: u32 = 64_999;
    let plugin = Plugin::prepared("{}");
    let all = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    all(&plugin.dir);
    all(&plugin.config);
    let ring = plugin.dir.join("ring");
    let refused = || {
        let output = plugin
            .command(&["keys", "list"])
            .uid(OTHER)
            .gid(OTHER)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let before = content(&ring);

    let directory = refused();
    chown(&ring, Some(OTHER), Some(OTHER)).unwrap();
    let file = refused();

    assert!(
        directory.0 == Some(3) && directory.1.contains("belongs to uid 0"),
        "{directory:?}"
    );
    assert!(
        file.0 == Some(3) && file.1.contains("Permission denied"),
        "{file:?}"
    );
    assert_eq!(content(&ring), before);
}
