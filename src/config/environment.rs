//! `KEKRING_…` variables: one for each key of the configuration, above the file.

use std::ffi::OsString;

use serde_json::{Map, Value};

use super::{Config, LogFormat, LogLevel};

const PREFIX: &str = "KEKRING_";

/// How a variable's text becomes a value.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// As it is.
    Text,
    /// YAML: a list of numbers, or the roots.
    Yaml,
}

/// Every key that a variable can set.
const KEYS: [(&str, &[&str], Form); 15] = [
    ("NODE_NAME", &["node", "name"], Form::Text),
    ("NODE_MACHINE_ID_FILE", &["node", "machineIdFile"], Form::Text),
    ("SOCKET_PATH", &["socket", "path"], Form::Text),
    ("SOCKET_MODE", &["socket", "mode"], Form::Text),
    ("SOCKET_GROUP", &["socket", "group"], Form::Text),
    ("SOCKET_ALLOW_USERS", &["socket", "allowUsers"], Form::Yaml),
    ("SOCKET_ALLOW_GROUPS", &["socket", "allowGroups"], Form::Yaml),
    ("RING_ID", &["ring", "id"], Form::Text),
    (
        "RING_STORE_FILE_DIR",
        &["ring", "store", "file", "dir"],
        Form::Text,
    ),
    ("RING_MIRROR", &["ring", "mirror"], Form::Text),
    ("RING_ROOTS", &["ring", "roots"], Form::Yaml),
    ("ROTATION_PERIOD", &["rotation", "period"], Form::Text),
    ("TELEMETRY_LISTEN", &["telemetry", "listen"], Form::Text),
    (
        "TELEMETRY_LOG_FORMAT",
        &["telemetry", "log", "format"],
        Form::Text,
    ),
    ("TELEMETRY_LOG_LEVEL", &["telemetry", "log", "level"], Form::Text),
];

/// Puts the variables over the file's text. `plain` is what the file says alone.
pub(super) fn overlay(
    plain: Config,
    text: &str,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Config, String> {
    let ours = ours(variables)?;
    if ours.is_empty() {
        return Ok(plain);
    }
    let mut tree: Value = super::yaml::parse(text).map_err(|why| why.to_string())?;
    let mut names = Vec::new();
    for (name, text) in ours {
        // Kubernetes sets KEKRING_PORT and the like for a Service of our name: what is no key is no error.
        if let Some((_, path, form)) = KEYS.iter().find(|(key, _, _)| *key == name) {
            set(&mut tree, path, value(&name, &text, *form)?);
            names.push(format!("{PREFIX}{name}"));
        }
    }
    serde_json::from_value(tree).map_err(|why| format!("with {}: {why}", names.join(", ")))
}

/// `--dev` keeps everything in its directory; the period, the telemetry listener and the log may be set.
pub(super) fn overlay_development(
    config: &mut Config,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(), String> {
    for (name, text) in ours(variables)? {
        let wrong = || format!("{PREFIX}{name} is {text:?}");
        match name.as_str() {
            "NODE_NAME" => config.node.name = text,
            "ROTATION_PERIOD" => config.rotation.period = super::values::parse(&text)?,
            "TELEMETRY_LISTEN" => config.telemetry.listen = text,
            "TELEMETRY_LOG_FORMAT" => {
                config.telemetry.log.format = word::<LogFormat>(&text).ok_or_else(wrong)?;
            }
            "TELEMETRY_LOG_LEVEL" => {
                config.telemetry.log.level = word::<LogLevel>(&text).ok_or_else(wrong)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn word<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(Value::String(text.to_owned())).ok()
}

fn ours(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, String> {
    let mut ours = Vec::new();
    for (name, text) in variables {
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        let text = text
            .into_string()
            .map_err(|_| format!("{PREFIX}{name} is not valid UTF-8"))?;
        ours.push((name.to_owned(), text));
    }
    ours.sort();
    Ok(ours)
}

fn value(name: &str, text: &str, form: Form) -> Result<Value, String> {
    match form {
        Form::Text => Ok(Value::String(text.to_owned())),
        Form::Yaml => super::yaml::parse(text).map_err(|why| format!("{PREFIX}{name}: {why}")),
    }
}

/// Sets the value at `path`, making the objects on the way.
fn set(tree: &mut Value, path: &[&str], value: Value) {
    let Some((step, rest)) = path.split_first() else {
        *tree = value;
        return;
    };
    let mut map = match tree.take() {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    set(map.entry((*step).to_owned()).or_insert(Value::Null), rest, value);
    *tree = Value::Object(map);
}
