//! Each metric moves for its cause.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use kekring::proto::kms;
use kekring_kit::Missing;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use tonic::Code;

use crate::client::Client;
use crate::door::idle;
use crate::support::immutable::Immutable;
use crate::support::open_files::open_files;
use crate::support::scrape::Scrape;
use crate::support::{PATIENCE, Plugin, shown, wait_until};
use crate::telemetry::ON;

struct Lab {
    plugin: Plugin,
    client: Client,
    address: String,
}

impl Lab {
    fn start() -> Self {
        Self::of(Plugin::with(ON))
    }

    fn of(plugin: Plugin) -> Self {
        // It is there only once the server is ready.
        let address = plugin.telemetry();
        Self {
            client: Client::connect(&plugin.socket),
            address,
            plugin,
        }
    }

    fn scrape(&self) -> Scrape {
        Scrape::of(&self.address)
    }

    fn value(&self, sample: &str, labels: &[(&str, &str)]) -> i64 {
        whole(self.scrape().value(sample, labels))
    }

    /// A number that stands alone.
    fn number(&self, name: &str) -> i64 {
        self.value(&format!("kekring_{name}"), &[])
    }

    fn requests(&self, method: &str, code: &str) -> i64 {
        let labels = [("method", method), ("code", code)];
        self.value("kekring_requests_total", &labels)
    }

    /// Waits until a number is what it has to be: the server looks at its ring once a second.
    fn wait(&self, name: &str, wanted: i64) {
        wait_until(&format!("{name} to be {wanted}"), PATIENCE, || {
            self.number(name) == wanted
        });
    }

    fn keys(&self) -> Vec<Key> {
        let listing = self.plugin.json(&["keys", "list"]);
        let keys = listing["keys"].as_array().unwrap().iter();
        keys.map(Key::of).collect()
    }
}

/// A key as `keys list` shows it.
struct Key {
    id: String,
    hash: String,
    created: i64,
    activated: Option<i64>,
}

impl Key {
    fn of(key: &Value) -> Self {
        let time = |field: &str| {
            let text = key[field].as_str().filter(|text| !text.is_empty())?;
            Some(text.parse::<Timestamp>().unwrap().as_second())
        };
        Self {
            id: key["id"].as_str().unwrap().to_owned(),
            hash: key["hash"].as_str().unwrap().to_owned(),
            created: time("created").unwrap(),
            activated: time("activated"),
        }
    }
}

