//! Keys lie in guarded memory alone; seeds and passphrases lie nowhere once they were used.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use kekring::keyring::ring::UnixTime;
use kekring_kit::{Lacking, Missing};
use rustix::process::Signal;
use serde_json::json;

use crate::client::Client;
use crate::injected::Injected;
use crate::ring::custody;
use crate::scan::{self, Scan, Wanted};
use crate::support::{PATIENCE, Plugin, shown, wait_until};

const PASSPHRASE: &str = "correct horse battery staple, and more";

/// The root, the ring key, every KEK: what must lie in guarded memory.
fn keys(plugin: &Plugin) -> Vec<(String, Vec<u8>)> {
    let opened = custody(plugin).open(None, UnixTime(1)).unwrap();
    let mut keys = vec![
        (
            "root key".to_owned(),
            fs::read(plugin.dir.join("root.key")).unwrap(),
        ),
        ("ring key".to_owned(), opened.ring_key.expose().to_vec()),
    ];
    for key in &opened.ring.keys {
        keys.push((format!("key {}", key.id), key.material.expose().to_vec()));
    }
    keys
}

/// A seed that nobody makes by chance.
fn seed(number: u32) -> Vec<u8> {
    let mut state = number.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..32).map(|_| next()).collect()
}

/// A server whose ring is opened by a passphrase, and whose file root opens it too.
fn with_a_passphrase() -> Plugin {
    let plugin = Plugin::unmade("{}");
    let path = plugin.dir.join("passphrase");
    fs::write(&path, PASSPHRASE).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let file = json!({"file": {"path": plugin.dir.join("root.key")}});
    let roots = json!([{"passphrase": {"path": path}}, file]);
    plugin.configure(&json!({"ring": {"roots": roots}}).to_string());
    let made = plugin.verb(&[
        "init",
        "--recovery-code-file",
        plugin.dir.join("code").to_str().unwrap(),
    ]);
    assert!(made.status.success(), "{}", shown(&made));
    plugin
}

/// Encrypts and decrypts, and closes the connection.
fn use_it(socket: &Path, seeds: &[Vec<u8>], calls: usize) {
    let client = Client::connect(socket);
    let sealed: Vec<_> = seeds.iter().map(|seed| client.encrypt(seed).unwrap()).collect();
    for at in 0..calls {
        let at = at % seeds.len();
        assert_eq!(client.decrypt(&sealed[at]).unwrap(), seeds[at]);
    }
}

fn wait_for_quiet(plugin: &Plugin) {
    wait_until("the connections to end", PATIENCE, || {
        plugin.json(&["status"])["nodes"][0]["connections"]
            .as_array()
            .is_none_or(Vec::is_empty)
    });
}

/// All of it, in use: 10,000 calls, a rotation, a reload, a bad request, closed connections.
fn used(plugin: &Plugin, signal: impl Fn(Signal)) -> Vec<Vec<u8>> {
    let seeds: Vec<_> = (1..=100).map(seed).collect();
    use_it(&plugin.socket, &seeds, 10_000);
    let rotated = plugin.verb(&["rotate"]);
    assert!(rotated.status.success(), "{}", shown(&rotated));
    signal(Signal::HUP);
    use_it(&plugin.socket, &seeds, 100);
    wait_for_quiet(plugin);
    seeds
}

fn looked_for(plugin: &Plugin, seeds: &[Vec<u8>]) -> (Wanted, Wanted) {
    let keys = keys(plugin);
    let keys = keys.iter().map(|(name, key)| (name.as_str(), key.clone()));
    let code = fs::read(plugin.dir.join("code")).unwrap();
    let passing = [("passphrase", PASSPHRASE.into()), ("recovery code", code)];
    let seeds = seeds.iter().map(|seed| ("seed", seed.clone()));
    (Wanted::new(keys), Wanted::new(seeds.chain(passing)))
}

fn told(scan: &Scan) {
    let (read, guarded) = (scan.read / 1024, scan.unreadable.len());
    println!("looked through {read} KiB; {guarded} mappings cannot be read");
    assert!(scan.read > 1 << 20, "{scan:?}");
}

