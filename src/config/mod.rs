//! The configuration: strict YAML, each key also as a `KEKRING_…` variable. It says where a secret is, never the secret.

mod check;
mod environment;
mod etcd;
mod values;
pub mod yaml;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use etcd::{DEFAULT_PREFIX, EtcdStore, EtcdTls, EtcdUser, MAX_ENDPOINTS, MAX_PREFIX};
pub use values::{Mode, parse as duration, shown_duration};

use crate::keyring::members::NodeName;
use crate::root::{PathConfig, RootConfig};

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/kekring/config.yaml";
/// Where this node's generations lie when nothing else is said: the ring, or its copy.
pub const DEFAULT_DIR: &str = "/var/lib/kekring";
/// JSON Schema of a configuration, for editors; the parser is the judge.
pub const SCHEMA: &str = include_str!("schema.json");
const API_VERSION: &str = "kekring/v1alpha1";
const KIND: &str = "Configuration";
/// Longest socket path: `sun_path` of unix(7) is 108 bytes with its final zero.
pub const MAX_SOCKET_PATH: usize = 107;

/// Everything that can be configured, checked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    api_version: String,
    kind: String,
    /// This node.
    #[serde(default)]
    pub node: Node,
    /// The socket that kube-apiserver connects to.
    #[serde(default)]
    pub socket: Socket,
    /// The ring.
    pub ring: RingConfig,
    /// Automatic rotation.
    #[serde(default)]
    pub rotation: Rotation,
    /// Logs and metrics.
    #[serde(default)]
    pub telemetry: Telemetry,
    /// What a start does where the kernel refuses to protect it.
    #[serde(default)]
    pub hardening: Hardening,
    /// A throw-away configuration of `--dev`; no file can say so.
    #[serde(skip)]
    pub development: bool,
}

/// This node.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Node {
    /// Its name; the host name when empty.
    pub name: String,
    /// The file that tells machines apart (machine-id(5)); in a container, the host's.
    pub machine_id_file: PathBuf,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            name: String::new(),
            machine_id_file: "/etc/machine-id".into(),
        }
    }
}

/// The socket that kube-apiserver connects to.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Socket {
    /// Its path, at most [`MAX_SOCKET_PATH`] bytes.
    pub path: PathBuf,
    /// Its mode from the moment it exists.
    pub mode: Mode,
    /// Its group; unchanged when empty.
    pub group: String,
    /// Users that may connect; root and our own when absent.
    pub allow_users: Option<Vec<u32>>,
    /// Groups whose members may connect, by their primary group.
    pub allow_groups: Vec<u32>,
}

impl Default for Socket {
    fn default() -> Self {
        Self {
            path: "/run/kekring/kms.sock".into(),
            mode: Mode::default(),
            group: String::new(),
            allow_users: None,
            allow_groups: Vec::new(),
        }
    }
}

/// The ring.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RingConfig {
    /// The only ring that is accepted, as 32 hexadecimal digits; any when empty.
    #[serde(default)]
    pub id: String,
    /// Where its generations lie.
    #[serde(default)]
    pub store: Store,
    /// A second directory for a sealed copy of each generation and the mark; none when empty.
    #[serde(default)]
    pub mirror: PathBuf,
    /// Tried in this order; any one opens the ring. At most [`crate::root::MAX_ROOTS`].
    pub roots: Vec<RootConfig>,
}

/// Where a ring's generations lie.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Store {
    /// A directory of one control-plane node.
    File {
        /// The directory, 0700.
        dir: PathBuf,
    },
    /// An etcd that several control-plane nodes share, with a copy on each.
    Etcd(EtcdStore),
}

impl Store {
    /// Where this node's own generations lie: the ring, or its copy.
    pub fn local(&self) -> &Path {
        match self {
            Self::File { dir } => dir,
            Self::Etcd(etcd) => &etcd.local_copy,
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::File {
            dir: DEFAULT_DIR.into(),
        }
    }
}

/// Automatic rotation.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct Rotation {
    /// Age at which the active key is replaced.
    #[serde(deserialize_with = "values::duration")]
    pub period: Duration,
    /// That it may be under an hour.
    pub allow_short: bool,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(30 * 86_400),
            allow_short: false,
        }
    }
}

/// What a start does where the kernel refuses to protect it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Hardening {
    /// Serves, and says what is missing.
    #[default]
    Try,
    /// Does not serve.
    Require,
}

/// Logs and metrics.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Address and port of the HTTP listener, on loopback; there is none when empty.
    pub listen: String,
    /// The log.
    pub log: Log,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9476".into(),
            log: Log::default(),
        }
    }
}

/// The log, on standard error.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// The least that is logged.
    pub level: LogLevel,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people and journald.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// The least that is logged.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the configuration {origin}: {why}")]
pub struct ConfigError {
    origin: String,
    why: String,
    /// There is no such file.
    missing: bool,
}

impl ConfigError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        if self.missing {
            return "name it with --config FILE; README.md shows a whole one, and `kekring serve --dev ./dev` needs none";
        }
        "README.md lists every key; `kekring config check` tries a file"
    }
}

impl Config {
    /// Reads, overlays the environment and checks.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let failed = |why: String| ConfigError {
            origin: path.display().to_string(),
            why,
            missing: false,
        };
        let text = fs::read_to_string(path).map_err(|why| ConfigError {
            missing: why.kind() == std::io::ErrorKind::NotFound,
            ..failed(why.to_string())
        })?;
        Self::parse(&text, std::env::vars_os()).map_err(failed)
    }

    /// A throw-away configuration that keeps everything in `dir`, an absolute path.
    pub fn development(dir: &Path) -> Result<Self, ConfigError> {
        let failed = |why: String| ConfigError {
            origin: format!("--dev {}", dir.display()),
            why,
            missing: false,
        };
        let mut config = Self {
            api_version: API_VERSION.into(),
            kind: KIND.into(),
            node: Node::default(),
            socket: Socket {
                path: dir.join("kms.sock"),
                ..Socket::default()
            },
            ring: RingConfig {
                id: String::new(),
                store: Store::File {
                    dir: dir.join("ring"),
                },
                mirror: PathBuf::new(),
                roots: vec![RootConfig::File(PathConfig {
                    path: dir.join("root.key"),
                })],
            },
            rotation: Rotation::default(),
            // A port is the machine's: two throw-away rings would fight for it.
            telemetry: Telemetry {
                listen: String::new(),
                ..Telemetry::default()
            },
            hardening: Hardening::default(),
            development: true,
        };
        environment::overlay_development(&mut config, std::env::vars_os()).map_err(failed)?;
        config.check().map_err(failed)?;
        Ok(config)
    }

    fn parse(
        text: &str,
        variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, String> {
        let mut tree = yaml::load(text).map_err(|why| why.to_string())?;
        environment::overlay(&mut tree, variables)?;
        let config: Self = tree.read().map_err(|why| why.to_string())?;
        config.check()?;
        Ok(config)
    }

    /// The node's name: configured, or the host's.
    pub fn node_name(&self) -> String {
        if self.node.name.is_empty() {
            rustix::system::uname().nodename().to_string_lossy().into_owned()
        } else {
            self.node.name.clone()
        }
    }

    /// That name as a ring of several nodes knows it, in lower case; else what to do about it.
    pub fn member_name(&self) -> Result<NodeName, String> {
        let name = self.node_name();
        name.to_lowercase().parse().map_err(|why| {
            let whose = if self.node.name.is_empty() {
                "node.name is empty and the host name"
            } else {
                "node.name"
            };
            format!("{whose} is {name:?}, {why}; give each node of a ring on etcd a node.name of its own")
        })
    }
}
