//! kekring's own configuration, and the files that it names: who owns them, who can use them, on which disk they lie.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::finding::{Findings, quoted};
use crate::cli::place::Place;
use crate::config::{Config, Store, shown_duration};
use crate::root::RootConfig;
use crate::server::listener::{ListenError, secure_directories};
use crate::server::status_file::ServerStatus;

/// How long loopback may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn look(place: &Place, config: &Config, server: Option<&ServerStatus>, findings: &mut Findings) {
    if !config.development {
        file(place.config_path(), findings);
    }
    for root in &config.ring.roots {
        check_root(root, config, findings);
    }
    directories(config, findings);
    socket(config, findings);
    telemetry(config, server, findings);
    period(config.rotation.period, findings);
    if let Store::Etcd(etcd) = &config.ring.store {
        for path in etcd.files() {
            secret("configuration/etcd-file", path, 0o002, findings);
        }
        if let Some(tls) = etcd.tls.as_ref().filter(|tls| !tls.key.as_os_str().is_empty()) {
            secret("configuration/etcd-key", &tls.key, 0o007, findings);
        }
    }
}

/// Who can write the configuration chooses the root and the store.
fn file(path: &Path, findings: &mut Findings) {
    let (id, shown) = ("configuration/file-mode", path.display());
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(why) => {
            return findings.skipped(id, shown, format!("cannot look at it: {why}"), "run it as root");
        }
    };
    let mode = about.mode() & 0o7777;
    match mode & 0o022 {
        0 => findings.ok(id, shown, format!("mode {mode:04o}")),
        _ => findings.failure(
            id,
            shown.to_string(),
            format!("mode {mode:04o}: others than its owner can write it, and choose another root or socket"),
            format!("`chmod go-w {}`", quoted(path)),
        ),
    }
}

fn check_root(root: &RootConfig, config: &Config, findings: &mut Findings) {
    let path = match root {
        RootConfig::File(root) | RootConfig::Passphrase(root) => &root.path,
        RootConfig::Credential(root) if root.encrypted_file.as_os_str().is_empty() => {
            return findings.ok(
                "configuration/root-file",
                format!("credential {}", root.name),
                "systemd has it, for the unit alone",
            );
        }
        // It is sealed: reading it is no harm.
        RootConfig::Credential(root) => {
            return secret("configuration/root-file", &root.encrypted_file, 0o022, findings);
        }
    };
    secret("configuration/root-file", path, 0o077, findings);
    let id = "configuration/root-beside-ring";
    let below = |dir: &Path| !dir.as_os_str().is_empty() && path.starts_with(dir);
    match below(config.ring.store.local()) || below(&config.ring.mirror) {
        true => findings.warning(
            id,
            path.display(),
            "it lies in the ring's own directory or mirror: who copies that has both",
            "move it to another directory, and name that in ring.roots",
        ),
        false => findings.ok(id, path.display(), "it lies apart from the ring"),
    }
}

/// A regular file that is there, and grants none of the rights in `forbidden`.
fn secret(id: &'static str, path: &Path, forbidden: u32, findings: &mut Findings) {
    let shown = path.display();
    let about = match fs::metadata(path) {
        Ok(about) if about.is_file() => about,
        Ok(_) => {
            return findings.failure(
                id,
                shown,
                "it is not a regular file",
                "put the file back, or mend its path in the configuration",
            );
        }
        Err(why) => return absent(id, path, &why, findings),
    };
    let mode = about.mode() & 0o7777;
    if mode & forbidden == 0 {
        return findings.ok(id, shown, format!("mode {mode:04o}"));
    }
    findings.failure(
        id,
        shown.to_string(),
        format!("mode {mode:04o}: others than its owner can use it"),
        format!("`chmod 0600 {}`", quoted(path)),
    );
}

fn absent(id: &'static str, path: &Path, why: &std::io::Error, findings: &mut Findings) {
    let shown = path.display();
    match why.kind() {
        ErrorKind::PermissionDenied => {
            findings.skipped(id, shown, format!("cannot look at it: {why}"), "run it as root");
        }
        _ => findings.failure(
            id,
            shown,
            format!("cannot use it: {why}"),
            "put it back, mount its disk, or mend its path in the configuration",
        ),
    }
}

