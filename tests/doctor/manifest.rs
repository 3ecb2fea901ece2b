//! The API server's manifest.

use std::fs;

use crate::world::{Files, Node, manifest};

/// What is changed in a good manifest, and what comes of it.
const BAD: [(&str, &str, &str, &str, &str); 15] = [
    (
        "--encryption-provider-config=",
        "--other=",
        "failure",
        "manifest/encryption-flag",
        "add `- --encryption-provider-config=",
    ),
    (
        "{name: kekring-config, mountPath",
        "{name: other, mountPath",
        "failure",
        "manifest/config-mounted",
        "a hostPath of type Directory at",
    ),
    (
        "    - {name: kekring-config, mountPath: DIR/kms, readOnly: true}\n",
        "",
        "failure",
        "manifest/config-mounted",
        "mount its directory",
    ),
    (
        "mountPath: DIR/kms, ",
        "mountPath: DIR/kms/encryption.yaml, subPath: encryption.yaml, ",
        "warning",
        "manifest/config-mounted-as-file",
        "mount its directory instead",
    ),
    (
        "-automatic-reload=true",
        "-automatic-reload=false",
        "warning",
        "manifest/automatic-reload",
        "add `- --encryption-provider-config-automatic-reload=true`",
    ),
    (
        "    - --encryption-provider-config-automatic-reload=true\n",
        "",
        "warning",
        "manifest/automatic-reload",
        "add `- --encryption-provider-config-automatic-reload=true`",
    ),
    (
        "livenessProbe: {httpGet: {host: 127.0.0.1, path: /livez",
        "livenessProbe: {httpGet: {host: 127.0.0.1, path: /healthz",
        "failure",
        "manifest/liveness",
        "set the path of its livenessProbe to /livez",
    ),
    (
        "startupProbe: {httpGet: {host: 127.0.0.1, path: /livez",
        "startupProbe: {httpGet: {host: 127.0.0.1, path: /readyz?verbose",
        "failure",
        "manifest/liveness",
        "set the path of its startupProbe to /livez",
    ),
    (
        "path: /livez",
        "path: /healthz/kms-providers",
        "failure",
        "manifest/liveness",
        "/livez",
    ),
    (
        "kube-apiserver:v1.36.3",
        "kube-apiserver:v1.31.14",
        "failure",
        "manifest/version",
        "upgrade kube-apiserver to 1.32",
    ),
    (
        "kube-apiserver:v1.36.3",
        "kube-apiserver@sha256:00",
        "skipped",
        "manifest/version",
        "`kube-apiserver --version`",
    ),
    (
        "  containers:\n",
        "  securityContext: {runAsUser: 1000}\n  containers:\n",
        "failure",
        "manifest/user",
        "set socket.allowUsers: [0, 1000]",
    ),
    (
        "127.0.0.1:2379",
        "10.0.0.1:2379,https://10.0.0.2:2379",
        "warning",
        "ring/several-file-rings",
        "`kekring --config CONFIG store move --to etcd`",
    ),
    ("spec:", "spec: [", "failure", "manifest/readable", "mend it"),
    (
        "  containers:",
        "  pods:",
        "failure",
        "manifest/readable",
        "mend it",
    ),
];

#[test]
fn each_mistake_has_its_own_finding_and_its_remedy() {
    let node = Node::served();
    let good = node.doctor();
    let text = manifest(&node.plugin.dir);
    let dir = node.plugin.dir.display().to_string();

    for (number, (from, to, level, id, remedy)) in BAD.into_iter().enumerate() {
        let from = from.replace("DIR", &dir);
        assert!(text.contains(&from), "{from}");
        let manifest = node.path(&format!("manifest-{number}.yaml"));
        fs::write(&manifest, text.replace(&from, &to.replace("DIR", &dir))).unwrap();
        let files = Files {
            manifest,
            encryption: node.files.encryption.clone(),
        };
        // Where the manifest does not lead to the configuration, it is given by hand.
        let seen = node.doctor_of(
            &files,
            &["--encryption-config", files.encryption.to_str().unwrap()],
        );

        let mut new = seen
            .troubles()
            .difference(&good.troubles())
            .cloned()
            .collect::<Vec<_>>();
        // A socket that is not mounted, or found by no mount at all, is no mistake of these.
        new.retain(|(_, other)| other != "encryption/endpoint-mounted");
        assert_eq!(
            new,
            [(level.to_owned(), id.to_owned())],
            "{from:?} to {to:?}: {:?}",
            seen.findings
        );
        let finding = seen.finding(level, id);
        let remedy = remedy.replace("CONFIG", node.plugin.config.to_str().unwrap());
        assert!(finding.remedy.contains(&remedy), "{finding:?}");
        assert_eq!(seen.code, i32::from(level == "failure"), "{id}");
    }
}

