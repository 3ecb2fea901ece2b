//! The EncryptionConfiguration.

use std::fs;
use std::path::PathBuf;

use crate::support::kekring;
use crate::world::{Node, manifest, mode};

const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// What is changed in a good configuration, and what comes of it.
const BAD: [(&str, &str, &str, &str, &str); 26] = [
    (
        "  - secrets\n",
        "  - \"*.*\"\n",
        "warning",
        "encryption/everything",
        "let kekring start first",
    ),
    (
        "      apiVersion: v2\n",
        "",
        "failure",
        "encryption/api-version-missing",
        "add `apiVersion: v2`",
    ),
    (
        "apiVersion: v2",
        "apiVersion: v1",
        "failure",
        "encryption/api-version",
        "write `apiVersion: v2`",
    ),
    (
        "apiVersion: v2",
        "apiVersion: v3",
        "failure",
        "encryption/api-version",
        "write `apiVersion: v2`",
    ),
    (
        "apiVersion: v2\n",
        "apiVersion: v2\n      cachesize: 10\n",
        "failure",
        "encryption/cachesize",
        "delete that line",
    ),
    (
        "name: kekring",
        "name: \"kek:ring\"",
        "failure",
        "encryption/name-colon",
        "name it without",
    ),
    (
        "name: kekring",
        "name: \"\"",
        "failure",
        "encryption/name-empty",
        "name it `kekring`",
    ),
    (
        "  - identity: {}",
        "  - kms: {apiVersion: v2, name: kekring, endpoint: \"unix://DIR/run/kms.sock\"}",
        "failure",
        "encryption/name-twice",
        "gives each a name",
    ),
    (
        "unix://DIR",
        "unix:/DIR",
        "failure",
        "encryption/endpoint-form",
        "write `endpoint: unix://DIR/run/kms.sock`",
    ),
    (
        "unix://DIR/run/kms.sock",
        "unix:///@kekring",
        "failure",
        "encryption/endpoint-form",
        "write `endpoint: unix://DIR/run/kms.sock`",
    ),
    (
        "unix://DIR/run/kms.sock",
        "unix://run/kms.sock",
        "failure",
        "encryption/endpoint-form",
        "write `endpoint: unix://DIR/run/kms.sock`",
    ),
    (
        "run/kms.sock",
        "run/other.sock",
        "failure",
        "encryption/endpoint",
        "set endpoint or mounts",
    ),
    (
        "DIR/run/kms.sock",
        "/nowhere/kms.sock",
        "failure",
        "encryption/endpoint-mounted",
        "mount its directory",
    ),
    (
        "timeout: 3s",
        "timeout: 500ms",
        "warning",
        "encryption/timeout",
        "write `timeout: 3s`",
    ),
    (
        "timeout: 3s",
        "timeout: 1m",
        "warning",
        "encryption/timeout",
        "write `timeout: 3s`",
    ),
    (
        "  - identity: {}",
        "  - kms: {apiVersion: v2, name: old, endpoint: \"unix://DIR/run/old.sock\"}",
        "failure",
        "encryption/dead-provider",
        "start that plugin",
    ),
    (
        "  - secrets",
        "  - configmaps",
        "warning",
        "encryption/secrets",
        "--phase read --merge",
    ),
    (
        "resources:\n- resources:",
        "resources:\n- resources: [\"*.*\"]\n  providers: [{identity: {}}]\n- resources:",
        "failure",
        "encryption/accepted",
        "mend that place",
    ),
    (
        "  - secrets",
        "  - secrets\n  - Secrets",
        "failure",
        "encryption/accepted",
        "mend that place",
    ),
    (
        "timeout: 3s",
        "timeOut: 3s",
        "failure",
        "encryption/accepted",
        "mend that place",
    ),
    (
        "timeout: 3s",
        "timeout: soon",
        "failure",
        "encryption/accepted",
        "mend that place",
    ),
    (
        "apiserver.config.k8s.io/v1",
        "apiserver.config.k8s.io/v2",
        "failure",
        "encryption/accepted",
        "mend that place",
    ),
    (
        "identity: {}",
        "identities: {}",
        "failure",
        "encryption/accepted",
        "mend that place",
    ),
    (
        "kind:",
        "kind: [",
        "failure",
        "encryption/readable",
        "mend that line",
    ),
    (
        "identity: {}",
        "aescbc: {keys: []}",
        "failure",
        "encryption/accepted",
        "mend that place",
    ),
    (
        "identity: {}",
        "identity: {}\n  - aescbc: {keys: [{name: k, secret: KEY}]}",
        "failure",
        "encryption/file-mode",
        "`chmod 0600 ",
    ),
];

