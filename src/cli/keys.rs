//! `kekring keys`: the keys of the ring. Their names are public.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, table};
use super::place::{Place, custody};
use super::wait::{Wait, none_waits};
use crate::custody::CommitError;
use crate::keyring::ring::{Key, Ring};
use crate::keyring::{KeyId, MalformedKeyId, lifecycle};
use crate::telemetry::{now, shown_time};

#[derive(Subcommand)]
pub(super) enum Keys {
    /// List every key, oldest first
    List(Output),
    /// Let a key neither encrypt nor decrypt until it is resumed
    Suspend(Suspend),
    /// Let a suspended key decrypt again
    Resume(Suspend),
}

/// What a suspended key encrypted cannot be read: kube-apiserver answers 500 for it, and for every list that holds it,
/// as soon as its cache forgets. That shows what still hangs on a key, before anything is destroyed.
#[derive(Args)]
pub(super) struct Suspend {
    /// The key's name in full, as `keys list` shows it
    key_id: String,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
}

/// What `keys suspend` and `keys resume` print as JSON.
#[derive(Serialize)]
struct Changed {
    id: String,
    state: &'static str,
    generation: u64,
    waiting: Vec<String>,
}

/// What `keys list -o json` prints.
#[derive(Serialize)]
struct Listing {
    keys: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    sequence: u64,
    state: &'static str,
    /// It came from a generation under a replaced ring key, and never encrypts again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    decrypt_only: bool,
    /// As kube-apiserver's metrics show the key.
    hash: String,
    created: Option<String>,
    activated: Option<String>,
    deactivated: Option<String>,
    destroyed: Option<String>,
}

impl Keys {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        match self {
            Self::List(output) => list(place, output),
            Self::Suspend(suspend) => suspend.run(place, true),
            Self::Resume(resume) => resume.run(place, false),
        }
    }
}

fn list(place: &Place, output: &Output) -> Result<(), Failure> {
    let opened = custody(&place.config()?)?.open(None, now())?;
    output.print(&listing(&opened.ring), |listing| {
        let rows: Vec<_> = listing.keys.iter().map(text).collect();
        table(&["KEY ID", "STATE", "CREATED", "ACTIVATED", "DEACTIVATED"], &rows)
    });
    Ok(())
}

impl Suspend {
    fn run(&self, place: &Place, suspended: bool) -> Result<(), Failure> {
        let id: KeyId = self.key_id.parse().map_err(|why: MalformedKeyId| {
            Failure::usage(
                format!("cannot change key {:?}: {why}", self.key_id),
                "give the whole name, as `kekring keys list` shows it",
            )
        })?;
        let config = place.config()?;
        let custody = custody(&config)?;
        let opened = custody.open(None, now())?;
        let next = lifecycle::suspend(&opened.ring, &id, suspended).map_err(CommitError::Refused)?;
        let stored = custody.commit(&opened, next, now())?;
        let changed = Changed {
            state: stored.ring.key(&id).map_or("", Key::state_name),
            generation: stored.ring.generation,
            id: id.to_string(),
            waiting: self.wait.for_server(
                &config,
                stored.ring.generation,
                Some(&stored.ring_key),
                self.output.form,
            ),
        };
        self.output.print(&changed, |it| {
            let consequence = if suspended {
                "what it encrypted cannot be read until `kekring keys resume`"
            } else {
                "it decrypts again"
            };
            format!(
                "key {} is {} from generation {}: {consequence}",
                it.id, it.state, it.generation
            )
        });
        none_waits(&config, &changed.waiting)
    }
}

fn listing(ring: &Ring) -> Listing {
    let destroyed = ring.tombstones.iter().map(|tomb| Row {
        id: tomb.id.to_string(),
        sequence: tomb.id.sequence(),
        state: "destroyed",
        decrypt_only: false,
        hash: tomb.id.hashed(),
        created: None,
        activated: None,
        deactivated: None,
        destroyed: Some(shown_time(tomb.destroyed)),
    });
    let mut keys: Vec<Row> = ring.keys.iter().map(row).chain(destroyed).collect();
    keys.sort_unstable_by_key(|row| row.sequence);
    Listing { keys }
}

fn row(key: &Key) -> Row {
    Row {
        id: key.id.to_string(),
        sequence: key.id.sequence(),
        state: key.state_name(),
        decrypt_only: key.decrypt_only,
        hash: key.id.hashed(),
        created: Some(shown_time(key.created)),
        activated: key.activated.map(shown_time),
        deactivated: key.deactivated.map(shown_time),
        destroyed: None,
    }
}

fn text(row: &Row) -> Vec<String> {
    let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        row.id.clone(),
        match row.decrypt_only {
            true => format!("{}, decrypt only", row.state),
            false => row.state.to_owned(),
        },
        time(&row.created),
        time(&row.activated),
        time(&row.deactivated),
    ]
}

/// The name of a key that a checked ring has.
pub(super) fn name(key: Option<&Key>) -> String {
    key.map(|key| key.id.to_string()).unwrap_or_default()
}
