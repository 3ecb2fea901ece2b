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
use crate::config::{Config, Hardening, Store};
use crate::crypto::guarded;
use crate::etcd::Endpoint;
use crate::root::RootConfig;
use crate::server::confine::Confinement;
use crate::server::listener::{self, SocketSpec};
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
    let protections = protected(&config, &socket, address.map(|it| it.port()))?;
    let log = telemetry::start(&config.telemetry.log);
    let server = Server {
        custody,
        member,
        admission: Admission::new(config.socket.allow_users.as_deref(), &config.socket.allow_groups),
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
        ..Confinement::default()
    };
    if let Store::Etcd(etcd) = &config.ring.store {
        let endpoints = etcd.client().map(|it| it.endpoints).unwrap_or_default();
        confinement.peers.extend(endpoints.iter().map(Endpoint::port));
        let tls = etcd.tls.iter().flat_map(|tls| [&tls.ca, &tls.cert, &tls.key]);
        let password = etcd.user.iter().map(|user| &user.password_file);
        let files = tls.chain(password).filter(|path| path.is_absolute());
        confinement.roots.extend(files.cloned());
    }
    if !config.ring.mirror.as_os_str().is_empty() {
        confinement.stores.push(config.ring.mirror.clone());
    }
    for root in &config.ring.roots {
        match root {
            RootConfig::File(file) | RootConfig::Passphrase(file) => {
                // Where it is a link, what it leads to is read.
                confinement.roots.extend(fs::canonicalize(&file.path));
                confinement.roots.push(file.path.clone());
            }
            RootConfig::Credential(credential) => match credential.in_unit() {
                Some(path) => confinement.roots.push(path),
                None => confinement.runs_programs = true,
            },
        }
    }
    confinement
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
