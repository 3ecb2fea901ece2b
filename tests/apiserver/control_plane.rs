//! One etcd and one kube-apiserver on loopback, their data in a directory that the caller owns.

use std::fs;
use std::path::{Path, PathBuf};

use crate::api_server::ApiServer;
use crate::client::Api;
use crate::etcd::Etcd;
use crate::port::free_port;
use crate::process::Process;
use crate::program::command;
use crate::service_account;
use crate::wait::{SOON, wait_for};

/// How many new EncryptionConfigurations kube-apiserver has taken or refused.
pub const RELOADS: &str = "apiserver_encryption_config_controller_automatic_reloads_total";

/// Running etcd and kube-apiserver.
pub struct ControlPlane {
    // Dropped in this order: kube-apiserver before its etcd.
    api_server: Option<ApiServer>,
    _etcd: Process,
    dir: PathBuf,
    etcd_url: String,
}

impl ControlPlane {
    /// Starts both, with an EncryptionConfiguration if there is one, and waits until they are ready.
    pub fn start(dir: &Path, encryption: Option<&str>) -> Self {
        service_account::write_keys(dir);
        let (etcd, etcd_url) = start_etcd(dir);
        let mut control_plane = Self {
            api_server: None,
            _etcd: etcd,
            dir: dir.to_owned(),
            etcd_url,
        };
        control_plane.configure(encryption);
        control_plane.restart_api_server();
        control_plane
    }

    /// Puts an EncryptionConfiguration in place, or takes it away; a running kube-apiserver heeds a new one by itself.
    pub fn configure(&self, encryption: Option<&str>) {
        let file = self.encryption_file();
        let Some(encryption) = encryption else {
            let removed = fs::remove_file(&file);
            assert!(removed.is_ok() || !file.exists(), "{removed:?}");
            return;
        };
        // Renamed into place: nobody reads half of it.
        let unfinished = self.dir.join("encryption.new");
        fs::write(&unfinished, encryption).unwrap();
        fs::rename(unfinished, file).unwrap();
    }

    /// Where the EncryptionConfiguration is, if there is one.
    pub fn encryption_file(&self) -> PathBuf {
        self.dir.join("encryption.yaml")
    }

    /// Puts an EncryptionConfiguration in place, and waits until the running kube-apiserver has taken it.
    pub fn reload(&self, encryption: &str) {
        let api = self.api();
        let count = |status| api.metric(RELOADS, &[("status", status)]).unwrap_or(0.0);
        let (taken, refused) = (count("success"), count("failure"));
        self.configure(Some(encryption));
        wait_for("kube-apiserver to take the new configuration", 2 * SOON, || {
            assert!(count("failure") <= refused, "kube-apiserver refused it");
            (count("success") > taken).then_some(())
        });
    }

    /// Kills kube-apiserver if it runs, and starts it: its caches are empty.
    pub fn restart_api_server(&mut self) {
        if let Some(running) = self.api_server.take() {
            running.kill();
        }
        self.api_server = Some(self.another_api_server("kube-apiserver"));
    }

    /// Kills kube-apiserver and starts another one, which need not become ready.
    #[allow(dead_code)] // one suite needs it
    pub fn start_again(&mut self) -> (ApiServer, Api) {
        if let Some(running) = self.api_server.take() {
            running.kill();
        }
        let (name, etcd) = ("kube-apiserver", format!("--etcd-servers={}", self.etcd_url));
        let server = ApiServer::spawn(&self.dir, name, free_port(), &[etcd]);
        let api = server.api();
        (server, api)
    }

    /// Starts a kube-apiserver on the same etcd and the same EncryptionConfiguration, beside the one that runs.
    pub fn another_api_server(&self, name: &str) -> ApiServer {
        ApiServer::start(&self.dir, name, &self.etcd_url)
    }

    /// kube-apiserver as it runs now.
    pub fn api_server(&self) -> &ApiServer {
        self.api_server.as_ref().unwrap()
    }

    /// A client of kube-apiserver as it runs now.
    pub fn api(&self) -> Api {
        self.api_server().api()
    }

    /// A client of etcd.
    pub fn etcd(&self) -> Etcd {
        Etcd::new(&self.etcd_url)
    }

    /// Where etcd keeps everything.
    pub fn etcd_dir(&self) -> PathBuf {
        self.dir.join("etcd")
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
