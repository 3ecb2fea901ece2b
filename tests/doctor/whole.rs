//! The report as a whole: a good setup, exit codes, text, and what must never be in it.

use std::fs;

use kekring_kit::{Lacking, Missing};
use serde_json::json;

use crate::support::{kekring, shown};
use crate::world::{Files, Node, OF_THE_MACHINE, mode};

#[test]
fn a_good_setup_has_no_failure_and_no_warning_but_of_the_machine() {
    let node = Node::served();

    let seen = node.doctor_with(&["--compare", node.files.encryption.to_str().unwrap()]);

    // A file ring is for one node, and two are compared.
    let other: Vec<_> = seen
        .findings
        .iter()
        .filter(|it| it.level != "ok" && !OF_THE_MACHINE.contains(&it.id.as_str()))
        .collect();
    let ids: Vec<_> = other.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["ring/several-file-rings"], "{other:?}");
    let seen = node.doctor();
    assert_eq!(seen.code, 0, "{}", shown(&seen.output));
    assert!(seen.findings.len() > 40);
    for area in [
        "machine/",
        "configuration/",
        "ring/",
        "server/",
        "encryption/",
        "manifest/",
    ] {
        assert!(seen.findings.iter().any(|it| it.id.starts_with(area)), "{area}");
    }
    for id in [
        "encryption/identity",
        "encryption/name",
        "encryption/order",
        "ring/strays",
    ] {
        seen.finding("ok", id);
    }
}

#[test]
fn a_good_setup_is_good_in_each_phase_of_the_way_in_and_out() {
    let node = Node::served();
    let expected = [
        ("read", Some("encryption/identity-first")),
        ("write", None),
        ("exit", Some("encryption/identity-first")),
    ];
    let good = node.doctor();

    for (phase, warns) in expected {
        let output = node.must(&["config", "encryption", "--phase", phase]);
        fs::write(&node.files.encryption, output.stdout).unwrap();

        let seen = node.doctor();

        assert_eq!(seen.code, 0, "{}", shown(&seen.output));
        match warns {
            Some(id) => drop(seen.only(&good, "warning", id)),
            None => seen.no_worse(&good),
        }
    }
}

#[test]
fn exit_codes_tell_failures_warnings_and_a_configuration_that_cannot_be_used() {
    let node = Node::served();
    node.configure(json!({"rotation": {"period": "500d"}}));
    let warned = node.doctor();
    assert_eq!(warned.code, 0);
    let strict = node.doctor_with(&["--strict"]);
    assert_eq!(strict.code, 1);
    let said = String::from_utf8_lossy(&strict.output.stderr).into_owned();
    assert!(
        said.starts_with("error: the doctor found warnings, and --strict") && said.contains("\nhint: "),
        "{said}"
    );

    fs::remove_file(node.path("second.key")).unwrap();
    let failed = node.doctor();
    assert_eq!(failed.code, 1);
    failed.finding("failure", "configuration/root-file");

    // What could be looked at all the same is shown.
    fs::write(&node.plugin.config, "apiVersion: kekring/v2\n").unwrap();
    let unusable = node.doctor();
    assert_eq!(unusable.code, 2);
    unusable.finding("failure", "configuration/valid");
    unusable.finding("skipped", "ring/opens");
    unusable.finding("skipped", "server/answers");
    unusable.finding("ok", "encryption/accepted");
    unusable.finding("ok", "manifest/version");
    assert_eq!(node.doctor_with(&["--no-such-flag"].map(|_| "--strict")).code, 2);
}

#[test]
fn text_has_one_line_for_each_finding_with_its_level_first_and_closes_with_the_counts() {
    let node = Node::served();
    node.configure(json!({"rotation": {"period": "500d"}}));
    let seen = node.doctor();

    let output = node
        .plugin
        .command(&["doctor"])
        .arg("--manifest")
        .arg(&node.files.manifest)
        .output()
        .unwrap();

    let text = String::from_utf8(output.stdout).unwrap();
    for level in ["ok", "skipped", "warning", "failure"] {
        let lines = text
            .lines()
            .filter(|line| line.split(' ').next() == Some(level))
            .count();
        assert_eq!(
            lines,
            seen.findings.iter().filter(|it| it.level == level).count(),
            "{level}: {text}"
        );
    }
    assert!(
        text.contains("\nwarning  configuration/rotation-period  rotation.period: 500d: "),
        "{text}"
    );
    assert!(
        text.contains("\n         remedy: set 30d, the default\n"),
        "{text}"
    );
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("0 failures, ") && last.ends_with(" ok"),
        "{last}"
    );
    assert!(!text.contains('\x1b'), "colours are for terminals");
}

#[test]
fn nothing_says_where_the_api_server_is_and_so_it_is_skipped_with_what_to_give() -> Result<(), Missing> {
    let node = Node::good();

    let output = node.plugin.verb(&["doctor", "-o", "json"]);

    let seen = crate::world::Seen::of(output);
    let control_plane = std::path::Path::new("/etc/kubernetes/manifests/kube-apiserver.yaml").exists();
    (!control_plane).or_needs("a machine that is no control-plane node")?;
    assert!(
        seen.finding("skipped", "manifest/readable")
            .remedy
            .contains("--manifest")
    );
    assert!(
        seen.finding("skipped", "encryption/readable")
            .remedy
            .contains("--encryption-config")
    );
    Ok(())
}