/// None of ours is a fraction, but for the sums of durations.
#[track_caller]
fn whole(value: f64) -> i64 {
    format!("{value:.0}").parse().unwrap()
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn decrypt(key_id: &str, ciphertext: &[u8]) -> kms::DecryptRequest {
    kms::DecryptRequest {
        ciphertext: ciphertext.to_vec(),
        uid: "a-uid".into(),
        key_id: key_id.into(),
        ..Default::default()
    }
}

const UNKNOWN: &str = "k7-00112233445566778899aabbccddeeff";

#[test]
fn requests_count_by_method_and_by_the_code_that_the_caller_is_told() {
    let lab = Lab::start();
    let client = &lab.client;
    let before = lab.requests("Status", "OK");

    let sealed = client.encrypt(&[7; 32]).unwrap();
    client.decrypt(&sealed).unwrap();
    client.status().unwrap();
    client.encrypt(&[]).unwrap_err();
    // What tonic answers before the service sees it counts too.
    client.encrypt(&vec![7; 65_536]).unwrap_err();
    client.decrypt_with(decrypt(UNKNOWN, &[1; 142])).unwrap_err();
    client
        .decrypt_with(decrypt(&sealed.key_id, &[1; 142]))
        .unwrap_err();
    let other = client.code("/v2.KeyManagementService/Evil", kms::StatusRequest {});

    assert_eq!(other, Code::Unimplemented);
    for (method, code, count) in [
        ("Status", "OK", before + 1),
        ("Status", "Unavailable", 0),
        ("Encrypt", "OK", 1),
        ("Encrypt", "InvalidArgument", 1),
        ("Encrypt", "ResourceExhausted", 1),
        ("Decrypt", "OK", 1),
        ("Decrypt", "NotFound", 1),
        ("Decrypt", "InvalidArgument", 1),
        ("Decrypt", "Internal", 0),
        ("other", "Unimplemented", 1),
    ] {
        assert_eq!(lab.requests(method, code), count, "{method} {code}");
    }
    let scrape = lab.scrape();
    for (method, count) in [("Encrypt", 3), ("Decrypt", 3), ("other", 1)] {
        let labels = [("method", method)];
        assert_eq!(whole(scrape.sum("kekring_requests_total", &labels)), count);
        let counted = scrape.value("kekring_request_duration_seconds_count", &labels);
        assert_eq!(whole(counted), count, "each is timed once");
        let all = [("method", method), ("le", "+Inf")];
        assert_eq!(
            whole(scrape.value("kekring_request_duration_seconds_bucket", &all)),
            count
        );
        assert!(scrape.value("kekring_request_duration_seconds_sum", &labels) > 0.0);
        assert_eq!(whole(scrape.value("kekring_requests_in_flight", &labels)), 0);
    }
}

#[test]
fn status_that_is_an_error_counts_as_one() {
    let mut plugin = Plugin::prepared(ON);
    fs::remove_file(plugin.dir.join("root.key")).unwrap();
    plugin.spawn();
    wait_until("the socket", PATIENCE, || {
        UnixStream::connect(&plugin.socket).is_ok()
    });
    let lab = Lab::of(plugin);

    lab.client.status().unwrap_err();
    lab.client.encrypt(&[1; 32]).unwrap_err();

    assert_eq!(lab.requests("Status", "Unavailable"), 1);
    assert_eq!(lab.requests("Encrypt", "Unavailable"), 1);
    assert_eq!(lab.number("ready"), 0);
    assert_eq!(lab.number("problems"), 1);
    assert!(lab.value("kekring_reloads_total", &[("result", "failure")]) >= 1);
    assert_eq!(lab.number("reload_last_success_timestamp_seconds"), 0);
    assert!(
        !lab.scrape().0.contains_key("kekring_generation"),
        "nothing is said of a ring that is not open"
    );
}

#[test]
fn a_request_is_in_flight_until_it_ends_or_its_caller_goes_away() {
    let lab = Lab::start();
    let in_flight = || lab.value("kekring_requests_in_flight", &[("method", "Decrypt")]);

    // A Decrypt under an unknown key waits for its turn to have the store read, up to a second; some are answered before.
    let mut seen = false;
    wait_until("one to be seen, and one to be canceled", PATIENCE, || {
        let request = decrypt(UNKNOWN, &[1; 142]);
        seen |= lab.client.abandon(request, || in_flight() == 1);
        seen && lab.requests("Decrypt", "Canceled") >= 1
    });

    wait_until("none to be in flight", PATIENCE, || in_flight() == 0);
}

#[test]
fn seeds_count_by_key_and_by_the_state_that_the_key_is_in() {
    let lab = Lab::start();
    let sealed = lab.client.encrypt(&[7; 32]).unwrap();
    lab.client.decrypt(&sealed).unwrap();
    let first = &lab.keys()[0];
    let encrypts = |key: &Key| lab.value("kekring_encrypts_total", &[("key_id_hash", &key.hash)]);
    let decrypts = |key: &Key, state: &str| {
        let labels = [("key_id_hash", key.hash.as_str()), ("state", state)];
        lab.scrape()
            .find("kekring_decrypts_total", &labels)
            .map_or(0, whole)
    };
    assert_eq!((encrypts(first), decrypts(first, "active")), (1, 1));

    assert!(lab.plugin.verb(&["rotate"]).status.success());
    lab.client.decrypt(&sealed).unwrap();
    lab.client.status().unwrap();
    lab.client.encrypt(&[7; 32]).unwrap();

    let second = &lab.keys()[1];
    assert_eq!(decrypts(first, "deactivated"), 1);
    assert_eq!((encrypts(first), encrypts(second)), (1, 1));

    let suspend = lab.plugin.verb(&["keys", "suspend", &first.id]);
    assert!(suspend.status.success());
    wait_until("the key to be suspended", PATIENCE, || {
        lab.client.decrypt(&sealed).is_err()
    });

    assert!(decrypts(first, "suspended") >= 1);
    assert_eq!(decrypts(first, "active"), 1, "what was counted stays");
    assert!(lab.requests("Decrypt", "FailedPrecondition") >= 1);
}

#[test]
fn decrypts_that_cannot_succeed_count_by_why_and_no_name_from_outside_is_shown() {
    let lab = Lab::start();
    let sealed = lab.client.encrypt(&[7; 32]).unwrap();
    let hash = lab.keys()[0].hash.clone();
    let series = |scrape: &Scrape| scrape.0.values().map(|it| it.samples.len()).sum::<usize>();
    let before = series(&lab.scrape());

    lab.client
        .decrypt_with(decrypt(&sealed.key_id, &[1; 142]))
        .unwrap_err();
    for name in [UNKNOWN, "evil-0123", "sha256:evil", "\"} 1\nkekring_evil 1"] {
        lab.client.decrypt_with(decrypt(name, &[1; 142])).unwrap_err();
    }

    let scrape = lab.scrape();
    let failed = scrape.value("kekring_decrypts_failed_total", &[("key_id_hash", &hash)]);
    assert_eq!(whole(failed), 1);
    assert_eq!(whole(scrape.value("kekring_decrypts_unknown_key_total", &[])), 4);
    assert_eq!(series(&scrape), before, "nobody makes series from outside");
    let known: Vec<String> = lab.keys().into_iter().map(|key| key.hash).collect();
    assert!(
        scrape
            .label_values("key_id_hash")
            .iter()
            .all(|it| known.contains(it))
    );
}

#[test]
fn the_ring_is_described_and_a_rotation_moves_what_it_should() {
    let lab = Lab::start();

    for active in [0, 1] {
        lab.wait("generation", i64::try_from(active).unwrap() + 1);
        let (keys, scrape) = (lab.keys(), lab.scrape());
        let (active, next) = (&keys[active], &keys[active + 1]);
        let info = |name: &str, key: &Key| scrape.value(name, &[("key_id_hash", &key.hash)]);
        let time = |name: &str| whole(scrape.value(&format!("kekring_{name}_timestamp_seconds"), &[]));
        assert_eq!(whole(info("kekring_active_key_info", active)), 1);
        assert_eq!(whole(info("kekring_next_key_info", next)), 1);
        assert_eq!(scrape.0["kekring_active_key"].samples.len(), 1);
        assert_eq!(time("active_key_created"), active.created);
        assert_eq!(Some(time("active_key_activated")), active.activated);
        assert_eq!(time("next_key_created"), next.created);
        let (period, due) = (30 * 86_400, time("rotation_due") - time("active_key_activated"));
        assert!((period..=period * 11 / 10 + 2).contains(&due), "{due}");
        let used = scrape.value("kekring_ring_used_ratio", &[]);
        let length = fs::metadata(lab.plugin.newest()).unwrap().len();
        assert!(
            (used * 917_504.0 - f64::from(u32::try_from(length).unwrap())).abs() < 0.5,
            "{used}"
        );
        let left = whole(scrape.value("kekring_ring_room_left_seconds", &[]));
        assert_eq!((left % period, left / period > 10_000), (0, true), "{left}");
        let states = [
            ("active", 1),
            ("pre-active", 1),
            ("deactivated", keys.len() - 2),
            ("suspended", 0),
        ];
        for (state, count) in states {
            let counted = whole(scrape.value("kekring_keys", &[("state", state)]));
            assert_eq!(counted, i64::try_from(count).unwrap(), "{state}");
        }
        // So that the next key is made in another second than this one.
        wait_until("the clock to move on", PATIENCE, || now() > next.created);
        lab.plugin.verb(&["rotate"]);
    }
}

#[test]
fn slots_are_counted_and_so_are_the_keys_that_no_backup_has() {
    let lab = Lab::start();
    assert_eq!(lab.number("root_slots"), 1);
    assert_eq!(lab.number("backup_timestamp_seconds"), 0);
    assert_eq!(lab.number("backup_missing_keys"), 2);

    let before = now();
    let file = lab.plugin.dir.join("backup");
    let backup = lab.plugin.verb(&["backup", file.to_str().unwrap()]);
    assert!(backup.status.success(), "{}", shown(&backup));

    // At once, rather than with the next full read in half a minute.
    lab.plugin.signal(Signal::HUP);
    lab.wait("backup_missing_keys", 0);
    let written = lab.number("backup_timestamp_seconds");
    assert!((before..=now()).contains(&written), "{before} {written}");
    assert!(lab.plugin.verb(&["rotate"]).status.success());
    lab.wait("backup_missing_keys", 1);
    assert_eq!(lab.number("backup_timestamp_seconds"), written);
}

#[test]
fn a_prepared_rotation_waits() {
    let lab = Lab::start();
    assert_eq!(
        (lab.number("rotation_waiting"), lab.number("rotation_overdue")),
        (0, 0)
    );

    assert!(lab.plugin.verb(&["rotate", "--prepare"]).status.success());
    lab.wait("rotation_waiting", 1);
    assert_eq!(
        lab.scrape().find("kekring_rotation_due_timestamp_seconds", &[]),
        None,
        "none is due by itself"
    );

    assert!(lab.plugin.verb(&["rotate", "--activate"]).status.success());
    lab.wait("rotation_waiting", 0);
}

#[test]
fn a_ring_that_is_not_rotated_becomes_overdue_and_says_that_it_is_frozen() {
    let mut plugin = Plugin::prepared("{}");
    let id = plugin.dir.join("machine-id");
    fs::write(&id, "00000000000000000000000000000001\n").unwrap();
    plugin.configure(&format!(
        "{{node: {{machineIdFile: {}}}, rotation: {{period: 2s, allowShort: true}}, telemetry: {{listen: '127.0.0.1:0'}}}}",
        id.display()
    ));
    plugin.serve();

    let lab = Lab::of(plugin);

    lab.wait("rotation_overdue", 1);
    assert_eq!(lab.number("ring_frozen"), 1);
    assert!(lab.number("warnings") >= 1);
    assert_eq!(lab.value("kekring_rotations_total", &[("result", "success")]), 0);
}

#[test]
fn rotations_that_the_server_begins_count_and_so_do_those_that_fail() -> Result<(), Missing> {
    let mut plugin =
        Plugin::prepared("{rotation: {period: 1s, allowShort: true}, telemetry: {listen: '127.0.0.1:0'}}");
    plugin.serve();
    let lab = Lab::of(plugin);
    let rotations = |result| lab.value("kekring_rotations_total", &[("result", result)]);
    wait_until("a rotation", PATIENCE, || rotations("success") >= 1);
    assert_eq!(rotations("failure"), 0);

    let _immutable = Immutable::new(&lab.plugin.dir.join("ring"))?;
    wait_until("a rotation to fail", PATIENCE, || rotations("failure") >= 1);

    lab.wait("rotation_overdue", 1);
    let due = lab.number("rotation_due_timestamp_seconds");
    assert!(due <= now(), "it was due at {due}");
    assert_eq!(lab.number("ready"), 1, "overdue is no ill health");
    assert!(lab.number("problems") >= 1);
    Ok(())
}

#[test]
fn reads_of_the_stored_ring_count_by_outcome() {
    let lab = Lab::start();
    let reloads = |result| lab.value("kekring_reloads_total", &[("result", result)]);
    let before = reloads("success");
    let taken = lab.number("reload_last_success_timestamp_seconds");
    assert!(before >= 1 && (now() - taken).abs() < 60, "{before} {taken}");

    lab.plugin.signal(Signal::HUP);
    wait_until("it to be read again", PATIENCE, || reloads("success") > before);
    assert_eq!(reloads("failure"), 0);

    for entry in fs::read_dir(lab.plugin.dir.join("ring")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "ring") {
            fs::write(path, b"damaged").unwrap();
        }
    }
    lab.plugin.signal(Signal::HUP);
    wait_until("that to fail", PATIENCE, || reloads("failure") >= 1);
    assert_eq!((lab.number("ready"), lab.number("problems")), (1, 1));
}

