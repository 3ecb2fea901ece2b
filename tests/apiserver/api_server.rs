//! One kube-apiserver on loopback, on an etcd that others may share.

use std::fs;
use std::path::{Path, PathBuf};

use crate::client::Api;
use crate::port::free_port;
use crate::process::Process;
use crate::program::command;
use crate::wait::{SOON, wait_for};

/// Opens kube-apiserver on loopback to this process, for the life of one trial.
const TOKEN: &str = "apiserver-suite";

/// A running kube-apiserver.
pub struct ApiServer {
    process: Process,
    url: String,
    log: PathBuf,
}

impl ApiServer {
    /// Starts it, and waits until it is ready. It encrypts where `dir` has an EncryptionConfiguration. What it writes is
    /// called by `name`.
    pub fn start(dir: &Path, name: &str, etcd_url: &str) -> Self {
        let mut server = Self::spawn(dir, name, free_port(), &[format!("--etcd-servers={etcd_url}")]);
        server.wait_until_ready();
        server
    }

    /// The same at a port and with more arguments, and does not wait.
    pub fn spawn(dir: &Path, name: &str, port: u16, more: &[String]) -> Self {
        fs::write(
            dir.join("tokens.csv"),
            format!("{TOKEN},suite,suite,\"system:masters\"\n"),
        )
        .unwrap();
        let log = dir.join(format!("{name}.log"));
        let mut command = command("kube-apiserver");
        command.args(arguments(dir, name, port)).args(more);
        Self {
            process: Process::start("kube-apiserver", &mut command, log.clone()),
            url: url(port),
            log,
        }
    }

    /// Kills it as `kill -9` does.
    pub fn kill(self) {
        self.process.kill();
    }

    /// The process, for signals.
    #[allow(dead_code)] // one suite needs it
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    #[allow(dead_code)] // one suite needs it
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// A client of it.
    pub fn api(&self) -> Api {
        Api::new(&self.url, TOKEN)
    }

    /// A client of whichever listens at this port, now or later.
    #[allow(dead_code)] // one suite needs it
    pub fn api_at(port: u16) -> Api {
        Api::new(&url(port), TOKEN)
    }

    /// Where it is.
    #[allow(dead_code)] // one suite needs it
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What kubectl is told of it.
    #[allow(dead_code)] // one suite needs it
    pub fn kubeconfig(&self) -> String {
        let url = &self.url;
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: suite\n\
             clusters: [{{name: suite, cluster: {{server: '{url}', insecure-skip-tls-verify: true}}}}]\n\
             users: [{{name: suite, user: {{token: {TOKEN}}}}}]\n\
             contexts: [{{name: suite, context: {{cluster: suite, user: suite}}}}]\n"
        )
    }

    /// What it has logged so far; earlier ones of this name as well.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub fn wait_until_ready(&mut self) {
        let api = self.api();
        wait_for("kube-apiserver to be ready", 2 * SOON, || {
            self.process.must_run();
            api.health("/readyz").ok().filter(|answer| answer.status == 200)
        });
    }
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn arguments(dir: &Path, name: &str, port: u16) -> Vec<String> {
    let file = |name: &str| dir.join(name).display().to_string();
    let mut arguments = vec![
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".into(),
        "--advertise-address=127.0.0.1".into(),
        "--endpoint-reconciler-type=none".into(),
        format!("--cert-dir={}", file(&format!("{name}-certificates"))),
        format!("--token-auth-file={}", file("tokens.csv")),
        format!("--service-account-key-file={}", file("service-account.pub")),
        format!(
            "--service-account-signing-key-file={}",
            file("service-account.key")
        ),
        "--service-account-issuer=https://127.0.0.1".into(),
        "--authorization-mode=RBAC".into(),
        "--service-cluster-ip-range=10.0.0.0/24".into(),
        "-v=2".into(),
    ];
    if dir.join("encryption.yaml").exists() {
        arguments.push(format!(
            "--encryption-provider-config={}",
            file("encryption.yaml")
        ));
        arguments.push("--encryption-provider-config-automatic-reload=true".into());
    }
    arguments
}
