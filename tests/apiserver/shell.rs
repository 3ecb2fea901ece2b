//! A root shell on a control-plane node: kubectl, etcdctl and kekring on the path, each for this trial's own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::kubernetes::KUBERNETES;
use crate::lab::Lab;

/// Where pages say that files are.
const CONFIGURATION: &str = "/etc/kubernetes/kekring/encryption.yaml";
const ROOT: &str = "/root";

/// A shell, and a directory for what is written by it.
pub struct Shell {
    dir: PathBuf,
    configuration: PathBuf,
    etcd: String,
}

impl Shell {
    pub fn of(lab: &Lab) -> Self {
        let shell = Self {
            dir: tempfile::tempdir_in(lab.dir()).unwrap().keep(),
            configuration: lab.control_plane.encryption_file(),
            etcd: lab.etcd().url().to_owned(),
        };
        fs::create_dir_all(shell.bin()).unwrap();
        for name in ["kubectl", "etcdctl"] {
            symlink(KUBERNETES.path().unwrap(), shell.bin().join(name)).unwrap();
        }
        let config = lab.dir().join("config.yaml");
        let kekring = env!("CARGO_BIN_EXE_kekring");
        shell.program(
            "kekring",
            &format!("exec {kekring} --config {} \"$@\"", config.display()),
        );
        let server = lab.control_plane.api_server();
        fs::write(shell.dir.join("kubeconfig"), server.kubeconfig()).unwrap();
        shell
    }

    /// The cluster says that it has these kube-apiservers, which on loopback none can say of itself.
    pub fn with_servers(&self, urls: &[&str]) {
        let kubectl = self.bin().join("kubectl");
        fs::remove_file(&kubectl).unwrap();
        let real = self.dir.join("real");
        fs::create_dir(&real).unwrap();
        symlink(KUBERNETES.path().unwrap(), real.join("kubectl")).unwrap();
        let script = format!(
            "case \"$*\" in *endpointslices*) printf '%s\\n' {};; *) exec {}/kubectl \"$@\";; esac",
            urls.join(" "),
            real.display()
        );
        self.program("kubectl", &script);
    }

    /// Types commands as they stand on a page.
    pub fn type_in(&self, commands: &str) -> Output {
        let here = |path: &Path| path.display().to_string();
        let told = format!("rewrite.sh --encryption-config {}", here(&self.configuration));
        let script = commands
            .replace("rewrite.sh", &told)
            .replace(CONFIGURATION, &here(&self.configuration))
            .replace(&format!("{ROOT}/"), &format!("{}/", here(&self.dir)));
        let path = std::env::var("PATH").unwrap();
        Command::new("bash")
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", format!("{}:{path}", self.bin().display()))
            .env("KUBECONFIG", self.dir.join("kubeconfig"))
            .env("ETCDCTL_ENDPOINTS", &self.etcd)
            .output()
            .unwrap()
    }

    /// The same; they must succeed. What was printed.
    #[track_caller]
    pub fn must(&self, commands: &str) -> String {
        let output = self.type_in(commands);
        assert!(output.status.success(), "{commands}: {}", shown(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.bin().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Everything that commands said.
pub fn shown(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