#[test]
fn it_changes_no_file() {
    let node = Node::served();
    let tree = || {
        let output = std::process::Command::new("find")
            .arg(&node.plugin.dir)
            .args([
                "-not",
                "-name",
                "status.json",
                "-not",
                "-path",
                "*/run",
                "-printf",
                "%p %i %m %s %T@\n",
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        let mut lines: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        lines.retain(|line| !line.contains("/serve.log ") && !line.contains("/.status-"));
        lines.sort();
        lines
    };
    let before = tree();

    assert_eq!(node.doctor().code, 0);

    assert_eq!(tree(), before);
}

#[test]
fn a_throw_away_ring_is_looked_at_too() {
    let dir = crate::support::scratch();
    let dev = dir.path().join("dev").display().to_string();
    let mut server = crate::support::Killed(
        kekring(&["serve", "--dev", &dev])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    crate::support::wait_until("the server", crate::support::PATIENCE, || {
        kekring(&["probe", "--dev", &dev])
            .output()
            .unwrap()
            .status
            .success()
    });

    let seen = crate::world::Seen::of(
        kekring(&["doctor", "-o", "json", "--dev", &dev])
            .output()
            .unwrap(),
    );

    assert_eq!(seen.code, 0, "{}", shown(&seen.output));
    seen.finding("warning", "ring/development");
    let remedy = seen.finding("warning", "ring/slots").remedy;
    assert!(
        remedy.contains(&format!("`kekring --dev {dev} root add")),
        "{remedy}"
    );
    server.0.kill().unwrap();
}

#[test]
fn no_secret_is_ever_in_a_report() {
    const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=";
    let node = Node::good();
    let good = fs::read_to_string(&node.files.encryption).unwrap();
    let with = |secret: &str, more: &str| {
        let keys = format!("  - aescbc:\n      keys:\n      - name: key1\n        secret: {secret}\n{more}");
        good.replace("  - identity: {}", &format!("{keys}  - identity: {{}}"))
    };
    let bad = format!("!{KEY}");
    let cases = [
        with(KEY, ""),
        with(&format!("\"{bad}\""), ""),
        with(KEY, &format!("        {KEY}: 1\n")),
        with(KEY, &format!("      keys: {KEY}\n")),
        with(&format!("[{KEY}]"), ""),
        with(&format!("{KEY}\n  broken: [{KEY}"), ""),
        format!("resources: {KEY}\n"),
        KEY.to_owned(),
    ];
    let root = fs::read(node.path("root.key")).unwrap();
    let root = data_encoding::BASE64.encode(&root);
    let other = Files::in_dir(&node.path("other"));
    fs::create_dir_all(other.encryption.parent().unwrap()).unwrap();
    fs::write(&other.encryption, with(&KEY.replace("MTIz", "MTIy"), "")).unwrap();

    for text in cases {
        fs::write(&node.files.encryption, &text).unwrap();
        mode(&node.files.encryption, 0o644);
        for form in ["text", "json"] {
            let mut doctor = node.plugin.command(&["doctor", "-o", form]);
            doctor.arg("--compare");
            let output = doctor
                .arg(&other.encryption)
                .arg("--manifest")
                .arg(&node.files.manifest)
                .output()
                .unwrap();
            let said = shown(&output);
            assert!(output.status.code() == Some(1), "{said}");
            assert!(!said.contains(&KEY[..20]) && !said.contains(&root), "{said}");
        }
    }
}

#[test]
#[needs(root)]
fn a_user_who_may_not_look_is_told_so_and_no_failure_is_made_of_it() {
    let node = Node::served();
    // What a user can reach: the program and the configuration.
    let public = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()
        .unwrap();
    let program = public.path().join("kekring");
    let config = public.path().join("config.yaml");
    fs::copy(crate::support::KEKRING, &program).unwrap();
    fs::copy(&node.plugin.config, &config).unwrap();
    mode(&program, 0o755);
    mode(&config, 0o644);

    let mut doctor = std::process::Command::new(&program);
    crate::support::from_nowhere(&mut doctor);
    doctor.args(["doctor", "-o", "json", "--config"]).arg(&config);
    doctor.arg("--manifest").arg(&node.files.manifest);
    doctor.arg("--encryption-config").arg(&node.files.encryption);
    std::os::unix::process::CommandExt::uid(&mut doctor, 12345);
    let seen = crate::world::Seen::of(doctor.current_dir("/").output().unwrap());

    for id in [
        "ring/opens",
        "ring/strays",
        "server/answers",
        "server/status",
        "manifest/readable",
        "encryption/readable",
        "configuration/root-file",
        "configuration/directory",
        "configuration/socket-directory",
    ] {
        assert!(seen.finding("skipped", id).remedy.contains("root"), "{id}");
    }
    assert!(seen.code < 2, "{}", shown(&seen.output));
}
