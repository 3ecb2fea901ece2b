//! Every cause of a Status error, and what is none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use kekring::crypto::secret::Key32;
use kekring::keyring::ring::UnixTime;
use kekring::keyring::{RingId, lifecycle};
use kekring::store::FileStore;
use kekring_kit::Missing;
use tonic::Code;

use crate::client::Client;
use crate::ring::custody;
use crate::support::immutable::Immutable;
use crate::support::{PATIENCE, Plugin, wait_until};

/// Starts a plugin that may have no key to report, and returns when its socket is there.
fn start(plugin: &mut Plugin) -> Client {
    plugin.spawn();
    wait_until("the socket", PATIENCE, || {
        UnixStream::connect(&plugin.socket).is_ok()
    });
    Client::connect(&plugin.socket)
}

fn generations(plugin: &Plugin) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(plugin.dir.join("ring"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "ring"))
        .collect();
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.split('-').nth(1).unwrap().parse::<u64>().unwrap()
    };
    paths.sort_by_key(number);
    paths
}

fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn no_ring_is_an_error_and_none_is_made() {
    let mut plugin = Plugin::unmade("{}");
    fs::create_dir(plugin.dir.join("ring")).unwrap();
    fs::set_permissions(plugin.dir.join("ring"), fs::Permissions::from_mode(0o700)).unwrap();

    let client = start(&mut plugin);
    let status = client.status().unwrap_err();

    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("there is none"), "{}", status.message());
    assert_eq!(client.encrypt(&[1; 32]).unwrap_err().code(), Code::Unavailable);
    assert!(generations(&plugin).is_empty());
}

#[test]
fn a_missing_root_is_an_error_until_it_is_back() {
    let mut plugin = Plugin::prepared("{}");
    let (root, away) = (plugin.dir.join("root.key"), plugin.dir.join("away"));
    fs::rename(&root, &away).unwrap();
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("root.key"), "{}", status.message());

    fs::rename(&away, &root).unwrap();
    wait_until("Status to recover", PATIENCE, || client.status().is_ok());
}

#[test]
fn a_wrong_root_is_an_error_of_its_own_and_nothing_is_written() {
    let mut plugin = Plugin::prepared("{}");
    let root = plugin.dir.join("root.key");
    fs::write(&root, [9; 32]).unwrap();
    let before = generations(&plugin);
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();

    assert!(status.message().contains("wrong root"), "{}", status.message());
    assert_eq!(generations(&plugin), before);
}

#[test]
fn a_damaged_ring_without_another_copy_is_an_error() {
    let mut plugin = Plugin::prepared("{}");
    rewrite(&generations(&plugin)[0], |bytes| bytes[100] ^= 1);
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();

    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("corrupt"), "{}", status.message());
}

#[test]
fn a_ring_that_is_gone_while_its_mark_is_there_is_an_error_of_its_own() {
    let mut plugin = Plugin::prepared("{}");
    fs::remove_file(&generations(&plugin)[0]).unwrap();
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();
    let again = plugin.verb(&["init", "--no-recovery"]);

    assert!(
        status.message().contains("its mark is still there"),
        "{}",
        status.message()
    );
    assert_eq!(again.status.code(), Some(3));
    assert!(generations(&plugin).is_empty());
}

#[test]
fn a_ring_below_its_mark_decrypts_and_reports_no_key() {
    let mut plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    assert!(plugin.verb(&["rotate"]).status.success());
    plugin.kill();
    fs::remove_file(generations(&plugin).last().unwrap()).unwrap();

    let client = start(&mut plugin);
    let status = client.status().unwrap_err();

    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("below its mark"),
        "{}",
        status.message()
    );
    assert_eq!(
        client.encrypt(&[1; 32]).unwrap_err().code(),
        Code::FailedPrecondition
    );
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    assert_eq!(
        plugin.verb(&["rotate"]).status.code(),
        Some(3),
        "never from an older state"
    );
}

#[test]
fn what_a_frozen_ring_reported_is_not_taken_back_after_a_restart() {
    let mut plugin = Plugin::prepared("{}");
    let mark = plugin.dir.join("ring/mark");
    let changed = |verb: &[&str]| assert!(plugin.verb(verb).status.success(), "{verb:?}");
    // One history reaches the third key, in three generations.
    let first = fs::read(&mark).unwrap();
    (0..2).for_each(|_| changed(&["rotate"]));
    let (place, other) = (plugin.newest(), fs::read(plugin.newest()).unwrap());
    for path in generations(&plugin).iter().skip(1) {
        fs::remove_file(path).unwrap();
    }
    fs::write(&mark, first).unwrap();
    // The other used a fourth generation, and its second key; what came after the first rotation is lost.
    changed(&["rotate"]);
    let old = plugin.json(&["keys", "list"])["keys"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    changed(&["keys", "suspend", &old]);
    changed(&["keys", "resume", &old]);
    for path in generations(&plugin).iter().skip(2) {
        fs::remove_file(path).unwrap();
    }
    fs::write(&place, other).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).unwrap();

    let reported = start(&mut plugin).key_id();
    let frozen = plugin.json(&["status"])["nodes"][0]["frozen"].to_string();
    plugin.kill();
    fs::remove_file(&place).unwrap();
    let status = start(&mut plugin).status().unwrap_err();

    assert!(reported.starts_with("k3-"), "{reported}");
    assert!(frozen.contains("has used generation 4"), "{frozen}");
    let told = format!("has already reported {reported}");
    assert!(status.message().contains(&told), "{}", status.message());
}

