//! A control-plane node on which everything is as it should be, and what the doctor says of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::client::Client;
use crate::support::{KEKRING, Plugin, from_nowhere, shown};

/// Findings that depend on the machine that a test runs on.
pub const OF_THE_MACHINE: [&str; 8] = [
    "configuration/mirror",
    "machine/clock-synchronised",
    "machine/disk-space",
    "machine/file-system",
    "machine/landlock",
    "machine/memfd-secret",
    "machine/swap",
    "server/protections",
];

/// A ring with two roots, a mirror and a backup; an EncryptionConfiguration in the write phase; a manifest.
pub struct Node {
    pub plugin: Plugin,
    pub files: Files,
    /// Stands in for kube-apiserver.
    client: Option<Client>,
}

/// What kube-apiserver is given.
pub struct Files {
    pub encryption: PathBuf,
    pub manifest: PathBuf,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Finding {
    pub id: String,
    pub level: String,
    pub subject: String,
    pub message: String,
    pub remedy: String,
}

/// What the doctor said.
pub struct Seen {
    pub code: i32,
    pub findings: Vec<Finding>,
    pub output: Output,
}

impl Node {
    /// With a server, and somebody who asks it.
    pub fn served() -> Self {
        let mut node = Self::good();
        node.serve();
        node
    }

    /// Without a server.
    pub fn good() -> Self {
        let plugin = Plugin::unmade("{}");
        let node = Self {
            files: Files::in_dir(&plugin.dir),
            plugin,
            client: None,
        };
        node.configure(json!({}));
        node.must(&["init", "--no-recovery"]);
        node.must(&["backup", node.path("backup").to_str().unwrap()]);
        let output = node.plugin.verb(&["config", "encryption", "--phase", "write"]);
        assert!(output.status.success(), "{}", shown(&output));
        fs::create_dir(node.path("kms")).unwrap();
        fs::write(&node.files.encryption, output.stdout).unwrap();
        fs::write(&node.files.manifest, manifest(&node.plugin.dir)).unwrap();
        node
    }

    pub fn serve(&mut self) {
        self.plugin.serve();
        let client = Client::connect(&self.plugin.socket);
        client.key_id();
        self.client = Some(client);
        crate::support::wait_until(
            "the server to tell of its connection",
            crate::support::PATIENCE,
            || {
                let status = self.plugin.socket.with_file_name("status.json");
                let status: Value =
                    serde_json::from_slice(&fs::read(status).unwrap_or_default()).unwrap_or_default();
                let connections = status["connections"].as_array().cloned().unwrap_or_default();
                connections
                    .iter()
                    .any(|it| it["lastStatus"].as_str().is_some_and(|it| !it.is_empty()))
            },
        );
    }

    /// Writes the configuration anew, with this laid over it.
    pub fn configure(&self, tweaks: Value) {
        let root = |name: &str| json!({"file": {"path": self.path(name)}});
        let mut whole =
            json!({"ring": {"mirror": self.path("mirror"), "roots": [root("root.key"), root("second.key")]}});
        crate::support::merge(&mut whole, tweaks);
        self.plugin.configure(&whole.to_string());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.plugin.dir.join(name)
    }

    #[track_caller]
    pub fn must(&self, args: &[&str]) -> Output {
        let output = self.plugin.verb(args);
        assert!(output.status.success(), "{args:?}: {}", shown(&output));
        output
    }

    #[track_caller]
    pub fn doctor(&self) -> Seen {
        self.doctor_with(&[])
    }

    #[track_caller]
    pub fn doctor_with(&self, args: &[&str]) -> Seen {
        self.doctor_of(&self.files, args)
    }

    #[track_caller]
    pub fn doctor_of(&self, files: &Files, args: &[&str]) -> Seen {
        let mut doctor = self.plugin.command(&["doctor", "-o", "json"]);
        doctor.arg("--manifest");
        doctor.arg(&files.manifest).args(args);
        Seen::of(doctor.output().unwrap())
    }

