//! README.md and the page of the static Pod are true: their commands run as they stand there, and the tables say what the code says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[macro_use]
extern crate kekring_kit;

mod document;
mod leaving;
mod metrics;
mod shell;
mod static_pod;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::process::ExitCode;

use document::{blocks, columns, commands, table};
use kekring::config::{self, Node, Rotation, Socket, Store, Telemetry};
use kekring::{format, keyring, server, service, store};
use serde_json::Value;
use shell::Shell;
use support::{configuration_keys, in_repository, kekring, shown};

fn main() -> ExitCode {
    kekring_kit::main("readme")
}

/// Commands that do not run here, by how they begin, and why.
const NOT_RUN: [(&str, &str); 8] = [
    ("cargo test", "this suite is a part of it"),
    (
        "deploy/kind/first-look.sh",
        "needs Docker; tests/kind makes its cluster by it",
    ),
    (
        "bash deploy/rewrite/rewrite.sh",
        "needs a cluster; tests/apiserver types its page",
    ),
    ("cargo install", "builds everything once more, optimised"),
    ("kubectl", "needs a cluster; tests/apiserver has a kube-apiserver"),
    (
        "curl",
        "needs the machine's port; metrics.rs here has one of its own",
    ),
    (
        "head -c 32",
        "needs systemd-creds and root; the golden files of `root add` have a credential",
    ),
    ("etcdctl", "needs a cluster; tests/apiserver reads etcd"),
];
/// What else a command may begin with.
const RUN: [&str; 5] = ["cargo run --release -- ", "kekring ", "mkdir ", "cp ", "mv "];

#[test]
fn every_command_runs_in_the_order_of_the_page() {
    let mut shell = Shell::new(&our_configuration());
    let mut run = 0;

    for command in commands() {
        if NOT_RUN.iter().any(|(start, _)| command.starts_with(start)) {
            continue;
        }
        assert!(
            RUN.iter().any(|start| command.starts_with(start)),
            "{command:?} is in README.md, and this suite does not know it: teach it, or add it to NOT_RUN"
        );
        shell.run(&command);
        run += 1;
    }

    shell.stop();
    assert!(run > 20, "{run} commands were found: is this README.md?");
}

#[test]
fn no_excuse_outlives_its_command() {
    let commands = commands();

    for (start, why) in NOT_RUN {
        assert!(
            commands.iter().any(|command| command.starts_with(start)),
            "README.md no longer has {start:?} ({why})"
        );
    }
    for needed in ["cargo run --release -- serve --dev ./dev", "cargo test"] {
        assert!(
            commands.iter().any(|command| command == needed),
            "{needed} is missing"
        );
    }
}

#[test]
fn the_manifest_has_both_flags_and_mounts_what_it_names() {
    let manifest = blocks()
        .into_iter()
        .find(|block| block.text.starts_with("spec:"))
        .expect("the manifest of kube-apiserver");

    let tree: Value = serde_saphyr::from_str(&manifest.text).unwrap();

    let container = &tree["spec"]["containers"][0];
    let command = container["command"].to_string();
    assert!(command.contains("--encryption-provider-config-automatic-reload=true"));
    let mounts = container["volumeMounts"].as_array().unwrap();
    let paths: Vec<&str> = mounts
        .iter()
        .map(|it| it["mountPath"].as_str().unwrap())
        .collect();
    assert!(command.contains(&format!("--encryption-provider-config={}/", paths[1])));
    assert!(Socket::default().path.starts_with(paths[0]));
    for (mount, volume) in mounts.iter().zip(tree["spec"]["volumes"].as_array().unwrap()) {
        assert_eq!(mount["name"], volume["name"]);
        assert_eq!(mount["mountPath"], volume["hostPath"]["path"]);
    }
}

#[test]
fn the_table_of_keys_has_every_key_with_its_default() {
    let socket = Socket::default();
    let file = Store::default();
    let Telemetry { listen, log } = Telemetry::default();
    let defaults = [
        (
            "node.machineIdFile",
            Node::default().machine_id_file.display().to_string(),
        ),
        ("socket.path", socket.path.display().to_string()),
        ("socket.mode", format!("{:04o}", socket.mode.0)),
        ("ring.store.file.dir", file.local().display().to_string()),
        ("ring.store.etcd.prefix", config::DEFAULT_PREFIX.to_owned()),
        ("ring.store.etcd.localCopy", config::DEFAULT_DIR.to_owned()),
        ("telemetry.listen", listen),
        ("telemetry.log.format", format!("{:?}", log.format).to_lowercase()),
        ("telemetry.log.level", format!("{:?}", log.level).to_lowercase()),
    ];

    let rows = columns(&table("| key | variable | default |"));

    let named: Vec<(String, String)> = rows.iter().map(|row| (plain(&row[1]), plain(&row[0]))).collect();
    assert_eq!(named, configuration_keys());
    let default = |key: &str| rows.iter().find(|row| plain(&row[0]) == key).unwrap()[2].clone();
    for (key, value) in defaults {
        assert!(
            default(key).starts_with(&format!("`{value}`")),
            "{key}: {value} is not what {:?} says",
            default(key)
        );
    }
    let period = config::duration(&plain(&default("rotation.period")));
    assert_eq!(period, Ok(Rotation::default().period));
}

