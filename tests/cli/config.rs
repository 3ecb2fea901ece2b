//! Configurations by their mistake; kube-apiserver's configuration as it is generated.

use std::fs;

use crate::support::{Plugin, shown};
use crate::{assert_error, parts};

const GOOD: &str = "apiVersion: kekring/v1alpha1
kind: Configuration
ring:
  store: {file: {dir: /var/lib/kekring}}
  roots:
  - file: {path: /etc/kekring/root.key}
";

/// A configuration, and what is wrong with it.
#[allow(clippy::too_many_lines)] // a table
fn mistakes() -> Vec<(String, &'static str)> {
    let cases: [(&str, &'static str); 25] = [
        ("", "a map of keys and values belongs here"),
        ("[]", "a map of keys and values belongs here"),
        ("a: [", "line 1"),
        (
            &GOOD.replace("kind: Configuration", "kind: Pod"),
            "kind is \"Pod\"",
        ),
        (&GOOD.replace("v1alpha1", "v9"), "apiVersion is \"kekring/v9\""),
        (&GOOD.replace("ring:\n", "rign:\n"), "rign"),
        (&format!("{GOOD}socket: {{paht: /run/x}}\n"), "paht"),
        (
            &format!("{GOOD}socket: {{mode: \"0666\"}}\n"),
            "others must not connect",
        ),
        (
            &format!("{GOOD}socket: {{mode: \"rw\"}}\n"),
            "socket.mode is \"rw\"",
        ),
        (
            &format!("{GOOD}socket: {{path: kms.sock}}\n"),
            "expected an absolute path",
        ),
        (
            &format!("{GOOD}socket: {{allowUsers: []}}\n"),
            "nobody could connect",
        ),
        (
            &format!("{GOOD}socket: {{allowUsers: [root]}}\n"),
            "line 7 column 23: `root` is no whole number",
        ),
        (
            &format!("{GOOD}rotation: {{period: monthly}}\n"),
            "is not a duration",
        ),
        (&format!("{GOOD}rotation: {{period: 0s}}\n"), "under 1 s"),
        (
            &format!("{GOOD}rotation: {{period: 30s}}\n"),
            "rotation.period is 30s, under 1h: every key is kept, and the ring would soon be full; 30d may be meant, and tests set rotation.allowShort: true",
        ),
        (
            &format!("{GOOD}rotation: {{period: 59m 59s, allowShort: false}}\n"),
            "rotation.period is 59m59s, under 1h: every key is kept, and the ring would soon be full; tests set",
        ),
        (
            &format!("{GOOD}rotation: {{allowShort: 1}}\n"),
            "expected a boolean",
        ),
        (&format!("{GOOD}node: {{name: \"a b\"}}\n"), "node.name"),
        (&format!("{GOOD}telemetry: {{log: {{level: loud}}}}\n"), "loud"),
        (&GOOD.replace("/var/lib/kekring", "lib"), "ring.store.file.dir"),
        (&GOOD.replace("- file", "- tpm"), "tpm"),
        (
            &GOOD.replace("\n  - file: {path: /etc/kekring/root.key}", " []"),
            "roots is empty",
        ),
        (
            &format!("{GOOD}  mirror: /var/lib/kekring\n"),
            "ring.mirror is the ring's own directory",
        ),
        (&format!("{GOOD}  id: xyz\n"), "ring.id"),
        (&format!("{GOOD}kind: Configuration\n"), "`kind` is there twice"),
    ];
    cases.map(|(text, says)| (text.to_owned(), says)).to_vec()
}

/// A store, and what is wrong with it.
fn mistaken_stores() -> Vec<(String, &'static str)> {
    let cases: [(&str, &'static str); 6] = [
        (
            &GOOD.replace("file: {dir", "s3: {dir"),
            "line 4 column 11: unknown variant `s3`, expected `file` or `etcd`",
        ),
        (
            &GOOD.replace("file: {dir", "etcd: {dir"),
            "line 4 column 18: unknown field `dir`, expected one of `endpoints`",
        ),
        (
            &GOOD.replace(
                "{file: {dir",
                "{etcd: {endpoints: [https://10.0.0.1]}, file: {dir",
            ),
            "line 4 column 10: exactly one of `file`, `etcd` belongs here, not `etcd`, `file`",
        ),
        (
            &GOOD.replace("{file: {dir: /var/lib/kekring}}", "{}"),
            "line 4 column 10: exactly one of `file`, `etcd` belongs here",
        ),
        (
            &GOOD.replace("{file: {dir: /var/lib/kekring}}", "{etcd: {}}"),
            "ring.store.etcd.endpoints is empty",
        ),
        (
            &GOOD.replace("{file: {dir: /var/lib/kekring}}", "etcd"),
            "line 4 column 10: this is a key, and its value is missing",
        ),
    ];
    cases.map(|(text, says)| (text.to_owned(), says)).to_vec()
}

#[test]
fn each_mistake_is_named() {
    let plugin = Plugin::unmade("{}");
    for (text, says) in [mistakes(), mistaken_stores()].concat() {
        fs::write(&plugin.config, text).unwrap();
        let output = plugin.verb(&["config", "check"]);
        assert_error(&output, 2, says);
        assert!(
            parts(&output).2.contains(plugin.config.to_str().unwrap()),
            "{says}"
        );
    }
    fs::write(&plugin.config, GOOD).unwrap();
    assert!(plugin.verb(&["config", "check"]).status.success());
}

#[test]
fn an_unknown_key_is_refused_at_every_level() {
    let plugin = Plugin::unmade("{}");
    for tweak in [
        "{unknwon: 1}",
        "{node: {unknwon: 1}}",
        "{socket: {unknwon: 1}}",
        "{ring: {unknwon: 1}}",
        "{ring: {store: {file: {unknwon: 1}}}}",
        "{ring: {store: {file: null, etcd: {unknwon: 1}}}}",
        "{ring: {store: {file: null, etcd: {tls: {unknwon: 1}}}}}",
        "{ring: {store: {file: null, etcd: {user: {unknwon: 1}}}}}",
        "{ring: {roots: [{file: {path: /a, unknwon: 1}}]}}",
        "{ring: {roots: [{passphrase: {path: /a, unknwon: 1}}]}}",
        "{rotation: {unknwon: 1}}",
        "{telemetry: {unknwon: 1}}",
        "{telemetry: {log: {unknwon: 1}}}",
    ] {
        plugin.configure(tweak);
        let output = plugin.verb(&["config", "check"]);
        assert_eq!(output.status.code(), Some(2), "{tweak}");
        assert_error(&output, 2, "unknwon");
    }
}

#[test]
fn a_period_under_an_hour_is_refused_unless_it_may_be_short() {
    let plugin = Plugin::unmade("{}");
    for (rotation, wanted) in [
        (
            "{period: 30s}",
            "rotation.period is 30s, under 1h: every key is kept, and the ring would soon be full; 30d may be meant, and tests set rotation.allowShort: true",
        ),
        (
            "{period: 59m 59s, allowShort: false}",
            "rotation.period is 59m59s, under 1h: every key is kept, and the ring would soon be full; tests set",
        ),
        ("{allowShort: 1}", "expected a boolean"),
        ("{period: 0s, allowShort: true}", "under 1 s"),
    ] {
        plugin.configure(&format!("{{rotation: {rotation}}}"));
        assert_error(&plugin.verb(&["config", "check"]), 2, wanted);
    }
    for rotation in ["{period: 1h}", "{period: 1s, allowShort: true}"] {
        plugin.configure(&format!("{{rotation: {rotation}}}"));
        let checked = plugin.verb(&["config", "check"]);
        assert!(checked.status.success(), "{rotation}: {}", shown(&checked));
    }
}

#[test]
fn a_variable_goes_above_the_file() {
    let plugin = Plugin::unmade("{}");
    let check = |name: &str, value: &str| {
        let mut command = plugin.command(&["config", "check", "-o", "json"]);
        parts(&command.env(name, value).output().unwrap())
    };

    let (code, out, _) = check("KEKRING_ROTATION_PERIOD", "90d");
    assert_eq!(code, 0);
    assert!(out.contains("replaced every 90d"), "{out}");
    assert_eq!(check("KEKRING_SOCKET_ALLOW_USERS", "[0, 7]").0, 0);
    assert_eq!(
        check(
            "KEKRING_RING_ROOTS",
            "[{file: {path: /a}}, {passphrase: {path: /b}}]"
        )
        .0,
        0
    );
    let (code, _, err) = check("KEKRING_ROTATION_PERIOD", "often");
    assert_eq!(code, 2);
    assert!(err.contains("KEKRING_ROTATION_PERIOD"), "{err}");
    let (code, _, err) = check("KEKRING_SOCKET_PATH", "relative");
    assert_eq!(code, 2, "{err}");
    // What Kubernetes sets for a Service named kekring.
    assert_eq!(check("KEKRING_PORT", "tcp://10.0.0.1:443").0, 0);
}