#[test]
fn a_finding_names_the_line() {
    let node = Node::good();
    let text = manifest(&node.plugin.dir).replace("v1.36.3", "v1.30.0");
    fs::write(&node.files.manifest, &text).unwrap();

    let finding = node.doctor().finding("failure", "manifest/version");

    let line = 1 + text.lines().position(|line| line.contains("v1.30.0")).unwrap();
    assert_eq!(
        finding.subject,
        format!("{}:{line}", node.files.manifest.display())
    );
}

#[test]
fn what_is_right_in_another_way_is_right() {
    let node = Node::served();
    let good = node.doctor();
    let text = manifest(&node.plugin.dir);
    let same = [
        ("path: /livez", "path: /healthz?exclude=kms-providers"),
        ("v1.36.3", "v1.32.0"),
        (
            "- --encryption-provider-config-automatic-reload=true",
            "- --encryption-provider-config-automatic-reload",
        ),
        (
            "  containers:\n",
            "  securityContext: {runAsUser: 0}\n  containers:\n",
        ),
        ("  - name: kube-apiserver\n", "  - name: apiserver\n"),
    ];

    for (from, to) in same {
        assert!(text.contains(from), "{from}");
        fs::write(&node.files.manifest, text.replace(from, to)).unwrap();
        node.doctor().no_worse(&good);
    }
}

#[test]
#[needs(root)] // to give the socket another group
fn a_user_that_the_socket_lets_in_is_right() {
    let mut node = Node::served();
    let good = node.doctor();
    let text = manifest(&node.plugin.dir).replace(
        "  containers:\n",
        "  securityContext: {runAsUser: 1000}\n  containers:\n",
    );
    fs::write(&node.files.manifest, text).unwrap();
    node.doctor().only(&good, "failure", "manifest/user");

    node.configure(serde_json::json!({"socket": {"allowUsers": [0, 1000], "group": "1000", "mode": "0660"}}));

    // The server that runs has the configuration from before, and its verdict counts.
    node.doctor().only(&good, "failure", "manifest/user");
    node.plugin.stop();
    node.plugin.serve();
    // Nobody but the doctor has asked this one.
    node.doctor().only(&good, "warning", "server/polled");
}

#[test]
fn a_manifest_that_is_not_there_or_would_hang_is_named() {
    let node = Node::good();
    let good = node.doctor();
    let fifo = node.path("fifo");
    let status = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(status.success());

    for path in [node.path("nowhere.yaml"), node.plugin.dir.clone(), fifo] {
        let files = Files {
            manifest: path,
            encryption: node.files.encryption.clone(),
        };
        let seen = node.doctor_of(
            &files,
            &["--encryption-config", files.encryption.to_str().unwrap()],
        );
        seen.only(&good, "failure", "manifest/readable");
    }
}

#[test]
fn paths_are_translated_through_the_mounts() {
    let node = Node::served();
    let good = node.doctor();
    let dir = node.plugin.dir.display().to_string();
    let text = manifest(&node.plugin.dir)
        .replace(&format!("mountPath: {dir}/run"), "mountPath: /run/kekring")
        .replace(
            &format!("mountPath: {dir}/kms"),
            "mountPath: /etc/kubernetes/kekring",
        )
        .replace(&format!("-config={dir}/kms/"), "-config=/etc/kubernetes/kekring/");
    fs::write(&node.files.manifest, text).unwrap();
    let encryption = fs::read_to_string(&node.files.encryption).unwrap();
    fs::write(
        &node.files.encryption,
        encryption.replace(&format!("unix://{dir}/run/"), "unix:///run/kekring/"),
    )
    .unwrap();

    node.doctor().no_worse(&good);
}

#[test]
fn the_manifest_of_the_readme_is_good() {
    let mut node = Node::served();
    let good = node.doctor();
    let readme = fs::read_to_string(crate::support::in_repository("README.md")).unwrap();
    let blocks = readme
        .split("```yaml\n")
        .skip(1)
        .map(|it| it.split("```").next().unwrap());
    let spec = blocks
        .into_iter()
        .find(|it| it.contains("kube-apiserver"))
        .unwrap();
    let (run, kms) = (node.path("run"), node.path("kms"));
    let here = spec
        .replace(
            "hostPath: {path: /run/kekring,",
            &format!("hostPath: {{path: {},", run.display()),
        )
        .replace(
            "hostPath: {path: /etc/kubernetes/kekring,",
            &format!("hostPath: {{path: {},", kms.display()),
        );
    assert_ne!(here, spec);
    fs::write(&node.files.manifest, here).unwrap();
    let encryption = fs::read_to_string(&node.files.encryption).unwrap();
    let seen_there = format!("unix://{}/", run.display());
    assert!(encryption.contains(&seen_there));
    fs::write(
        &node.files.encryption,
        encryption.replace(&seen_there, "unix:///run/kekring/"),
    )
    .unwrap();

    let seen = node.doctor();

    // It is a part of one: which image that is it does not say.
    seen.only(&good, "skipped", "manifest/version");
    assert_eq!(seen.code, 0);
    node.plugin.stop();
}
