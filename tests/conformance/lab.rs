//! A plugin and its kube-apiserver, for one case.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kekring::cluster::object::{self, StoredObject};
use serde_json::Value;

use crate::client::{Client, Failure, Opened, Stored};
use crate::golang::Program;
use crate::support::{Plugin, shown, wait_until};

/// The name that everything has where nothing else is said.
pub const API: &str = "kube-apiserver";
/// What an operator's `config encryption` calls the provider.
pub const PROVIDER: &str = "kekring";
/// kube-apiserver asks a healthy plugin again after 20 s at the earliest, and the rest is room.
pub const NOTICED: Duration = Duration::from_secs(120);
/// Each call has its line in the log.
pub const VERBOSE: &str = "{telemetry: {log: {format: json, level: debug}}}";

pub struct Lab {
    pub client: Client,
    pub plugin: Plugin,
    pub config: PathBuf,
}

impl Lab {
    /// A plugin that serves, and a client without a kube-apiserver yet.
    pub fn idle(program: &'static Program) -> Self {
        let plugin = Plugin::with(VERBOSE);
        let config = encryption_configuration(&plugin);
        Self {
            client: Client::start(program),
            plugin,
            config,
        }
    }

    /// The same with a kube-apiserver.
    pub fn start(program: &'static Program) -> Self {
        let mut lab = Self::idle(program);
        lab.load();
        lab
    }

    /// kube-apiserver starts, or starts again.
    pub fn load(&mut self) {
        self.client.load(API, &self.config);
    }

    #[track_caller]
    pub fn write(&mut self, name: &str) -> Stored {
        self.client.write(API, &key(name), name).unwrap()
    }

    pub fn read(&mut self, object: &Stored) -> Result<Opened, Failure> {
        self.client.read(API, object)
    }

    /// Asks for the health until it is so.
    #[track_caller]
    pub fn wait_for_health(&mut self, healthy: bool) {
        wait_until(&format!("health to be {healthy}"), NOTICED, || {
            self.client.health(API).is_ok() == healthy
        });
    }

    #[track_caller]
    pub fn active(&self) -> String {
        active(&self.plugin)
    }
}

#[track_caller]
pub fn active(plugin: &Plugin) -> String {
    key_in_state(plugin, "active")
}

/// The newest key in that state.
#[track_caller]
pub fn key_in_state(plugin: &Plugin, state: &str) -> String {
    let listing = plugin.json(&["keys", "list"]);
    let keys = listing["keys"].as_array().unwrap();
    let key = keys.iter().rfind(|key| key["state"] == state);
    key.unwrap()["id"].as_str().unwrap().to_owned()
}

/// Rotates, and returns the key that is active now.
#[track_caller]
pub fn rotate(plugin: &Plugin, how: &[&str]) -> String {
    let outcome = plugin.json(&[&["rotate"], how].concat());
    outcome["active"].as_str().unwrap().to_owned()
}

/// Runs a verb that must end well.
#[track_caller]
pub fn verb(plugin: &Plugin, words: &[&str]) {
    let output = plugin.verb(words);
    assert!(output.status.success(), "{words:?}: {}", shown(&output));
}

/// The EncryptionConfiguration that an operator would use, in a file.
pub fn encryption_configuration(plugin: &Plugin) -> PathBuf {
    let output = plugin.verb(&["config", "encryption"]);
    assert!(output.status.success(), "{}", shown(&output));
    let path = plugin.dir.join("encryption.yaml");
    fs::write(&path, output.stdout).unwrap();
    path
}

/// Where an object lies in etcd.
pub fn key(name: &str) -> String {
    format!("/registry/secrets/conformance/{name}")
}

#[track_caller]
pub fn parse(object: &Stored) -> StoredObject {
    object::parse(&object.value).unwrap()
}

#[track_caller]
pub fn key_id(object: &Stored) -> String {
    parse(object).object.key_id
}

/// Fresh or stale, with its own name as data.
pub fn holds(name: &str, stale: bool) -> Opened {
    Opened {
        data: name.as_bytes().to_vec(),
        stale,
    }
}

/// How often the plugin logged this. The log is written behind the service: what was answered last may be missing.
pub fn logged(plugin: &Plugin, message: &str) -> usize {
    plugin
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["message"] == message)
        .count()
}

/// How many Encrypts the plugin has answered, once the log is complete: an Encrypt of ours, which is not counted, is the
/// last line.
#[track_caller]
pub fn encrypts(lab: &mut Lab) -> usize {
    let before = logged(&lab.plugin, "Encrypt refused");
    let too_long = lab.client.encrypt(&lab.plugin.socket, &[0; 513]);
    assert_eq!(too_long.unwrap_err().code, "InvalidArgument");
    wait_until("the log to be complete", NOTICED, || {
        logged(&lab.plugin, "Encrypt refused") > before
    });
    logged(&lab.plugin, "Encrypt done")
}

/// What the running server says of itself; null while there is none.
pub fn server_status(plugin: &Plugin) -> Value {
    let status = fs::read(plugin.socket.with_file_name("status.json")).unwrap_or_default();
    serde_json::from_slice(&status).unwrap_or_default()
}