#[test]
#[needs(root)]
fn keys_lie_in_guarded_memory_alone_and_what_passes_through_lies_nowhere() -> Result<(), Missing> {
    let mut plugin = with_a_passphrase();
    plugin.serve();
    let protections = plugin.json(&["status"])["nodes"][0]["protections"].to_string();
    let secret = protections.contains("guarded memory: memfd_secret");
    secret.or_needs("memfd_secret(2): Linux 5.14, and secretmem.enable=1 before 6.5")?;
    let seeds = used(&plugin, |signal| plugin.signal(signal));

    let (keys, passing) = looked_for(&plugin, &seeds);
    let pid = plugin.pid().as_raw_nonzero().get();
    let found = [scan::process(pid, &keys), scan::process(pid, &passing)];

    told(&found[0]);
    assert_eq!(found[0].unreadable.len(), 1, "{found:?}");
    assert!(found[0].unreadable[0].contains("/secretmem"), "{found:?}");
    assert_eq!([&found[0].hits, &found[1].hits], [&[""; 0]; 2]);
    Ok(())
}

#[test]
#[needs(root, strace)]
fn without_secret_memory_keys_are_found_in_locked_memory_and_nowhere_else() {
    let plugin = with_a_passphrase();
    let injected = Injected::serve(&plugin, &["memfd_secret:error=ENOSYS"]);
    let protections = injected.protections(&plugin);
    assert!(
        protections.contains("guarded memory: locked (memfd_secret: "),
        "{protections}"
    );
    let seeds = used(&plugin, |signal| injected.signal(signal));

    let (keys, passing) = looked_for(&plugin, &seeds);
    let [found, passed] = [&keys, &passing].map(|wanted| scan::process(injected.pid(), wanted));

    told(&found);
    // The search finds what is there: each half of every key.
    for (name, _) in self::keys(&plugin).iter().filter(|(name, _)| name != "root key") {
        let hits = found
            .hits
            .iter()
            .filter(|hit| hit.starts_with(&format!("{name}, raw")));
        assert!(hits.count() >= 2, "{name}: {found:#?}");
    }
    let places: std::collections::BTreeSet<_> = found
        .hits
        .iter()
        .filter_map(|hit| hit.split(" in ").nth(1))
        .collect();
    assert_eq!(places.len(), 1, "{found:#?}");
    let place = places.first().unwrap().split(' ').next().unwrap();
    let flags = injected.flags(place);
    // Locked, out of core files, not for children (proc_pid_smaps(5)).
    for flag in ["lo", "dd", "dc"] {
        assert!(flags.split_whitespace().any(|it| it == flag), "{flag}: {flags}");
    }
    assert_eq!(passed.hits, [""; 0]);
}

#[test]
#[needs(root, "gdb")]
fn a_debuggers_dump_and_a_crash_show_no_secret() {
    let mut plugin = with_a_passphrase();
    plugin.serve();
    let seeds = used(&plugin, |signal| plugin.signal(signal));
    let (keys, passing) = looked_for(&plugin, &seeds);
    let dump = plugin.dir.join("dump");
    let pid = plugin.pid().as_raw_nonzero().to_string();

    let gcore = Command::new("gdb")
        .args(["-nx", "-batch", "-p", &pid, "-ex"])
        .arg(format!("gcore {}", dump.display()))
        .output();
    let gcore = gcore.unwrap();
    let dumped = fs::read(&dump).unwrap_or_else(|why| panic!("{why}: {}", shown(&gcore)));
    plugin.signal(Signal::ABORT);
    let ended = plugin.ended();

    println!("looked through a dump of {} KiB", dumped.len() / 1024);
    // The command line is in it, so the dump is one.
    assert!(
        Wanted::new([("it", plugin.config.display().to_string().into_bytes())])
            .found_in(&dumped)
            .len()
            > 1
    );
    assert_eq!(keys.found_in(&dumped), []);
    assert_eq!(passing.found_in(&dumped), []);
    assert!(
        !std::os::unix::process::ExitStatusExt::core_dumped(&ended),
        "{ended:?}"
    );
}

#[test]
fn a_crash_of_an_unprotected_process_is_dumped_here() {
    let dir = crate::support::scratch();
    let script = "ulimit -c unlimited; kill -ABRT $$";
    let mut crash = Command::new("sh");
    crash.args(["-c", script]).current_dir(dir.path());

    let status = crash.status().unwrap();

    // What the test above would see, had the server not given up core files.
    assert!(
        std::os::unix::process::ExitStatusExt::core_dumped(&status),
        "{status:?}"
    );
}
