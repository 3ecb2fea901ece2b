//! `kekring store move`: a ring in files becomes one on etcd, and back, with proof that both open the same keys.
//!
//! *Why may a move break off anywhere?* The ring in the directory is changed first, and by that change it belongs to the nodes
//! on etcd: a server that still has it in files serves it and rotates it no more. Only then etcd gets it. On the way back it is
//! taken out of etcd first: the copy has all of it, and belongs to this machine again once that is done.

use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::failure::Failure;
use super::keys::name;
use super::output::Output;
use super::place::{Place, member, own_custody};
use crate::config::Config;
use crate::custody::{CommitError, Custody, Derivations, Opened, test_keys};
use crate::etcd::WITHIN;
use crate::keyring::members;
use crate::member::Member;
use crate::server::status_file;
use crate::store::{EtcdStore, RingStore};
use crate::telemetry::now;

#[derive(Subcommand)]
pub(super) enum StoreVerb {
    /// Move the ring of one node to etcd, for several; or back
    Move(Move),
}

/// The configuration is the one that names etcd, and its localCopy is the directory of the ring in files: that becomes this
/// node's copy, or stops being one. A server that runs goes on serving meanwhile; afterwards restart it with the configuration
/// that fits. A move that broke off is finished by the same command.
#[derive(Args)]
pub(super) struct Move {
    /// Where to
    #[arg(long)]
    to: Target,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Target {
    /// From this node's directory to etcd, where other nodes can join
    Etcd,
    /// From etcd to this node's directory, when it is the last node
    File,
}

/// What was done.
#[derive(Serialize)]
struct Moved {
    ring: String,
    generation: u64,
    active: String,
    keys: usize,
    from: String,
    to: String,
    next: &'static str,
    /// What is still in etcd: nothing here is proven to have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stays: Vec<String>,
}

impl StoreVerb {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let Self::Move(movement) = self;
        let config = place.config()?;
        let Some(member) = member(&config)? else {
            return Err(Failure::usage(
                "cannot move the ring: the configuration names no etcd",
                "write the configuration with ring.store.etcd, its localCopy the directory of the ring, and give it by --config",
            ));
        };
        let etcd = Arc::clone(member.store());
        let done = match movement.to {
            Target::Etcd => to_etcd(&config, &etcd, member)?,
            Target::File => to_file(&config, &etcd, &member)?,
        };
        movement.output.print(&done, text);
        Ok(())
    }
}

fn to_etcd(config: &Config, etcd: &EtcdStore, mut member: Member) -> Result<Moved, Failure> {
    let (files, shared) = custodies(config)?;
    let there = etcd.traces()?;
    let mut opened = shared.open(None, now())?;
    let registered = members::registered(&opened.ring.members).next().is_some();
    let broke_off = registered && is_there(etcd, &opened)?;
    if !there.is_empty() && !broke_off {
        return Err(Failure::refused(
            format!(
                "cannot move the ring to etcd: there is {} already",
                there.join(", ")
            ),
            "use a prefix of its own; where a second node has joined already, start `kekring serve` there instead",
        ));
    }
    if !registered {
        // As its own machine has it: frozen rings, and those of another machine, are not moved.
        let here = files.open(None, now())?;
        let instance = member.begin(&shared)?;
        let mut next =
            members::register(&here.ring, member.name(), instance).map_err(CommitError::Refused)?;
        next.machine = None;
        opened = files.commit(&files.store_join(here, now())?, next, now())?;
    }
    if there.is_empty() {
        etcd.begin(opened.ring.id.0, &opened.head.name, &opened.head.bytes)?;
    }
    prove(etcd, &shared, &opened)?;
    Ok(moved(
        &opened,
        files.store.describe(),
        etcd.describe(),
        "restart `kekring serve` here with this configuration; then the other nodes: root, certificate, configuration, `kekring serve`, and only then kube-apiserver",
    ))
}