    /// Runs the first command of a remedy as an operator would type it, with this instead of what it leaves open.
    #[track_caller]
    pub fn follow(&self, finding: &Finding, file: &str) {
        let command = finding
            .remedy
            .split('`')
            .nth(1)
            .expect("a command")
            .replace("FILE", file);
        let mut shell = Command::new("/bin/sh");
        from_nowhere(&mut shell);
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = Path::new(KEKRING).parent().unwrap().display();
        let output = shell
            .args(["-e", "-c", &command])
            .env("PATH", format!("{bin}:{path}"));
        let output = output.current_dir(&self.plugin.dir).output().unwrap();
        assert!(output.status.success(), "{command}: {}", shown(&output));
    }
}

impl Files {
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            encryption: dir.join("kms/encryption.yaml"),
            manifest: dir.join("kube-apiserver.yaml"),
        }
    }
}

impl Seen {
    #[track_caller]
    pub fn of(output: Output) -> Self {
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|why| panic!("{why}: {}", shown(&output)));
        let text = |it: &Value, key: &str| it[key].as_str().unwrap().to_owned();
        let finding = |it: &Value| Finding {
            id: text(it, "id"),
            level: text(it, "level"),
            subject: text(it, "subject"),
            message: text(it, "message"),
            remedy: text(it, "remedy"),
        };
        let findings: Vec<Finding> = report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(finding)
            .collect();
        for (level, count) in [
            ("failure", "failures"),
            ("warning", "warnings"),
            ("skipped", "skipped"),
            ("ok", "ok"),
        ] {
            let found = findings.iter().filter(|it| it.level == level).count();
            assert_eq!(report[count], found, "{count}");
        }
        for finding in &findings {
            assert_eq!(
                finding.level == "ok",
                finding.remedy.is_empty(),
                "a remedy for what is not well: {finding:?}"
            );
        }
        Self {
            code: output.status.code().expect("an exit code"),
            findings,
            output,
        }
    }

    /// What is not well, and how.
    pub fn troubles(&self) -> BTreeSet<(String, String)> {
        let troubles = self.findings.iter().filter(|it| it.level != "ok");
        troubles.map(|it| (it.level.clone(), it.id.clone())).collect()
    }

    /// The one trouble that was not there before.
    #[track_caller]
    pub fn only(&self, before: &Self, level: &str, id: &str) -> Finding {
        let all = self.troubles();
        let new: Vec<_> = all.difference(&before.troubles()).cloned().collect();
        assert_eq!(
            new,
            [(level.to_owned(), id.to_owned())],
            "{}",
            shown(&self.output)
        );
        self.finding(level, id)
    }

    #[track_caller]
    pub fn finding(&self, level: &str, id: &str) -> Finding {
        let found = self.findings.iter().find(|it| it.level == level && it.id == id);
        found
            .unwrap_or_else(|| panic!("no {level} {id}: {}", shown(&self.output)))
            .clone()
    }

    /// Whether nothing is worse than before.
    #[track_caller]
    pub fn no_worse(&self, before: &Self) {
        let new: Vec<_> = self.troubles().difference(&before.troubles()).cloned().collect();
        assert!(new.is_empty(), "{new:?}: {}", shown(&self.output));
    }
}

/// What README.md tells to put into kubeadm's.
pub fn manifest(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: kube-apiserver, namespace: kube-system}}
spec:
  containers:
  - name: kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.36.3
    command:
    - kube-apiserver
    - --etcd-servers=https://127.0.0.1:2379
    - --encryption-provider-config={dir}/kms/encryption.yaml
    - --encryption-provider-config-automatic-reload=true
    livenessProbe: {{httpGet: {{host: 127.0.0.1, path: /livez, port: 6443, scheme: HTTPS}}}}
    readinessProbe: {{httpGet: {{host: 127.0.0.1, path: /readyz, port: 6443, scheme: HTTPS}}}}
    startupProbe: {{httpGet: {{host: 127.0.0.1, path: /livez, port: 6443, scheme: HTTPS}}}}
    volumeMounts:
    - {{name: kekring-socket, mountPath: {dir}/run}}
    - {{name: kekring-config, mountPath: {dir}/kms, readOnly: true}}
  volumes:
  - name: kekring-socket
    hostPath: {{path: {dir}/run, type: DirectoryOrCreate}}
  - name: kekring-config
    hostPath: {{path: {dir}/kms, type: Directory}}
"
    )
}

pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