fn directories(config: &Config, findings: &mut Findings) {
    let ring = directory(config.ring.store.local(), findings);
    let mirror = &config.ring.mirror;
    let id = "configuration/mirror";
    if mirror.as_os_str().is_empty() {
        return match config.ring.store {
            Store::Etcd(_) => findings.ok(id, "ring.mirror", "none; etcd and the other nodes have the ring too"),
            Store::File { .. } if config.development => findings.ok(id, "ring.mirror", "none, for a throw-away ring"),
            Store::File { .. } => findings.warning(
                id,
                "ring.mirror",
                "there is none: the ring and its mark lie on one disk",
                "set ring.mirror to a directory on another disk; `kekring backup FILE` onto another machine in any case",
            ),
        };
    }
    let (Some(ring), Some(mirrored)) = (ring, directory(mirror, findings)) else {
        return;
    };
    match ring.dev() == mirrored.dev() {
        true => findings.warning(
            id,
            mirror.display(),
            "it lies on the same file system as the ring: both are lost together",
            "set ring.mirror to a directory on another disk",
        ),
        false => findings.ok(
            id,
            mirror.display(),
            "it lies on another file system than the ring",
        ),
    }
}

/// A directory of a ring, which is its owner's alone.
fn directory(path: &Path, findings: &mut Findings) -> Option<Metadata> {
    let (id, shown) = ("configuration/directory", path.display());
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(why) => {
            absent(id, path, &why, findings);
            return None;
        }
    };
    let (mode, me) = (about.mode() & 0o7777, rustix::process::geteuid());
    if !about.is_dir() {
        findings.failure(
            id,
            shown,
            "it is not a directory",
            "name a directory in the configuration",
        );
    } else if mode & 0o077 != 0 {
        findings.failure(
            id,
            shown.to_string(),
            format!("mode {mode:04o}: others than its owner can use it"),
            format!("`chmod 0700 {}`", quoted(path)),
        );
    } else if about.uid() != me.as_raw() && !me.is_root() {
        findings.skipped(
            id,
            shown,
            format!(
                "it belongs to uid {}, and this is uid {}",
                about.uid(),
                me.as_raw()
            ),
            "run it as root",
        );
    } else {
        findings.ok(id, shown, format!("mode {mode:04o}, uid {}", about.uid()));
    }
    Some(about)
}

/// Who can put a socket there is given the seeds.
fn socket(config: &Config, findings: &mut Findings) {
    let (id, path) = ("configuration/socket-directory", &config.socket.path);
    let dir = path.parent().unwrap_or(Path::new("/"));
    if matches!(dir.try_exists(), Ok(false)) {
        return findings.ok(id, dir.display(), "it is not there yet; `kekring serve` makes it");
    }
    // A server runs as the owner of its ring.
    let owner = fs::metadata(config.ring.store.local()).map(|about| about.uid());
    let owner = owner.unwrap_or_else(|_| rustix::process::geteuid().as_raw());
    match secure_directories(path, owner) {
        Ok(()) => findings.ok(id, dir.display(), "nobody else can put a socket there"),
        Err(ListenError::Io { why, .. }) if why.kind() == ErrorKind::PermissionDenied => {
            findings.skipped(
                id,
                dir.display(),
                format!("cannot look at it: {why}"),
                "run it as root",
            );
        }
        Err(why) => findings.failure(id, dir.display(), why.to_string(), why.hint()),
    }
}

fn telemetry(config: &Config, server: Option<&ServerStatus>, findings: &mut Findings) {
    let id = "configuration/telemetry";
    let Ok(Some(address)) = config.telemetry.address() else {
        return findings.ok(id, "telemetry.listen", "it is empty: nothing listens");
    };
    let listens = server.map(|it| it.telemetry.as_str()).filter(|it| !it.is_empty());
    match listens {
        Some(there) => findings.ok(id, "telemetry.listen", format!("the server listens at {there}")),
        None if taken(&address) => findings.warning(
            id,
            "telemetry.listen",
            format!("another program listens at {address}"),
            "stop it, or set another telemetry.listen, or \"\" for none; serving does not need it",
        ),
        None => findings.ok(
            id,
            "telemetry.listen",
            format!("nobody else listens at {address}"),
        ),
    }
}

fn taken(address: &SocketAddr) -> bool {
    address.port() != 0 && TcpStream::connect_timeout(address, PATIENCE).is_ok()
}

fn period(period: Duration, findings: &mut Findings) {
    const HOUR: u64 = 3600;
    let (id, shown) = ("configuration/rotation-period", shown_duration(period));
    let what = match period.as_secs() {
        0..HOUR => "under an hour is for tests: every key is kept for ever",
        seconds if seconds > 400 * 24 * HOUR => "a key is in use for over a year",
        _ => return findings.ok(id, "rotation.period", shown),
    };
    findings.warning(
        id,
        "rotation.period",
        format!("{shown}: {what}"),
        "set 30d, the default",
    );
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_period_of_minutes_or_of_years_is_worth_a_word() {
        let level = |seconds| {
            let mut findings = Findings::default();
            period(Duration::from_secs(seconds), &mut findings);
            findings.levels().pop().map(|(_, level)| level)
        };

        assert_eq!(level(60), Some(Level::Warning));
        assert_eq!(level(30 * 86_400), Some(Level::Ok));
        assert_eq!(level(500 * 86_400), Some(Level::Warning));
    }
}