#[test]
fn the_last_status_is_dated_whatever_connection_it_came_by() {
    let mut plugin = Plugin::prepared(ON);
    plugin.spawn();
    let lab = Lab::of(plugin);
    assert_eq!(lab.number("status_last_timestamp_seconds"), 0, "never");

    let before = now();
    Client::connect(&lab.plugin.socket).status().unwrap();

    let last = lab.number("status_last_timestamp_seconds");
    assert!((before..=now()).contains(&last), "{before} {last}");
}

#[test]
fn peers_that_are_refused_count_here_and_in_the_status_file() {
    let mut plugin = Plugin::prepared("{socket: {allowUsers: [4711]}, telemetry: {listen: '127.0.0.1:0'}}");
    plugin.spawn();
    let address = plugin.telemetry();
    assert_eq!(
        whole(Scrape::of(&address).value("kekring_peers_refused_total", &[])),
        0
    );

    assert!(!plugin.verb(&["probe", "--timeout", "5s"]).status.success());

    let refused = whole(Scrape::of(&address).value("kekring_peers_refused_total", &[]));
    assert!(refused >= 1);
    wait_until("the status file to say so", PATIENCE, || {
        let node = &plugin.json(&["status"])["nodes"][0];
        node["refusedPeers"].as_i64().unwrap() >= refused
    });
}

