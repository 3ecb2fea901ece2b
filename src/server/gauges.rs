//! The gauges of a scrape: what the server knows of itself and of its ring at this moment.

use super::places::Places;
use super::protect::Protection;
use crate::keyring::live::Live;
use crate::keyring::ring::UnixTime;
use crate::reload::{Health, RingHealth, SeveralHealth};
use crate::telemetry::Gauges;

/// What the gauges are read from.
pub(super) struct Sources<'a> {
    pub(super) health: &'a Health,
    pub(super) live: &'a Live,
    pub(super) places: &'a Places,
    pub(super) protections: &'a [Protection],
    pub(super) started: UnixTime,
}

pub(super) fn collect(sources: &Sources<'_>) -> Gauges {
    let mut gauges = Gauges::default();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    gauges.info("build", "The program that runs", "version", version);
    gauges.time(
        "start_timestamp",
        "When this server started, in Unix seconds",
        sources.started,
    );
    server(&mut gauges, sources);
    if let Some(ring) = &sources.health.ring {
        keys(&mut gauges, ring);
        rotation(&mut gauges, ring);
        copies(&mut gauges, ring);
        room(&mut gauges, ring);
    }
    if let Some(several) = &sources.health.several {
        nodes(&mut gauges, several);
    }
    gauges
}

fn server(gauges: &mut Gauges, sources: &Sources<'_>) {
    let Health {
        problems, warnings, ..
    } = sources.health;
    gauges.whether(
        "ready",
        "1 when Status succeeds; 0 when it is an error, so that kube-apiserver stops writing",
        sources.live.load().status().is_ok(),
    );
    gauges.number(
        "problems",
        "What is wrong now, as `kekring status` lists it",
        problems.len(),
    );
    gauges.number(
        "warnings",
        "What should be known, as `kekring status` lists it",
        warnings.len(),
    );
    gauges.number(
        "connections",
        "Open connections to the socket",
        sources.places.open().len(),
    );
    let protections = sources.protections.iter();
    gauges.by(
        (
            "protection",
            "1 when the kernel grants it; 0 when the process goes without",
        ),
        "protection",
        protections.map(|it| (it.name, usize::from(it.is_in_force()))),
    );
}

fn keys(gauges: &mut Gauges, ring: &RingHealth) {
    let generation = usize::try_from(ring.generation).unwrap_or(usize::MAX);
    gauges.number("generation", "Generation of the ring in use", generation);
    gauges.by(
        ("keys", "Keys of the ring, by state"),
        "state",
        ring.states.iter().copied(),
    );
    gauges.info(
        "active_key",
        "The key that encrypts",
        "key_id_hash",
        ring.active.hashed(),
    );
    gauges.time(
        "active_key_created_timestamp",
        "When the active key was made, in Unix seconds",
        ring.created,
    );
    if let Some(activated) = ring.activated {
        gauges.time(
            "active_key_activated_timestamp",
            "When the active key became active, in Unix seconds",
            activated,
        );
    }
    gauges.info(
        "next_key",
        "The key that the next rotation activates",
        "key_id_hash",
        ring.next.hashed(),
    );
    gauges.time(
        "next_key_created_timestamp",
        "When the next key was made, in Unix seconds",
        ring.next_created,
    );
}

fn rotation(gauges: &mut Gauges, ring: &RingHealth) {
    if let Some(due) = ring.rotation {
        gauges.time(
            "rotation_due_timestamp",
            "When the next automatic rotation is or was due, in Unix seconds; absent where none is",
            due,
        );
    }
    gauges.whether(
        "rotation_overdue",
        "1 when the active key is older than the age at which it is replaced",
        ring.overdue,
    );
    gauges.whether(
        "rotation_waiting",
        "1 when a prepared rotation waits for an operator",
        ring.waiting,
    );
    gauges.whether(
        "ring_frozen",
        "1 when the ring serves and is not changed, as `kekring status` says",
        ring.frozen.is_some(),
    );
}

/// Only where several nodes keep the ring.
fn nodes(gauges: &mut Gauges, several: &SeveralHealth) {
    gauges.time(
        "etcd_read_timestamp",
        "When the ring on etcd was last read, in Unix seconds; 0: not since this server started",
        several.read.unwrap_or(UnixTime(0)),
    );
    gauges.number(
        "nodes_registered",
        "Nodes that keep the ring; a rotation waits for each of them",
        several.nodes.len(),
    );
    let acknowledged = several.nodes.iter().filter_map(|(name, generation)| {
        let generation = usize::try_from((*generation)?).unwrap_or(usize::MAX);
        Some((name.clone(), generation))
    });
    gauges.by(
        (
            "node_acknowledged_generation",
            "The newest generation that a node has acknowledged; absent where there is no valid word of it",
        ),
        "node",
        acknowledged,
    );
    gauges.by(
        (
            "node_waited_for",
            "1 while a rotation, or the joining of histories, waits for this node",
        ),
        "node",
        several.missing.iter().map(|(name, _)| (name.clone(), 1)),
    );
    gauges.whether(
        "histories_parted",
        "1 while the nodes' histories of the ring have parted and are not joined yet",
        several.parted,
    );
}

fn room(gauges: &mut Gauges, ring: &RingHealth) {
    gauges.ratio(
        "ring_used_ratio",
        "What the ring takes of the length that rotations may use; they end at 1",
        ring.room.ratio(),
    );
    gauges.span(
        "ring_room_left",
        "The time until rotations end at today's pace, in seconds",
        ring.room_left,
    );
}

fn copies(gauges: &mut Gauges, ring: &RingHealth) {
    gauges.number(
        "root_slots",
        "Root slots; any one of them opens the ring",
        ring.slots,
    );
    gauges.time(
        "backup_timestamp",
        "When the last backup was written, in Unix seconds; 0: never",
        ring.backup.map_or(UnixTime(0), |backup| backup.written),
    );
    gauges.number(
        "backup_missing_keys",
        "Keys of the ring that the last backup lacks; all of them without a backup",
        ring.missing_in_backup(),
    );
}
