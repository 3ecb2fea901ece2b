//! `kekring status`: the ring as it is stored, the server as it says of itself, and what needs attention.

mod text;

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::node::rows;
use super::output::{Form, Output};
use super::place::{Place, own_custody};
use super::room;
use super::rotate::clocks;
use super::together::Together;
use super::watch::{Look, watch};
use crate::config::{Config, duration};
use crate::custody::{Custody, OpenError, Opened, Room};
use crate::keyring::ring::Ring;
use crate::keyring::schedule::{self, Due};
use crate::member::Standing;
use crate::server::status_file::{self, ServerStatus};
use crate::store::Stamp;
use crate::telemetry::now;
use text::text;

/// Rotation gives new data a new key. It does not rewrite old data: that stays under the key it was written with.
#[derive(Args)]
pub(super) struct Status {
    /// Again and again, until Ctrl-C: repainted at a terminal, elsewhere printed when something changed
    #[arg(long)]
    watch: bool,
    /// How often --watch looks
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s", requires = "watch")]
    interval: Duration,
    #[command(flatten)]
    output: Output,
}

/// What is said where nobody serves, before the socket's path.
const NOT_RUNNING: &str = "no server is running at";

/// What `status -o json` prints.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    ring: String,
    generation: u64,
    active: String,
    active_age_seconds: u64,
    next: String,
    next_age_seconds: u64,
    next_rotation_seconds: Option<u64>,
    keys: usize,
    slots: Vec<String>,
    nodes: Vec<Node>,
    protections: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    name: String,
    serving: bool,
    /// The newest generation that its copy of the ring on etcd has acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<u64>,
    #[serde(flatten)]
    server: Option<ServerStatus>,
}

impl Status {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        // Of a ring on etcd, this node's copy: it can be looked at while etcd is away.
        let custody = own_custody(&config)?;
        if self.watch {
            let mut others = None;
            let mut seen = Seen::default();
            return watch(self.output.form, self.interval, || {
                let opened = seen.opened(&custody);
                let others = others.get_or_insert_with(|| Others::of(&config, opened));
                let report = report(opened, &config, others);
                Look {
                    data: serde_json::to_value(&report).unwrap_or_default(),
                    json: serde_json::to_string(&report).unwrap_or_default(),
                    text: text(&report),
                }
            });
        }
        let opened = custody.open(None, now());
        let mut report = report(&opened, &config, &mut Others::of(&config, &opened));
        if let (Err(why), Form::Text) = (&opened, self.output.form) {
            // It follows as the error.
            report.warnings.retain(|warning| *warning != why.to_string());
        }
        self.output.print(&report, text);
        opened.map(|_| ()).map_err(Failure::from)
    }
}

/// The ring as it was opened last: opening it may take a key derivation, so an unchanged store is not opened again.
#[derive(Default)]
struct Seen(Option<(Stamp, Result<Opened, OpenError>)>);

impl Seen {
    fn opened(&mut self, custody: &Custody) -> &Result<Opened, OpenError> {
        let stamp = custody.store.stamp().unwrap_or_default();
        let known = self
            .0
            .take()
            .filter(|(seen, opened)| opened.is_ok() && *seen == stamp);
        &self
            .0
            .insert(known.unwrap_or_else(|| (stamp, custody.open(None, now()))))
            .1
    }
}

fn report(opened: &Result<Opened, OpenError>, config: &Config, others: &mut Others) -> Report {
    let mut report = Report::default();
    match opened {
        Ok(opened) => ring(&mut report, opened, config),
        Err(why) => report.warnings.push(why.to_string()),
    }
    node(&mut report, config);
    others.add(&mut report);
    let all = report.warnings.clone();
    let said_by_another = |warning: &String| {
        let mut others = all.iter().filter(|other| *other != warning);
        others.any(|other| other.contains(warning.as_str()))
    };
    report.warnings.retain(|warning| !said_by_another(warning));
    report
}