fn to_file(config: &Config, etcd: &EtcdStore, member: &Member) -> Result<Moved, Failure> {
    // It would bring the ring back to etcd.
    if status_file::read(&status_file::path(&config.socket.path)).is_some_and(|it| it.is_running(now())) {
        return Err(Failure::refused(
            "cannot move the ring to files while a server keeps it on etcd",
            "stop `kekring serve` here, and try again 10 s later",
        ));
    }
    let (_, shared) = custodies(config)?;
    let (mut opened, mut stays) = (shared.open(None, now())?, Vec::new());
    let others: Vec<String> = members::registered(&opened.ring.members)
        .filter(|it| it.name != *member.name())
        .map(|it| it.name.to_string())
        .collect();
    if !others.is_empty() {
        return Err(Failure::refused(
            format!("cannot move the ring to files: {} keep it too", others.join(", ")),
            "one node alone can have it in files: stop the others and `kekring node remove` each",
        ));
    }
    let there = etcd.read(WITHIN)?;
    let other = there
        .newest
        .as_ref()
        .is_some_and(|it| it.bytes != opened.head.bytes);
    let left = there.head;
    if other || left.as_ref().is_some_and(|head| *head != opened.head.name) {
        return Err(Failure::refused(
            "cannot move the ring to files: this node's copy is not up to date",
            "run `kekring serve` here until `kekring status` shows the same generation, and try again",
        ));
    }
    if members::registered(&opened.ring.members).next().is_some() {
        let mut next = members::remove(&opened.ring, member.name()).map_err(CommitError::Refused)?;
        next.machine = shared.machine_tag(next.id);
        if next.machine.is_none() {
            return Err(CommitError::NoMachineId.into());
        }
        // Whoever joined meanwhile has moved the head, and nothing is done.
        if left.is_some() {
            stays = member.take_away(&opened)?;
        }
        opened = shared.commit(&opened, next, now())?;
    }
    let done = moved(
        &opened,
        etcd.describe(),
        shared.store.describe(),
        "restart `kekring serve` with ring.store.file and this directory",
    );
    Ok(Moved { stays, ..done })
}

/// The ring in this node's directory: as one node has it, and as one of several.
fn custodies(config: &Config) -> Result<(Custody, Custody), Failure> {
    let files = Custody {
        calls: Arc::default(),
        shared: false,
        ..own_custody(config)?
    };
    Ok((files, own_custody(config)?))
}

fn is_there(etcd: &EtcdStore, opened: &Opened) -> Result<bool, Failure> {
    etcd.is_ring(opened.ring.id.0);
    let there = etcd.read(WITHIN)?;
    let found = etcd.generations(&there, std::slice::from_ref(&opened.head.name), WITHIN)?;
    Ok(found.iter().any(|it| it.bytes == opened.head.bytes))
}

/// What a quorum gives back opens by a root, and every key of one opens what the other sealed.
fn prove(etcd: &EtcdStore, custody: &Custody, here: &Opened) -> Result<(), Failure> {
    let there = etcd.read(WITHIN)?;
    let failed = |why: String| {
        Failure::failed(
            format!("the ring is on etcd, and is not proven there: {why}"),
            "run the command again; nothing was deleted here",
        )
    };
    let (name, bytes) = there
        .head_bytes()?
        .ok_or_else(|| failed("it is gone again".into()))?;
    let version = custody.open_one("etcd", name, bytes, &[], &mut Derivations::of_an_opening())?;
    let same = |it: &crate::keyring::ring::Key| version.ring.key(&it.id).is_some();
    if !here.ring.keys.iter().all(same) {
        return Err(failed("it lacks a key".into()));
    }
    test_keys(&here.ring, &version.ring).map_err(failed)
}

fn moved(opened: &Opened, from: String, to: String, next: &'static str) -> Moved {
    Moved {
        ring: opened.ring.id.to_string(),
        generation: opened.ring.generation,
        active: name(opened.ring.active()),
        keys: opened.ring.keys.len(),
        from,
        to,
        next,
        stays: Vec::new(),
    }
}

fn text(it: &Moved) -> String {
    let mut text = format!(
        "moved ring {} from {} to {}: generation {}, {} keys, each opened from both\nactive key  {}\n",
        it.ring, it.from, it.to, it.generation, it.keys, it.active
    );
    for key in &it.stays {
        text += &format!("kept in etcd, since the ring is not proven to have it: {key}\n");
    }
    text + &format!("\nNext: {}.", it.next)
}
