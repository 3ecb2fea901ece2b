//! One etcd and one kube-apiserver on loopback, their data in a directory that the caller owns.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use data_encoding::BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use crate::client::{Api, Etcd};
use crate::process::Process;
use crate::program::program;
use crate::wait::{SOON, wait_for};

/// What stands before the point of a P-256 key in a SubjectPublicKeyInfo (RFC 5480).
const P256_PUBLIC_KEY_HEADER: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Opens kube-apiserver on loopback to this process, for the life of one trial.
const TOKEN: &str = "apiserver-suite";

/// Running etcd and kube-apiserver.
pub struct ControlPlane {
    // Dropped in this order: kube-apiserver before its etcd.
    api_server: Option<Process>,
    _etcd: Process,
    dir: PathBuf,
    etcd_url: String,
    api_url: String,
}

impl ControlPlane {
    /// Starts both with an EncryptionConfiguration, and waits until they are ready.
    pub fn start(dir: &Path, encryption: &str) -> Self {
        fs::write(dir.join("encryption.yaml"), encryption).unwrap();
        fs::write(
            dir.join("tokens.csv"),
            format!("{TOKEN},suite,suite,\"system:masters\"\n"),
        )
        .unwrap();
        write_service_account_key(dir);
        let (etcd, etcd_url) = start_etcd(dir);
        let mut control_plane = Self {
            api_server: None,
            _etcd: etcd,
            dir: dir.to_owned(),
            etcd_url,
            api_url: String::new(),
        };
        control_plane.start_api_server();
        control_plane
    }

    /// Kills kube-apiserver and starts it again: its caches are empty.
    pub fn restart_api_server(&mut self) {
        if let Some(process) = self.api_server.take() {
            process.kill();
        }
        self.start_api_server();
    }

    /// A client of kube-apiserver as it runs now.
    pub fn api(&self) -> Api {
        Api::new(&self.api_url, TOKEN)
    }

    /// A client of etcd.
    pub fn etcd(&self) -> Etcd {
        Etcd::new(&self.etcd_url)
    }

    /// Where etcd keeps everything.
    pub fn etcd_dir(&self) -> PathBuf {
        self.dir.join("etcd")
    }

    fn start_api_server(&mut self) {
        let port = free_port();
        self.api_url = format!("https://127.0.0.1:{port}");
        let file = |name: &str| self.dir.join(name).display().to_string();
        let mut command = command("kube-apiserver");
        command.args([
            format!("--etcd-servers={}", self.etcd_url),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".into(),
            "--advertise-address=127.0.0.1".into(),
            "--endpoint-reconciler-type=none".into(),
            format!("--cert-dir={}", file("certificates")),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--service-account-key-file={}", file("service-account.pub")),
            format!(
                "--service-account-signing-key-file={}",
                file("service-account.key")
            ),
            "--service-account-issuer=https://127.0.0.1".into(),
            "--authorization-mode=RBAC".into(),
            "--service-cluster-ip-range=10.0.0.0/24".into(),
            format!("--encryption-provider-config={}", file("encryption.yaml")),
            "--encryption-provider-config-automatic-reload=true".into(),
            "-v=2".into(),
        ]);
        let log = self.dir.join("kube-apiserver.log");
        let mut process = Process::start("kube-apiserver", &mut command, log);
        let api = self.api();
        wait_for("kube-apiserver to be ready", 2 * SOON, || {
            process.must_run();
            api.health("/readyz").ok().filter(|answer| answer.status == 200)
        });
        self.api_server = Some(process);
    }
}

fn start_etcd(dir: &Path) -> (Process, String) {
    let url = format!("http://127.0.0.1:{}", free_port());
    let peers = format!("http://127.0.0.1:{}", free_port());
    let mut command = command("etcd");
    command.args([
        format!("--data-dir={}", dir.join("etcd").display()),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        // The machine does not lose power while this runs, and a slow disk should not slow it.
        "--unsafe-no-fsync".into(),
    ]);
    let mut process = Process::start("etcd", &mut command, dir.join("etcd.log"));
    let etcd = Etcd::new(&url);
    wait_for("etcd to answer", SOON, || {
        process.must_run();
        etcd.is_healthy().then_some(())
    });
    (process, url)
}

/// The program is etcd or kube-apiserver by the name that it is called by.
fn command(name: &str) -> Command {
    let mut command = Command::new(program().unwrap());
    command.arg0(name);
    command
}

/// A port that is free now, below those that the kernel gives to outgoing connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    let free = (0..10_000).find_map(|_| {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000) % 10_000;
        TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    });
    free.expect("no free port from 20000 to 29999")
}

/// kube-apiserver does not start without a key pair that signs tokens, though nobody asks for one here.
fn write_service_account_key(dir: &Path) {
    let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
    let private = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref(), &random).unwrap();
    let public = [&P256_PUBLIC_KEY_HEADER, pair.public_key().as_ref()].concat();
    let pem = |kind: &str, bytes: &[u8]| {
        format!(
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
            BASE64.encode(bytes)
        )
    };
    fs::write(
        dir.join("service-account.key"),
        pem("PRIVATE KEY", private.as_ref()),
    )
    .unwrap();
    fs::write(dir.join("service-account.pub"), pem("PUBLIC KEY", &public)).unwrap();
}
