//! An etcd that wants certificates, as kubeadm's does; its authority lies where kubeadm has it, on the first node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kekring_kit::Missing;

use crate::golang::Program;
use crate::process::Process;
use crate::program::command;
use crate::support::{from_nowhere, shown, wait_until};

static ETCDCTL: Program = Program::new("etcdctl", "tests/several_page/etcdctl", "go.mod", "");
const LONG: Duration = Duration::from_secs(60);
const REQUEST: &str = "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// etcd's own command line, built by the first trial that asks.
pub fn etcdctl() -> Result<&'static Path, Missing> {
    ETCDCTL.path()
}

pub struct Etcd {
    process: Option<Process>,
    pki: PathBuf,
    dir: PathBuf,
    pub url: String,
    peers: String,
}

impl Etcd {
    /// One member whose authority is made in `pki`.
    pub fn start(dir: &Path, pki: &Path, (port, peer_port): (u16, u16)) -> Self {
        let mut etcd = Self {
            process: None,
            pki: pki.to_owned(),
            dir: dir.to_owned(),
            url: format!("https://127.0.0.1:{port}"),
            peers: format!("http://127.0.0.1:{peer_port}"),
        };
        etcd.openssl(&format!(
            "{REQUEST} -x509 -days 30 -subj /CN=etcd-ca -keyout ca.key -out ca.crt"
        ));
        for (name, more) in [("server", "-addext subjectAltName=IP:127.0.0.1"), ("root", "")] {
            etcd.openssl(&format!(
                "{REQUEST} -subj /CN={name} {more} -keyout {name}.key -out {name}.csr"
            ));
            etcd.openssl(&format!(
                "openssl x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -set_serial 0x$(openssl rand -hex 16) \
                 -days 30 -copy_extensions copyall -out {name}.crt"
            ));
        }
        etcd.run();
        etcd
    }

    fn openssl(&self, line: &str) {
        let mut command = Command::new("sh");
        from_nowhere(&mut command);
        let output = command
            .args(["-euc", line])
            .current_dir(&self.pki)
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", shown(&output));
    }

    /// Starts it, and returns when it answers.
    pub fn run(&mut self) {
        let file = |name: &str| self.pki.join(name).display().to_string();
        let arguments = [
            format!("--data-dir={}", self.dir.join("etcd").display()),
            "--client-cert-auth".into(),
            format!("--trusted-ca-file={}", file("ca.crt")),
            format!("--cert-file={}", file("server.crt")),
            format!("--key-file={}", file("server.key")),
            format!("--listen-client-urls={}", self.url),
            format!("--advertise-client-urls={}", self.url),
            format!("--listen-peer-urls={}", self.peers),
            format!("--initial-advertise-peer-urls={}", self.peers),
            format!("--initial-cluster=default={}", self.peers),
            "--log-level=warn".into(),
            // The machine does not lose power while this runs, and a slow disk should not slow it.
            "--unsafe-no-fsync".into(),
        ];
        let log = self.dir.join("etcd.log");
        self.process = Some(Process::start("etcd", command("etcd").args(arguments), log));
        wait_until("etcd to answer", LONG, || {
            self.process.as_mut().unwrap().must_run();
            self.ctl(&["--command-timeout=2s", "get", "/ready"]).is_some()
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Takes what it had, once it has ended: the next start is that of a new one.
    pub fn lose(&self) {
        std::fs::remove_dir_all(self.dir.join("etcd")).unwrap();
    }

    /// Keeps what it has now, for [`Etcd::go_back`].
    pub fn keep(&mut self) {
        self.kill();
        self.copy("etcd", "kept");
        self.run();
    }

    /// It has what it had then, as after a restored snapshot.
    pub fn go_back(&mut self) {
        self.kill();
        self.lose();
        self.copy("kept", "etcd");
        self.run();
    }

    fn copy(&self, from: &str, to: &str) {
        let copied = Command::new("cp")
            .args(["-r", from, to])
            .current_dir(&self.dir)
            .status()
            .unwrap();
        assert!(copied.success());
    }

    /// What etcdctl prints as its user root; `None` where it did not end well.
    pub fn ctl(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(etcdctl().unwrap());
        from_nowhere(&mut command);
        let output = command.envs(self.variables()).args(arguments).output().unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What tells etcdctl where etcd is, and who asks.
    pub fn variables(&self) -> [(&'static str, String); 4] {
        let file = |name: &str| self.pki.join(name).display().to_string();
        [
            ("ETCDCTL_ENDPOINTS", self.url.clone()),
            ("ETCDCTL_CACERT", file("ca.crt")),
            ("ETCDCTL_CERT", file("root.crt")),
            ("ETCDCTL_KEY", file("root.key")),
        ]
    }
}
