//! One control-plane node: a plugin and a kube-apiserver, with a directory, a machine id and ports of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use kekring::etcd::TlsFiles;
use serde_json::{Value, json};

use crate::api_server::ApiServer;
use crate::client::Api;
use crate::lab::Setup;
use crate::port::free_port;
use crate::support::{Plugin, merge, shown};
use crate::wait::{SOON, wait_for};

pub struct Node {
    pub name: String,
    // Dropped in this order: kube-apiserver before its plugin.
    api_server: Option<ApiServer>,
    pub plugin: Plugin,
    /// Where the plugin's telemetry listens.
    pub telemetry: String,
    /// Where its plugin's clock is wrong: what changes it, and by how many seconds.
    pub clock: Option<(PathBuf, i64)>,
    port: u16,
    flags: Vec<String>,
    /// Of the plugin; and its ring's place on etcd.
    config: Value,
    etcd: Value,
}

impl Node {
    /// Nothing runs yet. `endpoints` are the plugin's; its API server's are those of the setup.
    pub fn prepared(name: &str, endpoints: &[String], setup: &Setup) -> Self {
        let plugin = Plugin::unmade("{}");
        let dir = plugin.dir.clone();
        let machine = dir.join("machine-id");
        let id: [u8; 16] = kekring::crypto::random().unwrap();
        fs::write(&machine, data_encoding::HEXLOWER.encode(&id) + "\n").unwrap();
        let telemetry = format!("127.0.0.1:{}", free_port());
        let identity = setup.tls.identity.as_ref().unwrap();
        let etcd = json!({
            "endpoints": endpoints,
            "prefix": "/kekring",
            "tls": {"ca": setup.tls.ca, "cert": identity.cert, "key": identity.key},
            "localCopy": dir.join("ring"),
        });
        let mut config = json!({
            "node": {"name": name, "machineIdFile": machine},
            "telemetry": {"listen": telemetry},
        });
        merge(&mut config, setup.tweaks.clone());
        for file in ["service-account.key", "service-account.pub"] {
            fs::copy(setup.dir.join(file), dir.join(file)).unwrap();
        }
        let node = Self {
            name: name.to_owned(),
            config,
            etcd,
            api_server: None,
            plugin,
            telemetry,
            clock: None,
            port: free_port(),
            flags: flags(&setup.endpoints, &setup.tls),
        };
        node.use_etcd();
        node
    }

    /// Configures the ring on etcd, with a copy in `ring/`.
    pub fn use_etcd(&self) {
        let mut config = self.config.clone();
        config["ring"]["store"] = json!({"file": null, "etcd": self.etcd});
        self.plugin.configure(&config.to_string());
    }

    /// Configures the ring in files, in `ring/`.
    pub fn use_files(&self) {
        self.plugin.configure(&self.config.to_string());
    }

    /// The file that an operator brings.
    pub fn take_root(&self, root: &Path) {
        fs::copy(root, self.plugin.dir.join("root.key")).unwrap();
    }

    /// Starts the plugin, by whichever clock, and waits until it answers.
    pub fn serve(&mut self) {
        let mut serve = self.plugin.command(&["serve"]);
        if let Some((library, seconds)) = &self.clock {
            serve
                .env("LD_PRELOAD", library)
                .env("CLOCK_OFFSET", seconds.to_string());
        }
        self.plugin.spawn_as(serve);
        self.plugin.wait_until_it_answers();
    }

    /// Starts kube-apiserver and does not wait.
    pub fn spawn_api_server(&mut self) {
        assert!(self.api_server.is_none(), "it is running already");
        let dir = &self.plugin.dir;
        if !dir.join("encryption.yaml").exists() {
            let made = self
                .plugin
                .verb(&["config", "encryption", "--resources", "secrets"]);
            assert!(made.status.success(), "{}", shown(&made));
            fs::write(dir.join("encryption.yaml"), made.stdout).unwrap();
        }
        self.api_server = Some(ApiServer::spawn(dir, &self.name, self.port, &self.flags));
    }

    pub fn start_api_server(&mut self) {
        self.spawn_api_server();
        self.wait_for_api_server();
    }

    pub fn wait_for_api_server(&mut self) {
        self.api_server.as_mut().unwrap().wait_until_ready();
    }

    /// Until it is ready; where it has ended by itself it is started again, as kubelet does.
    pub fn keep_starting_api_server(&mut self) {
        let api = self.api();
        wait_for("kube-apiserver to be ready", 3 * SOON, || {
            if self.api_server().has_ended() {
                drop(self.api_server.take());
                self.spawn_api_server();
            }
            api.health("/readyz").ok().filter(|answer| answer.status == 200)
        });
    }

    /// kube-apiserver that is there, for signals.
    pub fn api_server(&mut self) -> &mut ApiServer {
        self.api_server.as_mut().unwrap()
    }

    /// `kill -9`.
    pub fn kill_api_server(&mut self) {
        self.api_server.take().unwrap().kill();
    }

    /// Its caches are empty then.
    pub fn restart_api_server(&mut self) {
        self.kill_api_server();
        self.start_api_server();
    }

    /// A client of kube-apiserver, also of one that will be started.
    pub fn api(&self) -> Api {
        ApiServer::api_at(self.port)
    }

    /// Runs a verb to its end; it must end well.
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.verb(arguments);
        assert!(
            output.status.success(),
            "{}: {arguments:?}: {}",
            self.name,
            shown(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn verb(&self, arguments: &[&str]) -> Output {
        self.plugin.verb(arguments)
    }

    /// What `status` prints as JSON.
    pub fn status(&self) -> Value {
        self.plugin.json(&["status"])
    }

    /// The key that this node's ring has active.
    pub fn active(&self) -> String {
        self.status()["active"].as_str().unwrap().to_owned()
    }

    /// Until kube-apiserver, which runs all the time, is ready again.
    pub fn wait_until_ready(&self) {
        let api = self.api();
        wait_for("kube-apiserver to be ready again", 3 * SOON, || {
            api.health("/readyz").ok().filter(|answer| answer.status == 200)
        });
    }
}

/// Of kube-apiserver. Every list of Secrets is read from etcd, and none from a cache.
fn flags(endpoints: &[String], tls: &TlsFiles) -> Vec<String> {
    let identity = tls.identity.as_ref().unwrap();
    vec![
        format!("--etcd-servers={}", endpoints.join(",")),
        format!("--etcd-cafile={}", tls.ca.display()),
        format!("--etcd-certfile={}", identity.cert.display()),
        format!("--etcd-keyfile={}", identity.key.display()),
        "--watch-cache-sizes=secrets#0".into(),
    ]
}
