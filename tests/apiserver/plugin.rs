//! kekring itself: its ring, its configuration and its process, all in one directory.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use kekring::crypto::secret::SecretBytes;
use serde_json::Value;

use crate::process::Process;
use crate::seed;
use crate::wait::{SOON, wait_for};

/// The plugin, running or not.
pub struct Plugin {
    process: Option<Process>,
    config: PathBuf,
    log: PathBuf,
    /// The listening socket, where it is not the plugin's own.
    kept_open: Option<UnixListener>,
}

/// A key as `keys list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyName {
    pub id: String,
    /// As kube-apiserver's metrics show it.
    pub hash: String,
}

impl Plugin {
    /// Makes a ring in `dir` and serves it.
    pub fn start_new(dir: &Path) -> Self {
        let mut plugin = Self::prepare(dir);
        plugin.start();
        plugin
    }

    /// The same, on a socket that stays open while the plugin is away, as systemd keeps it.
    pub fn start_activated(dir: &Path) -> Self {
        let mut plugin = Self::prepare(dir);
        plugin.kept_open = Some(UnixListener::bind(dir.join("kms.sock")).unwrap());
        plugin.start();
        plugin
    }

    fn prepare(dir: &Path) -> Self {
        let config = dir.join("config.yaml");
        let dir = dir.display();
        // At debug level each Decrypt has its line.
        let text = format!(
            "apiVersion: kekring/v1alpha1\n\
             kind: Configuration\n\
             node: {{name: suite}}\n\
             socket: {{path: {dir}/kms.sock}}\n\
             ring:\n\
             \x20 store: {{file: {{dir: {dir}/ring}}}}\n\
             \x20 roots:\n\
             \x20 - file: {{path: {dir}/root.key}}\n\
             telemetry: {{listen: '127.0.0.1:0', log: {{format: json, level: debug}}}}\n"
        );
        fs::write(&config, text).unwrap();
        let log = config.with_file_name("kekring.log");
        let plugin = Self {
            process: None,
            config,
            log,
            kept_open: None,
        };
        plugin.run(&["init", "--no-recovery"]);
        plugin
    }

    /// Serves, and waits until it does.
    pub fn start(&mut self) {
        self.spawn();
        let mut process = self.process.take().unwrap();
        wait_for("kekring to serve", SOON, || {
            process.must_run();
            let probe = self.command().arg("probe").output().unwrap();
            probe.status.success().then_some(())
        });
        self.process = Some(process);
    }

    /// Serves, and does not wait.
    pub fn spawn(&mut self) {
        let log = self.log.clone();
        let process = match &self.kept_open {
            None => Process::start("kekring", self.command().arg("serve"), log),
            Some(socket) => {
                let socket = OwnedFd::from(socket.try_clone().unwrap());
                Process::start_with("kekring", &mut self.activated(), log, socket.into())
            }
        };
        self.process = Some(process);
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// Stops it as an init system does.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.take().unwrap().terminate()
    }

    /// The EncryptionConfiguration that an operator would use.
    pub fn encryption_configuration(&self) -> String {
        self.encryption(&["--resources", "secrets,configmaps"])
    }

    /// What `config encryption` writes with these options.
    pub fn encryption(&self, options: &[&str]) -> String {
        self.run(&[&["config", "encryption"], options].concat())
    }

    /// Rotates, and returns the key that is active now.
    pub fn rotate(&self) -> KeyName {
        let outcome: Value = serde_json::from_str(&self.run(&["rotate", "-o", "json"])).unwrap();
        let active = self.active_key();
        assert_eq!(outcome["active"], active.id.as_str());
        active
    }

    /// The active key.
    pub fn active_key(&self) -> KeyName {
        let listing: Value = serde_json::from_str(&self.run(&["keys", "list", "-o", "json"])).unwrap();
        let keys = listing["keys"].as_array().unwrap();
        let active = keys.iter().find(|key| key["state"] == "active").unwrap();
        let text = |field: &str| active[field].as_str().unwrap().to_owned();
        KeyName {
            id: text("id"),
            hash: text("hash"),
        }
    }

    /// Where its telemetry listens.
    pub fn telemetry(&self) -> String {
        wait_for("telemetry to listen", SOON, || {
            let status = fs::read(self.config.with_file_name("status.json")).ok()?;
            let status: Value = serde_json::from_slice(&status).ok()?;
            let address = status["telemetry"].as_str()?;
            (!address.is_empty()).then(|| address.to_owned())
        })
    }

    /// The key id of every Decrypt that has succeeded, in order, from the log.
    pub fn decrypts(&self) -> Vec<String> {
        self.events()
            .iter()
            .filter(|event| event["message"] == "Decrypt done")
            .map(|event| event["key_id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Every line of the log.
    pub fn events(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Where the generations of the ring lie.
    pub fn ring_dir(&self) -> PathBuf {
        self.config.with_file_name("ring")
    }

    /// Opens a wrapped seed from the stored ring and its root, without the running plugin.
    pub fn open_seed(&self, key_id: &str, wrapped: &[u8]) -> SecretBytes {
        seed::open_seed(&self.config, key_id, wrapped)
    }

    /// Every key of the ring, and what opens it, each under a name.
    pub fn keys(&self) -> Vec<(String, Vec<u8>)> {
        let root = fs::read(self.config.with_file_name("root.key")).unwrap();
        let mut keys = seed::keys(&self.config);
        keys.push(("the root key".to_owned(), root));
        keys
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "kekring {arguments:?}: {} {errors}",
            output.status
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// `serve` with its standard input as descriptor 3, announced as systemd does. It keeps the shell's process id.
    fn activated(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args([
                "-c",
                "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"",
                "sh",
            ])
            .args([env!("CARGO_BIN_EXE_kekring"), "serve", "--config"])
            .arg(&self.config);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kekring"));
        command.arg("--config").arg(&self.config);
        command
    }
}