#[test]
fn a_ring_that_is_not_the_configured_one_reports_no_key() {
    let mut plugin = Plugin::prepared("{}");
    plugin.configure("{ring: {id: 00112233445566778899aabbccddeeff}}");
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();

    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("is not the expected ring 0011"),
        "{}",
        status.message()
    );
    assert_eq!(plugin.verb(&["rotate"]).status.code(), Some(3));
}

#[test]
fn a_ring_with_the_mark_of_another_one_reports_no_key() {
    let mut plugin = Plugin::prepared("{}");
    let other = Plugin::prepared("{}");
    fs::copy(other.dir.join("ring/mark"), plugin.dir.join("ring/mark")).unwrap();
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();

    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("is not the expected ring"),
        "{}",
        status.message()
    );
}

#[test]
fn a_suspended_active_key_reports_no_key() {
    let mut plugin = Plugin::prepared("{}");
    let custody = custody(&plugin);
    let opened = custody.open(None, UnixTime(1)).unwrap();
    let mut ring = lifecycle::successor(&opened.ring).unwrap();
    let generation = ring.generation;
    for key in ring.keys.iter_mut().filter(|key| key.activated.is_some()) {
        key.suspended = true;
        key.suspension = generation;
    }
    custody.commit(&opened, ring, UnixTime(1)).unwrap();
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();

    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("is suspended"), "{}", status.message());
}

#[test]
fn two_rings_in_one_directory_are_refused() {
    let mut plugin = Plugin::prepared("{}");
    let other = Plugin::prepared("{}");
    let stray = &generations(&other)[0];
    fs::copy(stray, plugin.dir.join("ring").join(stray.file_name().unwrap())).unwrap();
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();

    assert!(
        status.message().contains("generations of ring"),
        "{}",
        status.message()
    );
}

#[test]
fn a_development_ring_is_refused_by_another_configuration() {
    let mut plugin = Plugin::prepared("{}");
    let dir = plugin.dir.join("ring");
    fs::remove_dir_all(&dir).unwrap();
    let store = FileStore::new(dir, None);
    store.create_directories().unwrap();
    let mut maker = custody(&plugin);
    maker.development = true;
    let key = |byte| Key32::take(&mut [byte; 32]);
    let mut ring = lifecycle::create(RingId([5; 16]), key(1), key(2), UnixTime(1));
    ring.development = true;
    maker.create(ring, &[], UnixTime(1)).unwrap();
    let client = start(&mut plugin);

    let status = client.status().unwrap_err();

    assert!(
        status.message().contains("is a development ring"),
        "{}",
        status.message()
    );
    assert_eq!(plugin.verb(&["keys", "list"]).status.code(), Some(3));
}

#[test]
fn nothing_that_goes_wrong_while_it_serves_makes_status_an_error() {
    let plugin = Plugin::with("{rotation: {period: 1s, allowShort: true}}");
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();

    // The root away, the ring's directory open to others, so that it is neither read nor written, and a rotation overdue.
    fs::remove_file(plugin.dir.join("root.key")).unwrap();
    fs::set_permissions(plugin.dir.join("ring"), fs::Permissions::from_mode(0o777)).unwrap();
    wait_until("the trouble to be noticed", PATIENCE, || {
        plugin.log().contains("has mode 0777")
    });

    assert_eq!(client.status().unwrap().healthz, "ok");
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    assert!(client.encrypt(&[1; 32]).is_ok());
}

#[test]
fn a_damaged_newest_generation_on_disk_never_replaces_the_one_in_memory() {
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    assert!(plugin.verb(&["rotate"]).status.success());
    let active = client.key_id();

    rewrite(generations(&plugin).last().unwrap(), |bytes| bytes[50] ^= 1);
    plugin.signal(rustix::process::Signal::HUP);

    wait_until("the damage to be noticed", PATIENCE, || {
        plugin.log().contains("the ring in memory is kept")
    });
    assert_eq!(client.key_id(), active);
}

#[test]
fn a_start_needs_no_write() -> Result<(), Missing> {
    let mut plugin = Plugin::prepared("{}");
    fs::remove_file(plugin.dir.join("ring/mark")).unwrap();
    // Even root is held up by this, unlike by a mode.
    let immutable = Immutable::new(&plugin.dir.join("ring"))?;

    plugin.spawn();
    wait_until("the socket", PATIENCE, || plugin.log().contains("listening"));
    let status = Client::connect(&plugin.socket).status();
    let warnings = plugin.json(&["status"])["warnings"].to_string();

    drop(immutable);
    assert!(status.is_ok(), "{status:?}");
    assert!(
        warnings.contains("the mark or the mirror is behind the ring"),
        "{warnings}"
    );
    Ok(())
}
