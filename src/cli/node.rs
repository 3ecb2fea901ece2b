//! `kekring node list` and `node remove`: who keeps the ring, and that somebody is gone for good.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;
use super::together::Together;
use crate::custody::CommitError;
use crate::keyring::lifecycle::Refusal;
use crate::keyring::members::NodeName;
use crate::member::{End, Standing, Want, node_name};
use crate::server::status_file::ServerStatus;
use crate::store::Entry;

#[derive(Subcommand)]
pub(super) enum NodeVerb {
    /// Every node that keeps the ring, what it has acknowledged, and whether it lives
    List(List),
    /// Say that a node is gone for good: no rotation waits for it any more
    Remove(Remove),
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    output: Output,
}

/// A rotation waits for every registered node, however long it has been silent: it may only be cut off, and its API server
/// may still read. Removed, it is waited for no more: what is encrypted from then on it cannot read. A node that comes back
/// registers anew by itself.
#[derive(Args)]
pub(super) struct Remove {
    /// Its name, as `node list` shows it
    #[arg(value_name = "NODE", value_parser = node_name)]
    node: NodeName,
    /// It is dead, though a record in etcd says that it lives: one without a lease, which no server writes and which never
    /// ends
    #[arg(long)]
    dead: bool,
    #[command(flatten)]
    output: Output,
}

/// One node.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) name: String,
    /// Whether its server has said so within its lease.
    pub(super) alive: bool,
    /// The newest generation that it has acknowledged, verified.
    pub(super) acknowledged: Option<u64>,
    /// The program's version, where it is alive.
    pub(super) version: String,
    /// What its server says of itself.
    #[serde(skip)]
    pub(super) server: Option<ServerStatus>,
    /// A record says that it lives which no server keeps: somebody else wrote it.
    #[serde(skip)]
    pub(super) forged: bool,
}

#[derive(Serialize)]
struct Nodes {
    generation: u64,
    nodes: Vec<Row>,
}

#[derive(Serialize)]
struct Removed {
    removed: String,
    generation: u64,
}

impl NodeVerb {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        let Some(together) = Together::of(&config, None)? else {
            return Err(Failure::usage(
                "there are no nodes: the ring is in files, and one node has it for itself",
                "`kekring store move --to etcd` gives it to several",
            ));
        };
        match self {
            Self::List(list) => list.run(together),
            Self::Remove(remove) => remove.run(together),
        }
    }
}

impl List {
    fn run(&self, mut together: Together) -> Result<(), Failure> {
        let (standing, nodes) = rows(&mut together)?;
        let generation = standing.generation;
        self.output.print(&Nodes { generation, nodes }, |it| {
            let row = |row: &Row| {
                let said = row.acknowledged.map_or("-".to_owned(), |it| it.to_string());
                let alive = if row.alive { "yes" } else { "no" };
                vec![row.name.clone(), alive.to_owned(), said, row.version.clone()]
            };
            let rows: Vec<_> = it.nodes.iter().map(row).collect();
            table(&["NODE", "ALIVE", "ACKNOWLEDGED", "VERSION"], &rows)
        });
        Ok(())
    }
}

impl Remove {
    fn run(&self, mut together: Together) -> Result<(), Failure> {
        let (_, nodes) = rows(&mut together)?;
        let name = &self.node;
        let Some(row) = nodes.iter().find(|row| row.name == name.as_str()) else {
            return Err(CommitError::Refused(Refusal::UnknownNode(name.clone())).into());
        };
        self.is_gone(row)?;
        let want = Want {
            gone: vec![name.clone()],
            ..Want::nothing()
        };
        let pass = together.pass(&want)?;
        if let End::Waiting(missing) = &pass.end
            && missing.iter().any(|it| it.name == *name)
        {
            return Err(Failure::unfinished(
                format!("node {name} is not removed yet: the nodes' histories are being joined"),
                "run it again; `kekring status` says who is waited for",
            ));
        }
        let removed = Removed {
            removed: name.to_string(),
            generation: pass.standing.generation,
        };
        self.output.print(&removed, |it| {
            format!(
                "node {} is removed in generation {}; its copy of the ring and its root still open what they hold: destroy them",
                it.removed, it.generation
            )
        });
        Ok(())
    }
}

impl Remove {
    /// Nobody can prove that a node is dead. A server that lives keeps the lease of its record; who only writes to etcd can
    /// forge one, and must not keep a node registered for ever.
    fn is_gone(&self, row: &Row) -> Result<(), Failure> {
        let name = &self.node;
        if row.alive {
            return Err(Failure::refused(
                format!("cannot remove node {name}: it is alive, and would register again"),
                "stop `kekring serve` and kube-apiserver there first, and wait 30 s (`--dead` is for a record without a lease); to rotate without it for once, `kekring rotate --without`",
            ));
        }
        if row.forged && !self.dead {
            return Err(Failure::refused(
                format!(
                    "cannot remove node {name}: a record in etcd says that it lives, and no server keeps it: it has no lease"
                ),
                "somebody else wrote it; where you know that the node is gone for good, add `--dead`: your word then counts before that record",
            ));
        }
        Ok(())
    }
}

/// How the ring stands, and every registered node, by one read; nothing is changed.
pub(super) fn rows(together: &mut Together) -> Result<(Standing, Vec<Row>), Failure> {
    let (standing, live) = together.look()?;
    let row = |(name, acknowledged): &(NodeName, Option<u64>)| {
        let said = live.iter().find(|it| it.name == name.as_str());
        let alive = said.filter(|it| it.leased);
        let server = alive.and_then(account);
        Row {
            name: name.to_string(),
            alive: alive.is_some(),
            forged: said.is_some_and(|it| !it.leased),
            acknowledged: *acknowledged,
            version: server.as_ref().map(|it| it.version.clone()).unwrap_or_default(),
            server,
        }
    };
    let rows = standing.nodes.iter().map(row).collect();
    Ok((standing, rows))
}

fn account(said: &Entry) -> Option<ServerStatus> {
    serde_json::from_slice(&said.bytes).ok()
}
