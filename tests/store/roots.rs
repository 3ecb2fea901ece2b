//! Roots over real files, alone and side by side.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use kekring::keyring::{RingId, lifecycle};
use kekring::root::{PassphraseRoot, RecoveryCode, RootKey};

use crate::bench::{Bench, NOW, file_root, key, passphrase_root, put};

fn write_secret(bench: &Bench, name: &str, content: &[u8]) -> std::path::PathBuf {
    let path = bench.path(name);
    put(&path, content);
    path
}

fn opening_fails(bench: &Bench, roots: Vec<Arc<dyn RootKey>>) -> String {
    match bench.custody_with(roots).open(None, NOW) {
        Ok(_) => panic!("it opens"),
        Err(why) => format!("{why}; {}", why.hint()),
    }
}

#[test]
fn a_root_file_is_exactly_32_bytes_that_its_owner_alone_can_read() {
    let bench = Bench::new();
    let good = fs::read(bench.path("root.key")).unwrap();
    let hex = data_encoding::HEXLOWER.encode(&good).into_bytes();
    let with_newline = [good.as_slice(), b"\n"].concat();
    for (content, says) in [
        (&b""[..], "is empty"),
        (&good[..31], "is 31 bytes"),
        (&with_newline, "the last a line feed"),
        (&[good.as_slice(), b"x"].concat(), "is 33 bytes"),
        (&hex, "looks like hexadecimal"),
        (&[b'x'; 5000], "is longer than 4096 bytes"),
    ] {
        let path = write_secret(&bench, "other.key", content);
        let error = opening_fails(&bench, vec![file_root(&path)]);
        assert!(error.contains(says), "{says}: {error}");
    }
    fs::set_permissions(bench.path("root.key"), fs::Permissions::from_mode(0o640)).unwrap();
    let error = opening_fails(&bench, vec![file_root(&bench.path("root.key"))]);
    assert!(error.contains("has mode 0640"), "{error}");
}

#[test]
fn a_secret_file_that_is_longer_than_its_size_says_is_refused_and_not_cut() {
    let bench = Bench::new();
    // The environment of a process: a file of size 0 with mode 0400 that holds more.
    let mut process = std::process::Command::new("sleep")
        .arg("600")
        .env_clear()
        .env("LONG", "x".repeat(5000))
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/environ", process.id());
    let size = fs::metadata(&path).map(|it| it.len());

    let error = opening_fails(&bench, vec![file_root(path.as_ref())]);
    process.kill().unwrap();
    process.wait().unwrap();

    assert_eq!(size.unwrap(), 0);
    assert!(error.contains("is longer than 4096 bytes"), "{error}");
}

#[test]
fn wrong_missing_and_unfitting_roots_are_told_apart() {
    let bench = Bench::new();
    let wrong = write_secret(&bench, "wrong.key", &[9; 32]);
    let missing = bench.path("missing.key");
    let phrase = write_secret(&bench, "phrase", b"correct horse battery staple\n");

    let by_wrong = opening_fails(&bench, vec![file_root(&wrong)]);
    let by_missing = opening_fails(&bench, vec![file_root(&missing)]);
    let by_kind = opening_fails(&bench, vec![passphrase_root(&phrase)]);

    assert!(by_wrong.contains("wrong root"), "{by_wrong}");
    assert!(
        by_missing.contains("unavailable: cannot read") && by_missing.contains("missing.key"),
        "{by_missing}"
    );
    assert!(by_kind.contains("none fits"), "{by_kind}");
}

#[test]
fn a_root_with_a_path_that_no_slot_name_can_hold_makes_and_opens_a_ring() {
    let bench = Bench::new();
    let deep = format!("new/line\n/{}/{}", "d".repeat(200), "ü".repeat(100));
    fs::create_dir_all(bench.path(&deep).parent().unwrap()).unwrap();
    let path = write_secret(&bench, &deep, &[7; 32]);
    fs::remove_dir_all(bench.path("ring")).unwrap();
    bench.store().create_directories().unwrap();
    let ring = lifecycle::create(RingId([1; 16]), key(), key(), NOW);

    bench
        .custody_with(vec![file_root(&path)])
        .create(ring, &[], NOW)
        .unwrap();

    let opened = bench
        .custody_with(vec![file_root(&path)])
        .open(None, NOW)
        .unwrap();
    let name = &opened.head.header.slots[0].name;
    assert!((255..=256).contains(&name.len()), "{name:?}");
    assert!(
        name.starts_with("file /") && name.contains("new/line/d"),
        "{name:?}"
    );
}

#[test]
fn any_one_of_several_roots_opens_the_ring() {
    let bench = Bench::new();
    for path in bench.generations() {
        fs::remove_file(path).unwrap();
    }
    fs::remove_file(bench.path("ring/mark")).unwrap();
    let phrase = write_secret(&bench, "phrase", b"correct horse battery staple\n");
    let code = RecoveryCode::generate().unwrap();
    let typed = write_secret(&bench, "code", code.text().to_lowercase().as_bytes());
    let roots = || vec![file_root(&bench.path("root.key")), passphrase_root(&phrase)];
    let further: Vec<Arc<dyn RootKey>> = vec![Arc::new(PassphraseRoot::from_code(code))];
    let ring = lifecycle::create(RingId([8; 16]), key(), key(), NOW);
    bench.custody_with(roots()).create(ring, &further, NOW).unwrap();

    for root in [
        file_root(&bench.path("root.key")),
        passphrase_root(&phrase),
        passphrase_root(&typed),
    ] {
        let shown = root.describe();
        let opened = bench.custody_with(vec![root]).open(None, NOW);
        assert!(opened.is_ok(), "{shown}: {:?}", opened.err());
    }
    let other = write_secret(&bench, "phrase2", b"correct horse battery stable\n");
    assert!(opening_fails(&bench, vec![passphrase_root(&other)]).contains("wrong root"));
}

#[test]
fn one_line_feed_at_the_end_of_a_passphrase_does_not_count() {
    let bench = Bench::new();
    let phrase = write_secret(&bench, "phrase", b"correct horse battery staple");
    let line = write_secret(&bench, "line", b"correct horse battery staple\n");
    let two = write_secret(&bench, "two", b"correct horse battery staple\n\n");
    let context = kekring::crypto::kdf::Context::new("test");

    let sealed = passphrase_root(&phrase).seal(&key(), &context).unwrap();

    assert!(passphrase_root(&line).open(&sealed, &context).is_ok());
    assert!(passphrase_root(&two).open(&sealed, &context).is_err());
}

#[test]
fn passphrases_that_are_too_short_or_too_long_are_refused() {
    let bench = Bench::new();
    for (length, accepted) in [(0, false), (15, false), (16, true), (1024, true), (1025, false)] {
        let path = write_secret(&bench, "phrase", &vec![b'x'; length]);
        let context = kekring::crypto::kdf::Context::new("test");
        let sealed = passphrase_root(&path).seal(&key(), &context);
        assert_eq!(sealed.is_ok(), accepted, "{length}: {:?}", sealed.err());
    }
}

#[test]
fn the_ring_key_at_hand_needs_no_root() {
    let bench = Bench::new();
    let held = bench.open().ring_key;
    bench.rotate();
    fs::remove_file(bench.path("root.key")).unwrap();

    let opened = bench.custody().open(Some(&held), NOW).unwrap();

    assert_eq!(opened.ring.generation, 2);
}