#[test]
fn connections_count_while_they_are_open_and_beyond_the_cap() {
    let lab = Lab::start();
    lab.client.status().unwrap();
    let before = lab.number("connections");

    let cap = i64::try_from(kekring::server::MAX_CONNECTIONS).unwrap();
    let mut held: Vec<UnixStream> = (before..cap).map(|_| idle(&lab.plugin.socket)).collect();
    lab.wait("connections", cap);
    assert_eq!(lab.number("connections_cut_total"), 0);
    Client::connect(&lab.plugin.socket).status().unwrap();

    assert_eq!(lab.number("connections_cut_total"), 1);
    assert_eq!(lab.number("connections_turned_away_total"), 0);
    held.clear();
    lab.wait("connections", before);
}

#[test]
#[needs(descriptor_counts)]
fn accepts_that_fail_count() {
    let lab = Lab::start();
    let pid = Some(lab.plugin.pid());
    let open = open_files(lab.plugin.pid());
    let usual = getrlimit(Resource::Nofile);
    let tight = Rlimit {
        current: Some(open),
        maximum: usual.maximum,
    };

    prlimit(pid, Resource::Nofile, tight).unwrap();
    let waiting: Vec<UnixStream> = (0..4)
        .map(|_| UnixStream::connect(&lab.plugin.socket).unwrap())
        .collect();
    wait_until("an accept to fail", PATIENCE, || {
        lab.plugin.log().contains("cannot accept a connection")
    });
    prlimit(pid, Resource::Nofile, usual).unwrap();

    drop(waiting);
    assert!(lab.number("accepts_failed_total") >= 1);
}