fn ring(report: &mut Report, opened: &Opened, config: &Config) {
    let (stored, clocks) = (&opened.ring, clocks(opened));
    report.ring = stored.id.to_string();
    report.generation = stored.generation;
    report.keys = stored.keys.len();
    report.slots = opened
        .head
        .header
        .slots
        .iter()
        .map(|slot| slot.name.clone())
        .collect();
    report.active_age_seconds = schedule::age(stored, clocks).as_secs();
    if let Some(active) = stored.active() {
        report.active = active.id.to_string();
    }
    if let Some(next) = stored.pre_active() {
        report.next = next.id.to_string();
        report.next_age_seconds = clocks.now.since(next.created);
    }
    report.warnings.extend(opened.warnings.iter().cloned());
    report
        .warnings
        .extend(opened.refusing.as_ref().map(ToString::to_string));
    report.next_rotation_seconds = match schedule::due(stored, clocks, config.rotation.period) {
        _ if opened.frozen.is_some() || stored.pre_active().is_some_and(|next| next.suspended) => None,
        Due::Operator => None,
        Due::Now | Due::Finish => Some(0),
        Due::In(wait) => Some(wait.as_secs()),
    };
    if let Some(reason) = &opened.frozen {
        report
            .warnings
            .push(format!("the ring is frozen, it does not rotate: {reason}"));
    }
    report.warnings.extend(suspended(stored));
    let full = room::warning(&Room::of(opened), clocks.now, config.rotation.period);
    report.warnings.extend(full.map(|why| {
        format!("{why}; hint: set a longer rotation.period, and see by `kekring keys list` who rotates")
    }));
    if report.slots.len() == 1 {
        report
            .warnings
            .push("there is one root slot only: when that root is lost, so is every Secret".into());
    }
    if stored.development {
        report
            .warnings
            .push("this is a development ring: root and ring lie side by side".into());
    }
}

/// Keys that an operator has taken out of use, and what that stops.
fn suspended(ring: &Ring) -> Vec<String> {
    let next = ring.pre_active().map(|next| &next.id);
    let keys = ring.keys.iter().filter(|key| key.suspended);
    keys.map(|key| match next == Some(&key.id) {
        true => format!("the next key {} is suspended: the ring does not rotate", key.id),
        false => format!("key {} is suspended: what it encrypted cannot be read", key.id),
    })
    .collect()
}

fn node(report: &mut Report, config: &Config) {
    let server = status_file::read(&status_file::path(&config.socket.path));
    let serving = server.as_ref().is_some_and(|server| server.is_running(now()));
    match &server {
        Some(server) if serving => {
            report.protections.clone_from(&server.protections);
            for problem in &server.problems {
                // The server adds a hint to what this verb may have found itself.
                if !report
                    .warnings
                    .iter()
                    .any(|known| problem.starts_with(known.as_str()))
                {
                    report.warnings.push(problem.clone());
                }
            }
            for warning in &server.warnings {
                if !report.warnings.contains(warning) {
                    report.warnings.push(warning.clone());
                }
            }
            if report.generation > server.generation {
                report.warnings.push(format!(
                    "the server uses generation {}, the store is at {}",
                    server.generation, report.generation
                ));
            }
        }
        _ => report
            .warnings
            .push(format!("{NOT_RUNNING} {}", config.socket.path.display())),
    }
    report.nodes.push(Node {
        name: config.node_name(),
        serving,
        acknowledged: None,
        server,
    });
}

/// The other nodes, where several keep the ring.
struct Others(Option<Result<Together, Failure>>);

impl Others {
    fn of(config: &Config, opened: &Result<Opened, OpenError>) -> Self {
        let held = opened.as_ref().ok().map(|it| &it.ring_key);
        Self(Together::of(config, held).transpose())
    }

    /// What etcd tells of them. It may be away: then that is said, and the rest is shown all the same.
    fn add(&mut self, report: &mut Report) {
        let rows = match &mut self.0 {
            None => return,
            Some(Ok(together)) => rows(together),
            // The copy does not open, which is said already.
            Some(Err(_)) => return,
        };
        let (Standing { generation, .. }, rows) = match rows {
            Ok(found) => found,
            Err(why) => {
                return report
                    .warnings
                    .push(format!("the other nodes are not shown: {}", why.message()));
            }
        };
        if generation > report.generation {
            report.warnings.push(format!(
                "this node's copy is at generation {}, the ring on etcd at {generation}",
                report.generation
            ));
        }
        let own = report.nodes.first().map(|it| it.name.to_ascii_lowercase());
        for row in rows {
            if Some(&row.name) == own.as_ref() {
                report
                    .nodes
                    .iter_mut()
                    .for_each(|it| it.acknowledged = row.acknowledged);
                continue;
            }
            if row.forged {
                report.warnings.push(format!(
                    "a record in etcd says that node {0} lives, and no server keeps it: it has no lease; `kekring node remove --dead {0}` when it is gone for good",
                    row.name
                ));
            }
            if !row.alive {
                report.warnings.push(format!(
                    "node {} is silent: rotations wait for it; `kekring node remove` when it is gone for good",
                    row.name
                ));
            }
            report.nodes.push(Node {
                name: row.name,
                serving: row.alive,
                acknowledged: row.acknowledged,
                server: row.server,
            });
        }
        let own = report.nodes.iter_mut().take(1);
        if own.into_iter().all(|it| it.acknowledged.is_none()) {
            report
                .warnings
                .push("this node has not acknowledged the ring on etcd".into());
        }
    }
}
