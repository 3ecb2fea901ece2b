//! `status.json` beside the socket: what a running server knows, without a secret. There is no admin API; this is what
//! `kekring status` and `kekring rotate` read.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::connection::{Reported, Shared};
use super::peer::{Admission, Peer};
use super::protect::Protection;
use super::web::State;
use crate::keyring::ring::UnixTime;
use crate::reload::{Account, Health, RingHealth};
use crate::telemetry::{now, shown_time};

/// A server's own account of itself.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// The program's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The node's name.
    pub node: String,
    /// When this was written, RFC 3339.
    pub written: String,
    /// The same in Unix seconds, to date it by.
    pub written_unix: u64,
    /// The ring's name; empty while none is open.
    pub ring: String,
    /// How each root fared that was asked for the ring at the start, in that order; the one that opened it says so.
    #[serde(default)]
    pub opened_by: Vec<String>,
    /// The generation in use; 0 while none is open.
    pub generation: u64,
    /// The key that Status reports; empty while none is open.
    pub active: String,
    /// The next key.
    pub next: String,
    /// How many keys decrypt.
    pub keys: usize,
    /// When the next automatic rotation is due; empty when none is.
    pub next_rotation: String,
    /// Why the ring is not changed; empty when nothing stands in the way.
    pub frozen: String,
    /// What is wrong now.
    pub problems: Vec<String>,
    /// What should be known.
    pub warnings: Vec<String>,
    /// What keeps the process's memory to itself.
    pub protections: Vec<String>,
    /// Where telemetry listens; empty while it does not.
    #[serde(default)]
    pub telemetry: String,
    /// When the ring on etcd was last read, RFC 3339; empty where it was not since the start, or lies in files.
    #[serde(default)]
    pub etcd_read: String,
    /// For which nodes a rotation, or the joining of histories, waits, and why.
    #[serde(default)]
    pub waits_for: Vec<String>,
    /// How many connections were refused for their user.
    #[serde(default)]
    pub refused_peers: u64,
    /// Who is let in: users by their number, and groups. Absent where a server from before this wrote it.
    #[serde(default)]
    pub admitted_users: Option<Vec<u32>>,
    /// See [`Self::admitted_users`].
    #[serde(default)]
    pub admitted_groups: Option<Vec<u32>>,
    /// The open connections.
    pub connections: Vec<ConnectionStatus>,
}

/// One open connection.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// User and process at the other end.
    pub peer: String,
    /// The key that Status reported last.
    pub key_id: String,
    /// When, RFC 3339; empty when it was never asked.
    pub last_status: String,
}

/// A server writes every two seconds; one that has not for this long is gone or frozen.
const FRESH: u64 = 10;
/// Connections that other nodes are told of; a control plane has a handful.
const MOST_TOLD: usize = 32;

impl ServerStatus {
    /// Whether the server that wrote this is still there.
    pub fn is_running(&self, time: UnixTime) -> bool {
        time.0.abs_diff(self.written_unix) <= FRESH
    }
}

/// Where the status file of a socket is.
pub fn path(socket: &Path) -> PathBuf {
    socket.with_file_name("status.json")
}

/// Writes a server's account again and again.
pub(super) struct StatusFile {
    pub(super) path: PathBuf,
    pub(super) node: String,
    pub(super) protections: Vec<Protection>,
    pub(super) health: watch::Receiver<Health>,
    pub(super) shared: Shared,
    pub(super) telemetry: watch::Receiver<State>,
    /// For the other nodes.
    pub(super) account: watch::Sender<Account>,
    pub(super) admission: Admission,
    pub(super) failing: bool,
}

impl StatusFile {
    /// Says so in the log when that fails, once.
    pub(super) fn write(&mut self) {
        let status = self.collect();
        self.account.send_replace(account(&status));
        match write(&self.path, &status) {
            Err(why) if !self.failing => {
                tracing::warn!(%why, path = %self.path.display(), "cannot write the status file");
                self.failing = true;
            }
            result => self.failing = result.is_err(),
        }
    }

    fn collect(&self) -> ServerStatus {
        let (health, telemetry) = (self.health.borrow(), self.telemetry.borrow());
        let (time, ring) = (now(), health.ring.as_ref());
        let several = health.several.as_ref();
        let text = |field: fn(&RingHealth) -> String| ring.map(field).unwrap_or_default();
        let admission = self.admission.warnings();
        let warnings = health.warnings.iter().chain(&telemetry.trouble).chain(&admission);
        let connections = self.shared.places.open().into_iter();
        ServerStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            node: self.node.clone(),
            written: shown_time(time),
            written_unix: time.0,
            ring: text(|ring| ring.id.to_string()),
            opened_by: health.opened_by.clone(),
            generation: ring.map_or(0, |ring| ring.generation),
            active: text(|ring| ring.active.to_string()),
            next: text(|ring| ring.next.to_string()),
            keys: ring.map_or(0, |ring| ring.keys),
            next_rotation: text(|ring| ring.rotation.map(shown_time).unwrap_or_default()),
            frozen: text(|ring| ring.frozen.clone().unwrap_or_default()),
            problems: health.problems.clone(),
            warnings: warnings.cloned().collect(),
            protections: self.protections.iter().map(ToString::to_string).collect(),
            telemetry: telemetry.address.map(|it| it.to_string()).unwrap_or_default(),
            etcd_read: several.and_then(|it| it.read).map(shown_time).unwrap_or_default(),
            waits_for: several
                .iter()
                .flat_map(|it| &it.missing)
                .map(|(name, why)| format!("{name}: {why}"))
                .collect(),
            refused_peers: self.shared.metrics.peers_refused.get(),
            admitted_users: Some(self.admission.users()),
            admitted_groups: Some(self.admission.groups()),
            connections: connections.map(connection).collect(),
        }
    }
}

fn connection((peer, reported): (Peer, Option<Reported>)) -> ConnectionStatus {
    let key_id = reported.as_ref().map(|it| it.key_id.to_string());
    ConnectionStatus {
        peer: peer.to_string(),
        key_id: key_id.unwrap_or_default(),
        last_status: reported.map(|it| shown_time(it.time)).unwrap_or_default(),
    }
}

/// With as many connections as fit a small value.
fn account(status: &ServerStatus) -> Account {
    let mut status = status.clone();
    status.connections.truncate(MOST_TOLD);
    // A matter of this node.
    status.opened_by.clear();
    let whole = serde_json::to_vec(&status).unwrap_or_default();
    (status.written, status.written_unix) = (String::new(), 0);
    status.etcd_read = String::new();
    for connection in &mut status.connections {
        connection.last_status = String::new();
    }
    let essence = serde_json::to_vec(&status).unwrap_or_default();
    Account { whole, essence }
}

/// Replaces the file in one step. It need not survive a crash.
fn write(path: &Path, status: &ServerStatus) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::Builder::new()
        .prefix(".status-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(dir)?;
    let mut text = serde_json::to_vec_pretty(status)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.persist(path).map_err(|failed| failed.error)?;
    Ok(())
}

/// Reads what a server wrote last; `None` when there is nothing that can be read.
pub fn read(path: &Path) -> Option<ServerStatus> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