#[test]
fn a_flood_of_encrypts_is_a_few_lines_and_a_count() {
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let lines = || plugin.log().matches("Encrypt done").count();

    let mut sent: usize = 0;
    wait_until("a line that counts what was left out", PATIENCE, || {
        client.encrypt(&[7; 32]).unwrap();
        sent += 1;
        plugin
            .log()
            .lines()
            .any(|line| line.contains("Encrypt done") && !line.contains("untold=0"))
    });

    assert!(sent > 10 && lines() < sent, "{} lines of {sent}", lines());
}

#[test]
fn lines_of_the_log_that_nobody_reads_are_counted_and_hold_nothing_up() {
    let plugin = Plugin::prepared(ON);
    // The pipe is never read.
    let mut command = plugin.command(&["serve"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let server = crate::support::Killed(command.spawn().unwrap());
    let lab = Lab::of(plugin);

    wait_until("lines to be dropped", PATIENCE, || {
        for _ in 0..500 {
            lab.client.encrypt(&[]).unwrap_err();
        }
        lab.number("log_lines_dropped_total") > 0
    });

    assert!(server.0.stderr.is_some());
}

#[test]
fn protections_version_and_start_are_what_the_status_file_says() {
    let started = now();
    let lab = Lab::start();

    let node = lab.plugin.json(&["status"])["nodes"][0].clone();
    let scrape = lab.scrape();

    let shown: BTreeMap<String, bool> = scrape.0["kekring_protection"]
        .samples
        .iter()
        .map(|(_, labels, value)| (labels["protection"].clone(), *value > 0.5))
        .collect();
    let told = node["protections"].as_array().unwrap();
    assert_eq!(shown.len(), told.len());
    for protection in told {
        // Behind the name is how it is done, or why the kernel refused it.
        let text = protection.as_str().unwrap();
        let (name, refused) = match text.split_once(": ") {
            Some((name, rest)) => (name, rest.starts_with("refused")),
            None => (text, false),
        };
        assert_eq!(shown[name], !refused, "{name}");
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(whole(scrape.value("kekring_build_info", &version)), 1);
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    let start = whole(scrape.value("kekring_start_timestamp_seconds", &[]));
    assert!((started..=now()).contains(&start), "{start}");
}
