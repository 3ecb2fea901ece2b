//! The running server: whether it answers, and what it says of itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::finding::Findings;
use crate::cli::probe::reported_key;
use crate::config::Config;
use crate::custody::Opened;
use crate::server::status_file::{self, ServerStatus};
use crate::telemetry::now;

/// kube-apiserver's own patience.
const PATIENCE: Duration = Duration::from_secs(3);
/// kube-apiserver asks each minute.
const QUIET: i64 = 300;

/// What the server that runs wrote last; `None` where none does, or this user may not see it.
pub(super) fn status(config: &Config) -> Option<ServerStatus> {
    let status = status_file::read(&status_file::path(&config.socket.path));
    status.filter(|it| it.is_running(now()))
}

/// `asked` is whether a kube-apiserver has this kekring in its configuration.
pub(super) fn look(
    config: &Config,
    status: Option<&ServerStatus>,
    opened: Option<&Opened>,
    asked: bool,
    findings: &mut Findings,
) {
    let socket = &config.socket.path;
    let key = match reported_key(socket, PATIENCE) {
        Ok(key) => {
            findings.ok(
                "server/answers",
                socket.display(),
                format!("Status reports {key}"),
            );
            Some(key)
        }
        Err(no) if no.denied => {
            findings.skipped("server/answers", socket.display(), no.why, no.hint);
            None
        }
        Err(no) => {
            findings.failure("server/answers", socket.display(), no.why, no.hint);
            None
        }
    };
    twice(socket, findings);
    let file = status_file::path(socket);
    let Some(status) = status else {
        let (why, remedy) = match fs::read(&file) {
            Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => {
                (format!("cannot read it: {why}"), "run it as root")
            }
            Ok(_) => (
                "no server has written it within the last seconds".to_owned(),
                "start `kekring serve`, or see why it does not go on: its log says so",
            ),
            Err(why) => (format!("cannot read it: {why}"), "start `kekring serve`"),
        };
        return findings.skipped("server/status", file.display(), why, remedy);
    };
    findings.ok(
        "server/status",
        file.display(),
        format!("process {} writes it", status.pid),
    );
    if let (Some(opened), Some(key)) = (opened, &key) {
        key_of_ring(opened, status, key, findings);
    }
    itself(config, status, findings);
    peers(status, asked, findings);
}

/// Two sockets at one path: whoever has the older one open is not reached by anybody new.
fn twice(socket: &Path, findings: &mut Findings) {
    let id = "server/one";
    let Ok(table) = fs::read_to_string("/proc/net/unix") else {
        return findings.skipped(
            id,
            socket.display(),
            "cannot read /proc/net/unix",
            "run it where /proc is mounted",
        );
    };
    // Num RefCount Protocol Flags Type St Inode Path; __SO_ACCEPTCON is a socket that listens.
    let listens = |line: &&str| {
        let mut fields = line.split_ascii_whitespace();
        fields.nth(3) == Some("00010000") && fields.nth(3).is_some_and(|path| Path::new(path) == socket)
    };
    match table.lines().filter(listens).count() {
        0 | 1 => findings.ok(id, socket.display(), "no second server has a socket at this path"),
        many => findings.warning(
            id,
            socket.display(),
            format!("{many} sockets listen at this path, and new connections reach the last one alone"),
            "one server is enough: stop the others; under systemd, stop the .socket units and the service, and start it",
        ),
    }
}

fn key_of_ring(opened: &Opened, status: &ServerStatus, key: &str, findings: &mut Findings) {
    let (id, stored) = ("server/key", opened.ring.active());
    if stored.is_some_and(|stored| stored.id.as_str() == key) {
        return findings.ok(id, key, "the server reports the ring's active key");
    }
    let active = stored.map(|it| it.id.to_string()).unwrap_or_default();
    findings.warning(
        id,
        key,
        format!("the server reports this key in generation {}, and the ring's active one is {active} in generation {}", status.generation, opened.ring.generation),
        "`kekring status` says why it has not taken the ring; SIGHUP makes it read it again",
    );
}

fn itself(config: &Config, status: &ServerStatus, findings: &mut Findings) {
    let (version, ours) = (&status.version, env!("CARGO_PKG_VERSION"));
    match version == ours {
        true => findings.ok(
            "server/version",
            version,
            "the server is of this program's version",
        ),
        false => findings.warning(
            "server/version",
            version,
            format!("the server that runs is not of this program's version, {ours}"),
            "restart it: `systemctl restart kekring`",
        ),
    }
    let name = config.node_name();
    match status.node.eq_ignore_ascii_case(&name) {
        true => findings.ok("server/node-name", &name, "the server has the configured name"),
        false => findings.warning(
            "server/node-name",
            &name,
            format!(
                "the server that runs is called {}: host name or node.name were changed",
                status.node
            ),
            "restart it; in a ring on etcd set node.name to the name before, or it is another node",
        ),
    }
    complaints(status, findings);
}

/// What it says itself.
fn complaints(status: &ServerStatus, findings: &mut Findings) {
    let refused: Vec<&String> = status
        .protections
        .iter()
        .filter(|it| it.contains(": refused"))
        .collect();
    for protection in &refused {
        findings.warning(
            "server/protections",
            format!("process {}", status.pid),
            protection,
            "use a kernel that grants it; with `hardening: require` a server does not start without",
        );
    }
    if refused.is_empty() {
        findings.ok(
            "server/protections",
            format!("process {}", status.pid),
            "the kernel granted each of them",
        );
    }
    const REMEDY: &str = "look for these words in README.md: it says what to do";
    for problem in &status.problems {
        findings.failure(
            "server/problem",
            format!("process {}", status.pid),
            problem,
            REMEDY,
        );
    }
    for warning in &status.warnings {
        findings.warning(
            "server/warning",
            format!("process {}", status.pid),
            warning,
            REMEDY,
        );
    }
    if status.problems.is_empty() && status.warnings.is_empty() {
        findings.ok(
            "server/problem",
            format!("process {}", status.pid),
            "it complains of nothing",
        );
    }
}

fn peers(status: &ServerStatus, asked: bool, findings: &mut Findings) {
    let id = "server/polled";
    let recent = status.connections.iter().any(|it| {
        let at = it.last_status.parse::<jiff::Timestamp>();
        at.is_ok_and(|at| seconds_since(at) < QUIET)
    });
    match (recent, asked) {
        (true, _) => findings.ok(id, "connections", "somebody asks for Status"),
        (false, false) => findings.ok(id, "connections", "nobody asks, and no EncryptionConfiguration that was read has it so"),
        (false, true) => findings.warning(
            id,
            "connections",
            "no kube-apiserver has asked for Status within five minutes, and the EncryptionConfiguration leads here",
            "see `kubectl get --raw '/readyz?verbose'` and the log of kube-apiserver; restart it where it has no automatic reload",
        ),
    }
    match status.refused_peers {
        0 => findings.ok("server/refused-peers", "socket", "nobody was refused"),
        many => findings.warning(
            "server/refused-peers",
            "socket",
            format!("{many} connections were refused: their user may not use the socket"),
            "the log says which; set socket.allowUsers where kube-apiserver does not run as root",
        ),
    }
}

fn seconds_since(time: jiff::Timestamp) -> i64 {
    let now = i64::try_from(now().0).unwrap_or(i64::MAX);
    now.saturating_sub(time.as_second())
}
