//! `kekring serve`: runs the plugin. `--dev DIR` makes what is missing in an absent or empty DIR first.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use super::encryption::encrypting;
use super::failure::Failure;
use super::init::{create, make_missing_root_files};
use super::output::line;
use super::place::{Place, file_store, member, own_custody};
use crate::config::{Config, EtcdStore, Hardening, Store};
use crate::crypto::guarded;
use crate::root::{RootConfig, end_programs};
use crate::server::confine::Confinement;
use crate::server::listener::{self, SocketSpec};
use crate::server::namespace::Namespace;
use crate::server::notify;
use crate::server::peer::Admission;
use crate::server::protect::{self, Protection};
use crate::server::{Server, serve};
use crate::telemetry::{self, Metrics};

pub(super) fn run(place: &Place) -> Result<(), Failure> {
    let config = place.config()?;
    let dev = place.development()?;
    if let Some(dir) = &dev {
        make_development_ring(dir, &config)?;
    }
    let socket = SocketSpec {
        path: config.socket.path.clone(),
        mode: config.socket.mode.0,
        group: group(&config.socket.group)?,
    };
    let next_steps = match &dev {
        Some(dir) => Some(next_steps(dir, &config)?),
        None => None,
    };
    let custody = own_custody(&config)?;
    let mut member = member(&config)?;
    if member.is_some() {
        // A rule of the confinement stands on what exists.
        file_store(&config).create_directories()?;
    }
    if let Some(member) = &mut member {
        // It fails on a disk that is full or read-only; what follows says so.
        let _ = member.begin(&custody);
    }
    let address = config
        .telemetry
        .address()
        .map_err(|why| Failure::usage(why, "mend telemetry.listen"))?;
    // /proc is out of reach afterwards.
    let namespace = Namespace::own();
    let protections = protected(&config, &socket, address.map(|it| it.port()))?;
    let log = telemetry::start(&config.telemetry.log);
    let (users, groups) = (config.socket.allow_users.as_deref(), &config.socket.allow_groups);
    let admission = Admission::new(users, groups, namespace);
    admission.warnings().iter().for_each(|it| tracing::warn!("{it}"));
    let server = Server {
        custody,
        member,
        admission,
        socket,
        period: config.rotation.period,
        node: config.node_name(),
        telemetry: address,
        metrics: Arc::new(Metrics::new(Some(log.dropped.clone()))),
        protections,
    };
    let result = serve(server, |_| {
        if let Some(text) = &next_steps {
            line(text);
        }
    });
    // A root that is still at work is not asked any more.
    end_programs();
    // Writes what is still queued.
    drop(log);
    Ok(result?)
}

/// Gives up what a server does not need. No thread runs yet: each would have to do it by itself.
fn protected(config: &Config, socket: &SocketSpec, port: Option<u16>) -> Result<Vec<Protection>, Failure> {
    // A rule stands on what exists.
    let _ = listener::make_directory(socket);
    let protections = protect::apply(&confinement(config, &socket.path, port), guarded::in_force());
    let missing: Vec<_> = protections
        .iter()
        .filter(|it| !it.is_in_force())
        .map(ToString::to_string)
        .collect();
    if config.hardening == Hardening::Try || missing.is_empty() {
        return Ok(protections);
    }
    Err(Failure::refused(
        format!("cannot serve under hardening: require: {}", missing.join("; ")),
        "let the kernel, the unit or the container grant it, or set hardening: try",
    ))
}

/// What this configuration's server reaches while it runs.
fn confinement(config: &Config, socket: &Path, port: Option<u16>) -> Confinement {
    let dir = config.ring.store.local();
    let mut confinement = Confinement {
        stores: vec![dir.to_owned()],
        socket: socket.parent().unwrap_or(socket).to_owned(),
        port,
        abstract_sockets: notify::abstract_socket().is_some(),
        ..Confinement::default()
    };
    if !config.ring.mirror.as_os_str().is_empty() {
        confinement.stores.push(config.ring.mirror.clone());
    }
    for root in &config.ring.roots {
        match root {
            RootConfig::File(file) | RootConfig::Passphrase(file) => read_again(&mut confinement, &file.path),
            RootConfig::Credential(credential) => match credential.in_unit() {
                Some(path) => confinement.files.push(path),
                None => confinement.runs_programs = true,
            },
        }
    }
    if let Store::Etcd(etcd) = &config.ring.store {
        reach_etcd(&mut confinement, etcd);
    }
    confinement
}

fn reach_etcd(confinement: &mut Confinement, etcd: &EtcdStore) {
    for file in etcd.files() {
        read_again(confinement, file);
    }
    // A checked configuration has endpoints that can be used.
    for endpoint in etcd.client().iter().flat_map(|client| &client.endpoints) {
        confinement.peers.push(endpoint.port());
        confinement.looks_up_names |= endpoint.is_named();
    }
}