/// What the table says of the cap and of who has to go.
fn connections() -> String {
    format!(
        "{}; one more takes the place of one that never asked, of the process with most where it has over {}, \
         or that was quiet for {} min; else the {} beyond are told",
        server::MAX_CONNECTIONS,
        server::GREEDY,
        server::QUIET.as_secs() / 60,
        server::MAX_TURNED_AWAY
    )
}

fn held() -> String {
    format!("{} MiB in all", server::MAX_HELD >> 20)
}

#[test]
fn the_table_of_limits_has_the_limits_of_the_code() {
    use format::{generation, wrapped_seed};
    use server::connection::{ENCRYPT_LINES, HANDSHAKE_DEADLINE, MAX_HEADERS, MAX_STREAMS};
    use server::web::{HEAD_DEADLINE, MAX_HEAD, MAX_SCRAPES, SCRAPE_DEADLINE};
    let kib = |bytes: usize| format!("{} KiB", bytes / 1024);
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    let untold = "a second, each connection; the next line counts the rest as `untold`";
    let expected = [
        (
            "plaintext of an Encrypt",
            format!("1 to {} bytes;", keyring::MAX_PLAINTEXT),
        ),
        (
            "ciphertext",
            format!(
                "{} bytes for 32; at most {} bytes",
                wrapped_seed::OVERHEAD + 32,
                wrapped_seed::MAX_LEN
            ),
        ),
        ("uid", format!("{} bytes", service::MAX_UID)),
        ("key_id", format!("{} bytes are looked at;", service::MAX_KEY_ID)),
        ("annotations", "none".to_owned()),
        ("gRPC message", kib(service::MAX_MESSAGE)),
        ("request headers", kib(usize::try_from(MAX_HEADERS).unwrap())),
        ("connections", connections()),
        ("held by unfinished requests", held()),
        ("requests at once, each connection", MAX_STREAMS.to_string()),
        (
            "first bytes of a connection",
            format!("within {} s", HANDSHAKE_DEADLINE.as_secs()),
        ),
        (
            "Encrypt stays with the key of the last Status",
            format!("for {} s,", service::STATUS_GRACE.as_secs()),
        ),
        (
            "lines about Encrypts that succeeded",
            format!("{ENCRYPT_LINES} {untold}"),
        ),
        ("open requests after SIGTERM", seconds(server::DRAIN)),
        ("path of the socket", format!("{} bytes", config::MAX_SOCKET_PATH)),
        ("connections to the telemetry listener", format!("{MAX_SCRAPES};")),
        (
            "head of a telemetry request",
            format!("{}, within {} s", kib(MAX_HEAD), HEAD_DEADLINE.as_secs()),
        ),
        ("a telemetry connection in all", seconds(SCRAPE_DEADLINE)),
        (
            "one generation of the ring",
            format!("{} MiB", generation::MAX_LEN >> 20),
        ),
        ("generations kept", store::KEPT.to_string()),
    ];

    let rows = columns(&table("| what | limit |"));

    let whats: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(whats, expected.each_ref().map(|(what, _)| *what));
    for (row, (what, limit)) in rows.iter().zip(&expected) {
        assert!(row[1].starts_with(limit), "{what}: {:?}, not {limit:?}", row[1]);
    }
}

#[test]
fn the_table_of_verbs_has_every_verb_and_no_other() {
    let rows = columns(&table("| verb | what it does |"));

    for row in &rows {
        let verb = plain(&row[0]);
        let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let output = kekring(&words).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", shown(&output));
    }
    for verb in kekring::cli::command()
        .get_subcommands()
        .filter(|it| !it.is_hide_set())
    {
        let verb = verb.get_name();
        let known = rows
            .iter()
            .any(|row| plain(&row[0]).split(' ').next() == Some(verb));
        assert!(known, "the table of verbs lacks {verb}");
    }
}

#[test]
fn every_message_that_is_explained_is_one_of_ours() {
    let source = source();

    let mut rows = columns(&table("| it says | what to do |"));
    rows.extend(columns(&table("| it says | what it means, and what to do |")));

    assert!(rows.len() > 60, "{} messages", rows.len());
    for row in rows {
        for message in row[0].split('`').skip(1).step_by(2) {
            assert!(source.contains(message), "nothing in src/ says {message:?}");
        }
    }
}

#[test]
fn every_file_that_a_page_names_exists() {
    let pages = [
        "README.md",
        "SECURITY.md",
        "benches/README.md",
        "deploy/README.md",
        "deploy/doctor.md",
        "deploy/etcd/README.md",
        "deploy/kind/README.md",
        "deploy/kubeadm/README.md",
        "deploy/leaving/README.md",
        "deploy/monitoring/README.md",
        "deploy/release/README.md",
        "deploy/rewrite/README.md",
        "deploy/systemd/README.md",
    ];
    let mut links = 0;
    for page in pages {
        let page = in_repository(page);
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split(')').next().unwrap();
            let file = target.split('#').next().unwrap();
            if target.starts_with("https://") {
                continue;
            }
            assert!(
                page.parent().unwrap().join(file).exists(),
                "{} links to {target}",
                page.display()
            );
            links += 1;
        }
    }
    assert!(links > 30, "{links} links");
}

fn our_configuration() -> String {
    let block = blocks()
        .into_iter()
        .find(|block| block.text.contains("kind: Configuration"));
    block.expect("a configuration of ours").text
}

fn plain(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

fn source() -> String {
    let mut text = String::new();
    let mut places = vec![in_repository("src")];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            text += &fs::read_to_string(place).unwrap();
        }
    }
    text
}