#[test]
fn each_mistake_has_its_own_finding_and_its_remedy() {
    let node = Node::served();
    let good = node.doctor();
    let text = fs::read_to_string(&node.files.encryption).unwrap();
    let dir = node.plugin.dir.display().to_string();
    let filled = |text: &str| text.replace("DIR", &dir).replace("KEY", KEY);

    for (from, to, level, id, remedy) in BAD {
        let (from, to) = (filled(from), filled(to));
        assert!(text.contains(&from), "{from:?} is not in {text}");
        fs::write(&node.files.encryption, text.replacen(&from, &to, 1)).unwrap();

        let seen = node.doctor();

        let mut new = seen
            .troubles()
            .difference(&good.troubles())
            .cloned()
            .collect::<Vec<_>>();
        // A provider that is not ours any more leaves nobody who is; and kube-apiserver may say the same in other words.
        let consequences = [
            "encryption/not-used",
            "encryption/secrets",
            "server/polled",
            "encryption/accepted",
        ];
        new.retain(|(_, other)| other == id || !consequences.contains(&other.as_str()));
        assert_eq!(
            new,
            [(level.to_owned(), id.to_owned())],
            "{from:?} to {to:?}: {:?}",
            seen.findings
        );
        let finding = seen.finding(level, id);
        assert!(finding.remedy.contains(&filled(remedy)), "{finding:?}");
        assert_eq!(seen.code, i32::from(level == "failure"), "{id}");
    }
}

#[test]
fn a_finding_names_the_line() {
    let node = Node::good();
    let text = fs::read_to_string(&node.files.encryption)
        .unwrap()
        .replace("timeout: 3s", "timeout: 1m");
    fs::write(&node.files.encryption, &text).unwrap();

    let finding = node.doctor().finding("warning", "encryption/timeout");

    let line = 1 + text.lines().position(|line| line.contains("timeout")).unwrap();
    assert_eq!(
        finding.subject,
        format!("{}:{line}", node.files.encryption.display())
    );
}

