//! What a configuration must keep to beyond its form; each mistake is named with its key.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::{API_VERSION, Config, KIND, MAX_SOCKET_PATH, Rotation, Store, Telemetry, shown_duration};
use crate::root::{MAX_ROOTS, RootConfig};

/// Shortest period of a ring that is meant to last: at this one it is full after a year.
const SHORTEST: Duration = Duration::from_secs(3600);

impl Config {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.api_version != API_VERSION {
            return Err(format!(
                "apiVersion is {:?}, expected {API_VERSION:?}",
                self.api_version
            ));
        }
        if self.kind != KIND {
            return Err(format!("kind is {:?}, expected {KIND:?}", self.kind));
        }
        self.check_store()?;
        self.check_roots()?;
        self.check_socket()?;
        self.telemetry.address()?;
        self.check_rotation()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if self.node.name.len() > 253 || !self.node.name.chars().all(plain) {
            return Err(
                "node.name has other than letters, digits, '-', '.' and '_', or over 253 of them".into(),
            );
        }
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let named = self.ring.id.len() == 32 && self.ring.id.chars().all(hex);
        if !self.ring.id.is_empty() && !named {
            return Err("ring.id is not 32 lower-case hexadecimal digits".into());
        }
        Ok(())
    }

    fn check_store(&self) -> Result<(), String> {
        let own = match &self.ring.store {
            Store::File { dir } => {
                absolute("ring.store.file.dir", dir)?;
                "the ring's own directory"
            }
            Store::Etcd(etcd) => {
                etcd.check()?;
                // Nodes of a ring on etcd know each other by name.
                self.member_name()?;
                "ring.store.etcd.localCopy"
            }
        };
        if self.ring.mirror.as_os_str().is_empty() {
            return Ok(());
        }
        absolute("ring.mirror", &self.ring.mirror)?;
        if self.ring.mirror == self.ring.store.local() {
            return Err(format!(
                "ring.mirror is {own}: name a directory on another disk, or none"
            ));
        }
        Ok(())
    }

    fn check_roots(&self) -> Result<(), String> {
        if self.ring.roots.is_empty() {
            return Err("ring.roots is empty: at least one root must open the ring".into());
        }
        if self.ring.roots.len() > MAX_ROOTS {
            return Err(format!(
                "ring.roots has {} entries, at most {MAX_ROOTS} are accepted: a ring has a place for each and one for the recovery code",
                self.ring.roots.len()
            ));
        }
        self.ring.roots.iter().try_for_each(check_root)
    }

    /// Every key is kept: a period of seconds fills a ring within days, and mostly it was meant to be one of days.
    fn check_rotation(&self) -> Result<(), String> {
        let Rotation { period, allow_short } = self.rotation;
        if period < Duration::from_secs(1) {
            return Err("rotation.period is under 1 s".into());
        }
        if period >= SHORTEST || allow_short || self.development {
            return Ok(());
        }
        let shown = shown_duration(period);
        let meant = match shown.trim_end_matches(char::is_alphabetic).parse::<u16>() {
            Ok(number) => format!("{number}d may be meant, and "),
            Err(_) => String::new(),
        };
        Err(format!(
            "rotation.period is {shown}, under {}: every key is kept, and the ring would soon be full; {meant}tests set rotation.allowShort: true",
            shown_duration(SHORTEST)
        ))
    }

    fn check_socket(&self) -> Result<(), String> {
        let path = &self.socket.path;
        if path.to_string_lossy().starts_with('@') {
            return Err(
                "socket.path is an abstract socket, which has no owner and no mode: use a path".into(),
            );
        }
        absolute("socket.path", path)?;
        let length = path.as_os_str().len();
        if length > MAX_SOCKET_PATH {
            return Err(format!(
                "socket.path is {length} bytes; a unix socket's path has at most {MAX_SOCKET_PATH}"
            ));
        }
        if path.file_name().is_none() || path.to_string_lossy().chars().any(char::is_control) {
            return Err("socket.path names no file, or has control characters".into());
        }
        if self.socket.allow_users.as_ref().is_some_and(Vec::is_empty) && self.socket.allow_groups.is_empty()
        {
            return Err("socket.allowUsers and allowGroups are empty: nobody could connect".into());
        }
        Ok(())
    }
}

impl Telemetry {
    /// Where the HTTP listener is to be; `None` where there is to be none.
    pub fn address(&self) -> Result<Option<SocketAddr>, String> {
        if self.listen.is_empty() {
            return Ok(None);
        }
        let expected =
            "expected a loopback address and a port, such as 127.0.0.1:9476 or [::1]:9476, or \"\" for none";
        match self.listen.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
            Ok(_) => Err(format!(
                "telemetry.listen is {:?}, which other machines could reach: {expected}",
                self.listen
            )),
            Err(_) => Err(format!("telemetry.listen is {:?}: {expected}", self.listen)),
        }
    }
}

fn check_root(root: &RootConfig) -> Result<(), String> {
    match root {
        RootConfig::File(root) | RootConfig::Passphrase(root) => absolute("the path of a root", &root.path),
        RootConfig::Credential(root) if !root.has_plain_name() => Err(format!(
            "the name of a credential is {:?}, expected 1 to 255 letters, digits, '-', '.' and '_'",
            root.name
        )),
        RootConfig::Credential(root) if root.encrypted_file.as_os_str().is_empty() => Ok(()),
        RootConfig::Credential(root) => absolute("encryptedFile of a credential", &root.encrypted_file),
    }
}

pub(super) fn absolute(what: &str, path: &Path) -> Result<(), String> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(format!(
        "{what} is {:?}, expected an absolute path",
        path.display().to_string()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telemetry_listens_on_loopback_or_not_at_all() {
        let address = |listen: &str| {
            let telemetry = Telemetry {
                listen: listen.into(),
                ..Telemetry::default()
            };
            telemetry.address()
        };

        for good in ["127.0.0.1:9476", "127.8.9.10:1", "[::1]:9476"] {
            assert_eq!(address(good), Ok(Some(good.parse().unwrap())));
        }
        assert_eq!(address(""), Ok(None));
        for reachable in [
            "0.0.0.0:9476",
            "[::]:9476",
            "10.0.0.1:9476",
            "[::ffff:127.0.0.1]:9476",
        ] {
            let why = address(reachable).unwrap_err();
            assert!(why.contains("other machines could reach"), "{why}");
        }
        for bad in [
            "localhost:9476",
            "9476",
            ":9476",
            "127.0.0.1",
            "::1:9476",
            "127.0.0.1:99999",
        ] {
            let why = address(bad).unwrap_err();
            assert!(why.contains("such as 127.0.0.1:9476"), "{why}");
        }
    }

    fn with_roots(count: usize) -> Result<Config, String> {
        let roots: Vec<String> = (0..count)
            .map(|number| format!("{{file: {{path: /etc/kekring/{number}.key}}}}"))
            .collect();
        let text = format!(
            "{{apiVersion: {API_VERSION}, kind: {KIND}, ring: {{roots: [{}]}}}}",
            roots.join(", ")
        );
        Config::parse(&text, std::iter::empty())
    }

    #[test]
    fn takes_as_many_roots_as_a_ring_has_slots_and_leaves_one_for_the_recovery_code() {
        assert_eq!(with_roots(15).unwrap().ring.roots.len(), 15);

        let refused = with_roots(16).unwrap_err();

        assert!(
            refused.contains("16 entries, at most 15 are accepted"),
            "{refused}"
        );
        assert!(with_roots(0).is_err());
    }
}
