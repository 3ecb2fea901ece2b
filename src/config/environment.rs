//! `KEKRING_…` variables: one for each key of the configuration, above the file.

use std::ffi::OsString;

use super::yaml::{self, Tree};
use super::{Config, LogFormat, LogLevel};

const PREFIX: &str = "KEKRING_";

/// How a variable's text becomes a value.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// As it is.
    Text,
    /// YAML: a list of numbers or of texts, or the roots.
    Yaml,
}

/// Every key that a variable can set.
const KEYS: [(&str, &[&str], Form); 25] = [
    ("KEKRING_NODE_NAME", &["node", "name"], Form::Text),
    (
        "KEKRING_NODE_MACHINE_ID_FILE",
        &["node", "machineIdFile"],
        Form::Text,
    ),
    ("KEKRING_SOCKET_PATH", &["socket", "path"], Form::Text),
    ("KEKRING_SOCKET_MODE", &["socket", "mode"], Form::Text),
    ("KEKRING_SOCKET_GROUP", &["socket", "group"], Form::Text),
    (
        "KEKRING_SOCKET_ALLOW_USERS",
        &["socket", "allowUsers"],
        Form::Yaml,
    ),
    (
        "KEKRING_SOCKET_ALLOW_GROUPS",
        &["socket", "allowGroups"],
        Form::Yaml,
    ),
    ("KEKRING_RING_ID", &["ring", "id"], Form::Text),
    (
        "KEKRING_RING_STORE_FILE_DIR",
        &["ring", "store", "file", "dir"],
        Form::Text,
    ),
    (
        "KEKRING_RING_STORE_ETCD_ENDPOINTS",
        &["ring", "store", "etcd", "endpoints"],
        Form::Yaml,
    ),
    (
        "KEKRING_RING_STORE_ETCD_PREFIX",
        &["ring", "store", "etcd", "prefix"],
        Form::Text,
    ),
    (
        "KEKRING_RING_STORE_ETCD_TLS_CA",
        &["ring", "store", "etcd", "tls", "ca"],
        Form::Text,
    ),
    (
        "KEKRING_RING_STORE_ETCD_TLS_CERT",
        &["ring", "store", "etcd", "tls", "cert"],
        Form::Text,
    ),
    (
        "KEKRING_RING_STORE_ETCD_TLS_KEY",
        &["ring", "store", "etcd", "tls", "key"],
        Form::Text,
    ),
    (
        "KEKRING_RING_STORE_ETCD_USER_NAME",
        &["ring", "store", "etcd", "user", "name"],
        Form::Text,
    ),
    (
        "KEKRING_RING_STORE_ETCD_USER_PASSWORD_FILE",
        &["ring", "store", "etcd", "user", "passwordFile"],
        Form::Text,
    ),
    (
        "KEKRING_RING_STORE_ETCD_LOCAL_COPY",
        &["ring", "store", "etcd", "localCopy"],
        Form::Text,
    ),
    ("KEKRING_RING_MIRROR", &["ring", "mirror"], Form::Text),
    ("KEKRING_RING_ROOTS", &["ring", "roots"], Form::Yaml),
    ("KEKRING_ROTATION_PERIOD", &["rotation", "period"], Form::Text),
    (
        "KEKRING_ROTATION_ALLOW_SHORT",
        &["rotation", "allowShort"],
        Form::Yaml,
    ),
    ("KEKRING_TELEMETRY_LISTEN", &["telemetry", "listen"], Form::Text),
    (
        "KEKRING_TELEMETRY_LOG_FORMAT",
        &["telemetry", "log", "format"],
        Form::Text,
    ),
    (
        "KEKRING_TELEMETRY_LOG_LEVEL",
        &["telemetry", "log", "level"],
        Form::Text,
    ),
    ("KEKRING_HARDENING", &["hardening"], Form::Text),
];

/// Puts the variables over the file.
pub(super) fn overlay(
    tree: &mut Tree,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), String> {
    for (name, text) in ours(variables)? {
        // Kubernetes sets KEKRING_PORT and the like for a Service of our name: what is no key is no error.
        let Some((key, path, form)) = KEYS.iter().find(|(key, _, _)| *key == name) else {
            continue;
        };
        let value = match form {
            Form::Text => Tree::text(text),
            Form::Yaml => yaml::load(&text).map_err(|why| format!("{key}: {why}"))?,
        };
        if let ["ring", "store", kind, ..] = path {
            one_store(tree, kind, key)?;
        }
        tree.set(path, value, key);
    }
    Ok(())
}

/// A variable chooses a store where none is chosen, and never a second one.
fn one_store(tree: &Tree, kind: &str, key: &str) -> Result<(), String> {
    let chosen = tree.keys(&["ring", "store"]);
    match chosen.into_iter().find(|it| *it != kind) {
        None => Ok(()),
        Some(other) => Err(format!(
            "{key} sets ring.store.{kind}, and ring.store.{other} is set too: a ring has exactly one store, take one of them away"
        )),
    }
}

/// `--dev` keeps everything in its directory; the period, the telemetry listener and the log may be set.
pub(super) fn overlay_development(
    config: &mut Config,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), String> {
    for (name, text) in ours(variables)? {
        let wrong = || format!("{name} is {text:?}");
        match name.as_str() {
            "KEKRING_NODE_NAME" => config.node.name = text,
            "KEKRING_ROTATION_PERIOD" => config.rotation.period = super::values::parse(&text)?,
            "KEKRING_TELEMETRY_LISTEN" => config.telemetry.listen = text,
            "KEKRING_TELEMETRY_LOG_FORMAT" => {
                config.telemetry.log.format = word::<LogFormat>(&text).ok_or_else(wrong)?;
            }
            "KEKRING_TELEMETRY_LOG_LEVEL" => {
                config.telemetry.log.level = word::<LogLevel>(&text).ok_or_else(wrong)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    Tree::text(text.to_owned()).read().ok()
}

fn ours(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, String> {
    let mut ours = Vec::new();
    for (name, text) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        let text = text
            .into_string()
            .map_err(|_| format!("{name} is not valid UTF-8"))?;
        ours.push((name.to_owned(), text));
    }
    ours.sort_unstable();
    Ok(ours)
}
