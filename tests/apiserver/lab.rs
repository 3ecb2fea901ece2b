//! A control plane and its plugin, for one trial.

use std::path::Path;
use std::time::Duration;

use kekring::cluster::object::{self, StoredObject};
use tempfile::TempDir;

use crate::client::Api;
use crate::control_plane::ControlPlane;
use crate::etcd::{Etcd, etcd_key};
use crate::form::Form;
use crate::plugin::{KeyName, Plugin};
use crate::wait::wait_for;

/// kube-apiserver asks for the Status at most this often by itself, and the rest is room: the product's promise.
pub const NEW_KEY_IN_USE: Duration = Duration::from_secs(90);

/// Everything that one trial runs.
pub struct Lab {
    // Dropped in this order: processes before their files.
    pub control_plane: ControlPlane,
    pub plugin: Plugin,
    dir: TempDir,
}

impl Lab {
    /// Starts the plugin, then etcd and kube-apiserver, which encrypts Secrets and ConfigMaps.
    pub fn start() -> Self {
        Self::with(Plugin::start_new, |plugin| {
            Some(plugin.encryption_configuration())
        })
    }

    /// The same with another plugin, and another EncryptionConfiguration or none.
    pub fn with(
        plugin: impl FnOnce(&Path) -> Plugin,
        encryption: impl FnOnce(&Plugin) -> Option<String>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plugin = plugin(dir.path());
        let control_plane = ControlPlane::start(dir.path(), encryption(&plugin).as_deref());
        control_plane.api().create_namespace();
        Self {
            control_plane,
            plugin,
            dir,
        }
    }

    /// Where everything lies.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn api(&self) -> Api {
        self.control_plane.api()
    }

    pub fn etcd(&self) -> Etcd {
        self.control_plane.etcd()
    }

    /// A Secret as it lies in etcd, parsed.
    pub fn stored_secret(&self, name: &str) -> StoredObject {
        object::parse(&self.etcd().value(&etcd_key("secrets", name))).unwrap()
    }

    /// How an object lies in etcd.
    pub fn form(&self, resource: &str, name: &str) -> Form {
        Form::of(&self.etcd().value(&etcd_key(resource, name)))
    }

    /// The key that a Secret in etcd names.
    pub fn key_of_secret(&self, name: &str) -> String {
        self.stored_secret(name).object.key_id
    }

    /// Writes Secrets, each with its own name as password, until one lies in etcd under `key`; returns all their names.
    /// kube-apiserver is asked for its readiness meanwhile, which makes it look at the plugin more often.
    pub fn write_until_under(&self, key: &KeyName) -> Vec<String> {
        let (api, mut names) = (self.api(), Vec::new());
        wait_for("a Secret under the new key", NEW_KEY_IN_USE, || {
            api.health("/readyz").unwrap();
            let name = format!("{}-{}", key.id, names.len());
            api.create_secret(&name, &name).unwrap();
            names.push(name.clone());
            (self.key_of_secret(&name) == key.id).then_some(())
        });
        names
    }
}