/// Where it is a link, what it leads to is read.
fn read_again(confinement: &mut Confinement, file: &Path) {
    confinement.files.extend(fs::canonicalize(file));
    confinement.files.push(file.to_owned());
}

/// Creates only in an absent or empty directory; an unfinished one is named, never mended by guessing.
fn make_development_ring(dir: &Path, config: &Config) -> Result<(), Failure> {
    let failed = |why: std::io::Error| {
        Failure::failed(
            format!("cannot use --dev {}: {why}", dir.display()),
            "name another directory",
        )
    };
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(why) if why.kind() != ErrorKind::AlreadyExists => return Err(failed(why)),
        _ => {}
    }
    if fs::read_dir(dir).map_err(failed)?.next().is_none() {
        make_missing_root_files(config)?;
        create(config, &[], &own_custody(config)?)?;
        return Ok(());
    }
    if dir.join("ring").is_dir() {
        return Ok(());
    }
    Err(Failure::refused(
        format!(
            "cannot use --dev {}: it is not empty and holds no ring",
            dir.display()
        ),
        "name a directory that does not exist yet; it will be made",
    ))
}

fn next_steps(dir: &Path, config: &Config) -> Result<String, Failure> {
    let shown = dir.display();
    let socket = &config.socket.path;
    Ok(format!(
        "development ring: throw-away, its root key lies beside it in {shown}\n\
         listening on {socket}\n\n\
         # EncryptionConfiguration for kube-apiserver 1.32 or newer: save it and pass it by\n\
         # --encryption-provider-config=FILE --encryption-provider-config-automatic-reload=true\n\
         {}\n\
         # Next:\n\
         #   kekring probe --round-trip --dev {shown}\n\
         #   kekring status --dev {shown}\n\
         #   kekring rotate --dev {shown}",
        encrypting(socket)?,
        socket = socket.display(),
    ))
}

/// The group's number, by name from /etc/group or as a number.
fn group(name: &str) -> Result<Option<u32>, Failure> {
    if name.is_empty() {
        return Ok(None);
    }
    if let Ok(number) = name.parse() {
        return Ok(Some(number));
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    groups
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))
        .and_then(|fields| fields.get(2)?.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            Failure::usage(
                format!("cannot use socket.group {name:?}: there is no such group"),
                "create the group, or leave socket.group empty",
            )
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    /// What a server with this store reaches.
    fn reached(dir: &Path, store: &str) -> Confinement {
        let text = format!(
            "{{apiVersion: kekring/v1alpha1, kind: Configuration, node: {{name: cp-1}}, \
             ring: {{store: {store}, roots: [{{file: {{path: /roots/root.key}}}}]}}}}"
        );
        fs::write(dir.join("config.yaml"), text).unwrap();
        let config = Config::load(&dir.join("config.yaml")).unwrap();
        confinement(&config, &config.socket.path, Some(9476))
    }

    #[test]
    fn a_server_of_a_directory_connects_nowhere() {
        let dir = tempfile::tempdir().unwrap();

        let reached = reached(dir.path(), "{file: {dir: /ring}}");

        assert!(reached.peers.is_empty() && !reached.looks_up_names);
        assert_eq!(reached.files, [Path::new("/roots/root.key")]);
        assert_eq!(reached.stores, [Path::new("/ring")]);
    }

    #[test]
    fn a_server_on_etcd_reaches_its_ports_and_reads_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().canonicalize().unwrap().join(name);
        fs::write(at("renewed.pem"), "").unwrap();
        symlink("renewed.pem", at("node.pem")).unwrap();
        let tls = format!(
            "tls: {{ca: /pki/ca.pem, cert: {}, key: /pki/node.key}}",
            at("node.pem").display()
        );
        let user = "user: {name: kekring, passwordFile: /secrets/password}";
        let on = |endpoints: &str| {
            let store = format!("{{etcd: {{endpoints: [{endpoints}], {tls}, {user}, localCopy: /copy}}}}");
            reached(dir.path(), &store)
        };

        let by_address = on("https://10.0.0.1, \"https://[::1]:4001\"");
        let by_name = on("https://10.0.0.1, https://etcd.example:4001");

        let files = ["/roots/root.key", "/pki/ca.pem"].map(PathBuf::from);
        let ours = [at("renewed.pem"), at("node.pem")];
        let theirs = ["/pki/node.key", "/secrets/password"].map(PathBuf::from);
        assert_eq!(by_address.files, [&files[..], &ours[..], &theirs[..]].concat());
        assert_eq!(by_address.stores, [Path::new("/copy")]);
        assert_eq!(
            (by_address.peers, by_address.looks_up_names),
            (vec![2379, 4001], false)
        );
        assert_eq!((by_name.peers, by_name.looks_up_names), (vec![2379, 4001], true));
    }
}
