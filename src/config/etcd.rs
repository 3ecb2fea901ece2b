//! The ring on etcd: its keys, what they must keep to, and what they say to the client.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::DEFAULT_DIR;
use super::check::absolute;
use crate::etcd::{self, Endpoint, EtcdError, Identity, TlsFiles, User};

/// Most endpoints. An etcd has 3 to 7 members (etcd.io, FAQ: "What is maximum cluster size?"); one may have two addresses.
pub const MAX_ENDPOINTS: usize = 16;
/// Longest prefix, in bytes: with a ring's id and a node's name of 253 behind it, a key stays under
/// [`crate::etcd::MAX_KEY`].
pub const MAX_PREFIX: usize = 200;
/// What the ring's keys in etcd begin with when nothing else is said.
pub const DEFAULT_PREFIX: &str = "/kekring";

/// The ring on etcd.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EtcdStore {
    /// Its members, tried in this order: `https://HOST:2379`, or `http://` on loopback. At most [`MAX_ENDPOINTS`].
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// What its keys begin with; the ring's id follows. At most [`MAX_PREFIX`] bytes.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// For `https://`.
    #[serde(default)]
    pub tls: Option<EtcdTls>,
    /// Where etcd has users with passwords.
    #[serde(default)]
    pub user: Option<EtcdUser>,
    /// The directory of this node's sealed copy, 0700: what it serves from while etcd is away.
    #[serde(default = "default_copy")]
    pub local_copy: PathBuf,
}

/// Certificates, PEM; the files are read again when they change.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdTls {
    /// Who signs the members' certificates.
    pub ca: PathBuf,
    /// Our certificate, where etcd asks for one; none when empty.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A user of etcd.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EtcdUser {
    /// Its name.
    pub name: String,
    /// The file that holds the password.
    pub password_file: PathBuf,
}

fn default_prefix() -> String {
    DEFAULT_PREFIX.into()
}

fn default_copy() -> PathBuf {
    DEFAULT_DIR.into()
}

impl EtcdStore {
    /// What the client is given. Nothing is read yet. An endpoint that is none is an error; in a checked configuration
    /// there is no such.
    pub fn client(&self) -> Result<etcd::Config, EtcdError> {
        let endpoints = self.endpoints.iter().map(|it| Endpoint::parse(it));
        Ok(etcd::Config {
            endpoints: endpoints.collect::<Result<_, _>>()?,
            tls: self.tls.as_ref().and_then(EtcdTls::files),
            user: self.user.as_ref().map(|user| User {
                name: user.name.clone(),
                password_file: user.password_file.clone(),
            }),
        })
    }

    /// The files that are read again while a server runs: certificates, key, password.
    pub fn files(&self) -> Vec<&Path> {
        let tls = self.tls.iter().flat_map(|it| [&it.ca, &it.cert, &it.key]);
        let password = self.user.iter().map(|it| &it.password_file);
        tls.chain(password)
            .filter(|path| is_set(path))
            .map(PathBuf::as_path)
            .collect()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let endpoints = self.check_endpoints()?;
        check_prefix(&self.prefix)?;
        self.check_tls(&endpoints)?;
        if let Some(user) = &self.user {
            if user.name.is_empty() {
                return Err(
                    "ring.store.etcd.user.name is empty: name etcd's user, or leave user away".into(),
                );
            }
            absolute("ring.store.etcd.user.passwordFile", &user.password_file)?;
        }
        absolute("ring.store.etcd.localCopy", &self.local_copy)
    }

    fn check_endpoints(&self) -> Result<Vec<Endpoint>, String> {
        let count = self.endpoints.len();
        if count == 0 {
            return Err(
                "ring.store.etcd.endpoints is empty: list etcd's members, each as https://HOST:2379".into(),
            );
        }
        if count > MAX_ENDPOINTS {
            return Err(format!(
                "ring.store.etcd.endpoints has {count} entries, at most {MAX_ENDPOINTS} are accepted: a few members are enough"
            ));
        }
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for text in &self.endpoints {
            let endpoint =
                Endpoint::parse(text).map_err(|why| format!("ring.store.etcd.endpoints: {why}"))?;
            if endpoints.contains(&endpoint) {
                return Err(format!(
                    "ring.store.etcd.endpoints names {endpoint} twice: name each member once"
                ));
            }
            endpoints.push(endpoint);
        }
        Ok(endpoints)
    }

    fn check_tls(&self, endpoints: &[Endpoint]) -> Result<(), String> {
        let tls = self.tls.clone().unwrap_or_default();
        let keys = [
            ("ring.store.etcd.tls.ca", &tls.ca),
            ("ring.store.etcd.tls.cert", &tls.cert),
            ("ring.store.etcd.tls.key", &tls.key),
        ];
        for (name, path) in keys.into_iter().filter(|(_, path)| is_set(path)) {
            if !endpoints.iter().any(Endpoint::is_secured) {
                return Err(format!(
                    "{name} is set, and no endpoint uses it: write https:// in ring.store.etcd.endpoints, or leave tls away"
                ));
            }
            absolute(name, path)?;
        }
        let secured = endpoints.iter().find(|endpoint| endpoint.is_secured());
        if let Some(endpoint) = secured
            && !is_set(&tls.ca)
        {
            return Err(format!(
                "ring.store.etcd.tls.ca is missing: name the file of the authority that signed the certificate of {endpoint}"
            ));
        }
        match (is_set(&tls.cert), is_set(&tls.key)) {
            (true, false) => {
                Err("ring.store.etcd.tls.cert is set without tls.key: name both, or neither".into())
            }
            (false, true) => {
                Err("ring.store.etcd.tls.key is set without tls.cert: name both, or neither".into())
            }
            _ => Ok(()),
        }
    }
}

impl EtcdTls {
    /// What the client is given; nothing where no key is set.
    fn files(&self) -> Option<TlsFiles> {
        let identity = is_set(&self.cert).then(|| Identity {
            cert: self.cert.clone(),
            key: self.key.clone(),
        });
        is_set(&self.ca).then(|| TlsFiles {
            ca: self.ca.clone(),
            identity,
        })
    }
}

fn check_prefix(prefix: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("ring.store.etcd.prefix is {prefix:?}: {why}"));
    if prefix.len() > MAX_PREFIX {
        return Err(format!(
            "ring.store.etcd.prefix is {} bytes, at most {MAX_PREFIX} are accepted",
            prefix.len()
        ));
    }
    if !prefix.starts_with('/') {
        return wrong("it must begin with '/', such as /kekring");
    }
    if prefix.ends_with('/') {
        return wrong("it must not end with '/', such as /kekring");
    }
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        return wrong("use printable ASCII without spaces");
    }
    Ok(())
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

#[cfg(test)]
mod tests;