#[test]
fn a_configuration_that_is_not_there_or_would_hang_is_named() {
    let node = Node::good();
    let good = node.doctor();
    let fifo = node.path("fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let long = node.path("long.yaml");
    fs::write(&long, "a: b\n".repeat(1 << 18)).unwrap();

    let paths: [PathBuf; 4] = [node.path("nowhere.yaml"), node.plugin.dir.clone(), fifo, long];

    for path in paths {
        let seen = node.doctor_with(&["--encryption-config", path.to_str().unwrap()]);
        assert_eq!(seen.code, 1);
        seen.only(&good, "failure", "encryption/readable");
    }
}

#[test]
fn who_writes_in_the_place_of_kekring_is_named_and_the_remedy_puts_kekring_first() {
    let node = Node::served();
    let good = node.doctor();
    let text = fs::read_to_string(&node.files.encryption).unwrap();
    let keys = format!("  - aescbc: {{keys: [{{name: k, secret: {KEY}}}]}}\n");
    let (head, providers) = text.split_once("  providers:\n").unwrap();
    let (kms, identity) = providers.split_at(providers.find("  - identity").unwrap());
    let cases = [
        (
            "encryption/identity-first",
            format!("{head}  providers:\n{identity}{kms}"),
        ),
        (
            "encryption/other-first",
            format!("{head}  providers:\n{keys}{kms}{identity}"),
        ),
    ];

    for (id, text) in cases {
        fs::write(&node.files.encryption, text).unwrap();
        mode(&node.files.encryption, 0o600);
        let finding = node.doctor().only(&good, "warning", id);

        node.follow(&finding, "");

        node.doctor().no_worse(&good);
        let after = fs::read_to_string(&node.files.encryption).unwrap();
        assert_eq!(after.contains(KEY), id == "encryption/other-first", "{after}");
    }
}

#[test]
fn a_configuration_without_kekring_gets_it_by_the_remedy() {
    let node = Node::served();
    let good = node.doctor();
    let bare = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [configmaps]\n  providers:\n  - identity: {}\n";
    fs::write(&node.files.encryption, bare).unwrap();
    let finding = node.doctor().only(&good, "warning", "encryption/not-used");

    node.follow(&finding, "");

    // It reads now; that it writes is the next phase.
    let next = node.doctor().only(&good, "warning", "encryption/identity-first");
    node.follow(&next, "");
    node.doctor().no_worse(&good);
}

#[test]
fn who_can_read_keys_or_write_the_file_is_named_and_the_remedy_ends_it() {
    let node = Node::served();
    let good = node.doctor();
    let text = fs::read_to_string(&node.files.encryption).unwrap();
    let keys = text.replace(
        "identity: {}",
        &format!("identity: {{}}\n  - aescbc: {{keys: [{{name: k, secret: {KEY}}}]}}"),
    );

    for (text, rights) in [(&text, 0o664), (&keys, 0o640)] {
        fs::write(&node.files.encryption, text).unwrap();
        mode(&node.files.encryption, rights);
        let finding = node.doctor().only(&good, "failure", "encryption/file-mode");

        node.follow(&finding, "");

        node.doctor().no_worse(&good);
    }
}

#[test]
fn a_mounted_socket_is_not_a_mounted_directory() {
    let node = Node::served();
    let good = node.doctor();
    let dir = node.plugin.dir.display().to_string();
    let text = manifest(&node.plugin.dir)
        .replace(
            &format!("mountPath: {dir}/run}}"),
            &format!("mountPath: {dir}/run/kms.sock}}"),
        )
        .replace(
            &format!("path: {dir}/run, type: DirectoryOrCreate"),
            &format!("path: {dir}/run/kms.sock, type: Socket"),
        );
    fs::write(&node.files.manifest, text).unwrap();

    let seen = node.doctor();

    let finding = seen.only(&good, "failure", "encryption/endpoint-mounted-as-socket");
    assert!(
        finding.remedy.contains("mount its directory instead"),
        "{finding:?}"
    );
}

#[test]
fn a_provider_that_lives_is_not_dead() {
    let node = Node::served();
    let good = node.doctor();
    let other = crate::support::Plugin::start();
    let text = fs::read_to_string(&node.files.encryption).unwrap();
    let socket = other.socket.display();
    let more =
        format!("  - kms: {{apiVersion: v2, name: old, endpoint: \"unix://{socket}\"}}\n  - identity: {{}}");
    fs::write(&node.files.encryption, text.replace("  - identity: {}", &more)).unwrap();
    let (here, there) = (
        node.plugin.dir.display().to_string(),
        other.dir.display().to_string(),
    );
    let manifest = manifest(&node.plugin.dir)
        .replace(
            "    volumeMounts:\n",
            &format!("    volumeMounts:\n    - {{name: old, mountPath: {there}/run}}\n"),
        )
        .replace(
            "  volumes:\n",
            &format!("  volumes:\n  - {{name: old, hostPath: {{path: {there}/run}}}}\n"),
        );
    assert!(manifest.contains(&here));
    fs::write(&node.files.manifest, manifest).unwrap();
    node.doctor().no_worse(&good);

    drop(other);

    node.doctor().only(&good, "failure", "encryption/dead-provider");
}

#[test]
fn kube_apiservers_rules_are_those_of_the_verb_that_writes() {
    let node = Node::good();
    let text = fs::read_to_string(&node.files.encryption).unwrap();
    fs::write(
        &node.files.encryption,
        text.replace("timeout: 3s", "timeout: soon"),
    )
    .unwrap();

    let said = node.doctor().finding("failure", "encryption/accepted").message;

    let output = kekring(&["config", "encryption", "--config"])
        .arg(&node.plugin.config)
        .arg("--merge")
        .arg(&node.files.encryption)
        .output()
        .unwrap();
    let why = said.rsplit_once("accept it: ").unwrap().1;
    assert!(String::from_utf8_lossy(&output.stderr).contains(why), "{why}");
}
