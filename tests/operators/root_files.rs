//! Root files and passphrases as people spoil them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::forged::{HIGHEST, HONEST, asking_for_64_gib, of_a_stranger};
use crate::support::{KEKRING, Plugin};
use crate::tree::{assert_says, refuses};

const ROOT: [u8; 32] = [0x5a; 32];

/// What is in the root file's place, how a verb ends, and what it says.
type Form = (&'static str, fn(&Path), i32, &'static str);
const FORMS: [Form; 12] = [
    (
        "a line feed at the end",
        |it| put(it, &[&ROOT[..], b"\n"].concat()),
        1,
        "the last a line feed",
    ),
    (
        "hexadecimal",
        |it| put(it, "5a".repeat(32).as_bytes()),
        1,
        "looks like hexadecimal",
    ),
    (
        "base64",
        |it| put(it, data_encoding::BASE64.encode(&ROOT).as_bytes()),
        1,
        "looks like base64",
    ),
    ("nothing in it", |it| put(it, b""), 1, "is empty"),
    ("31 bytes", |it| put(it, &ROOT[..31]), 1, "is 31 bytes"),
    ("33 bytes", |it| put(it, &[0x5a; 33]), 1, "is 33 bytes"),
    (
        "1 MiB",
        |it| put(it, &vec![0x5a; 1 << 20]),
        1,
        "is longer than 4096 bytes",
    ),
    (
        "mode 0644",
        |it| {
            put(it, &ROOT);
            chmod(it, 0o644);
        },
        3,
        "has mode 0644",
    ),
    (
        "a link to a file that others can read",
        |it| {
            let other = it.with_file_name("other.key");
            put(&other, &ROOT);
            chmod(&other, 0o640);
            symlink(other, it).unwrap();
        },
        3,
        "has mode 0640",
    ),
    (
        "a FIFO that nobody writes to",
        |it| {
            assert!(Command::new("mkfifo").arg(it).status().unwrap().success());
            chmod(it, 0o600);
        },
        1,
        "is not a regular file",
    ),
    (
        "a directory",
        |it| fs::create_dir(it).unwrap(),
        1,
        "is not a regular file",
    ),
    (
        "a socket",
        |it| drop(UnixListener::bind(it).unwrap()),
        1,
        "cannot read",
    ),
];

fn put(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    chmod(path, 0o600);
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_spoilt_root_file_opens_no_ring_and_its_error_says_how_it_is_spoilt() {
    let plugin = Plugin::unmade("{}");
    let root = plugin.dir.join("root.key");
    put(&root, &ROOT);
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());

    for (form, make, code, says) in FORMS {
        remove(&root);
        make(&root);

        refuses(form, &plugin, &["rotate"], code, says);
    }

    // A link is followed, as a mounted secret is one: what it leads to is what counts.
    remove(&root);
    put(&plugin.dir.join("other.key"), &ROOT);
    symlink("other.key", &root).unwrap();
    assert!(plugin.verb(&["rotate"]).status.success());
}

#[test]
fn a_spoilt_root_file_makes_no_ring() {
    for (form, make, code, says) in FORMS {
        let plugin = Plugin::unmade("{}");
        let ring = plugin.dir.join("ring");
        // `init` makes the directory before it asks the root.
        fs::create_dir(&ring).unwrap();
        chmod(&ring, 0o700);
        make(&plugin.dir.join("root.key"));

        refuses(form, &plugin, &["init", "--no-recovery"], code, says);
    }
}

#[test]
fn a_root_file_whose_disk_is_not_mounted_is_not_made_anew_through_its_link() {
    let plugin = Plugin::unmade("{}");
    symlink("/nowhere/root.key", plugin.dir.join("root.key")).unwrap();

    refuses(
        "a dangling link",
        &plugin,
        &["init", "--no-recovery"],
        1,
        "exists already and is left as it is",
    );
}

fn remove(path: &Path) {
    match fs::symlink_metadata(path).unwrap().is_dir() {
        true => fs::remove_dir(path).unwrap(),
        false => fs::remove_file(path).unwrap(),
    }
}

/// A ring whose only root is a passphrase.
fn by_passphrase() -> Plugin {
    let plugin = Plugin::unmade("{}");
    let path = plugin.dir.join("passphrase");
    put(&path, b"correct horse battery staple\n");
    plugin.configure(&json!({"ring": {"roots": [{"passphrase": {"path": path}}]}}).to_string());
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
    plugin
}

#[test]
fn a_passphrase_that_is_wrong_empty_or_a_mebibyte_long_opens_no_ring() {
    let plugin = by_passphrase();
    for (form, content, says) in [
        ("wrong", &b"correct horse battery stable"[..], "wrong root"),
        ("empty", b"", "holds 0 bytes; a passphrase has 16 to 1024"),
        ("a line feed alone", b"\n", "holds 0 bytes"),
        ("1,025 bytes", &[b'x'; 1025], "holds 1025 bytes"),
        ("1 MiB", &[b'x'; 1 << 20], "is longer than 4096 bytes"),
    ] {
        put(&plugin.dir.join("passphrase"), content);

        refuses(form, &plugin, &["rotate"], 1, says);
    }
}

#[test]
fn a_slot_whose_cost_an_attacker_raised_is_refused_before_any_memory_is_taken() {
    let plugin = by_passphrase();
    let newest = plugin.newest();
    fs::write(&newest, asking_for_64_gib(&fs::read(&newest).unwrap())).unwrap();

    // With 2 GB in all, whoever tries for 64 is ended by the allocator.
    let output = Command::new("/bin/sh")
        .args(["-c", "ulimit -v 2000000; exec \"$0\" keys list --config \"$1\""])
        .arg(KEKRING)
        .arg(&plugin.config)
        .output()
        .unwrap();

    assert_says("64 GiB", &output, 1, "asks for Argon2id with 67108864 KiB");
}

#[test]
fn generations_of_strangers_take_little_memory_from_a_server_and_do_not_keep_it_from_starting() {
    let mut plugin = by_passphrase();
    let genuine = fs::read(plugin.newest()).unwrap();
    let (mirror, passphrase) = (plugin.dir.join("mirror"), plugin.dir.join("passphrase"));
    let roots = json!([{"passphrase": {"path": passphrase}}]);
    plugin.configure(&json!({"ring": {"mirror": mirror, "roots": roots}}).to_string());
    fs::create_dir(&mirror).unwrap();
    fs::set_permissions(&mirror, fs::Permissions::from_mode(0o700)).unwrap();
    for (place, number, cost) in [
        ("ring", 7, HIGHEST),
        ("ring", 8, HONEST),
        ("mirror", 9, HIGHEST),
        ("mirror", 10, HONEST),
        ("mirror", 11, HONEST),
    ] {
        let (name, bytes) = of_a_stranger(&genuine, number, 0, cost);
        put(&plugin.dir.join(place).join(name), &bytes);
    }

    plugin.serve();

    let status = fs::read_to_string(format!("/proc/{}/status", plugin.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let peak: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    // What the static Pod may take.
    assert!(peak < 256 * 1024, "{peak} KiB");
}
