//! `kekring keys`: the keys of the ring. Their names are public.

use clap::Subcommand;
use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, table};
use super::place::{Place, custody};
use crate::keyring::ring::{Key, Ring};
use crate::telemetry::{now, shown_time};

#[derive(Subcommand)]
pub(super) enum Keys {
    /// List every key, oldest first
    List(Output),
}

/// What `keys list -o json` prints.
#[derive(Serialize)]
struct Listing {
    keys: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    sequence: u64,
    state: &'static str,
    /// As kube-apiserver's metrics show the key.
    hash: String,
    created: Option<String>,
    activated: Option<String>,
    deactivated: Option<String>,
    destroyed: Option<String>,
}

impl Keys {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let Self::List(output) = self;
        let opened = custody(&place.config()?)?.open(None, now())?;
        output.print(&listing(&opened.ring), |listing| {
            let rows: Vec<_> = listing.keys.iter().map(text).collect();
            table(&["KEY ID", "STATE", "CREATED", "ACTIVATED", "DEACTIVATED"], &rows)
        });
        Ok(())
    }
}

fn listing(ring: &Ring) -> Listing {
    let destroyed = ring.tombstones.iter().map(|tomb| Row {
        id: tomb.id.to_string(),
        sequence: tomb.id.sequence(),
        state: "destroyed",
        hash: tomb.id.hashed(),
        created: None,
        activated: None,
        deactivated: None,
        destroyed: Some(shown_time(tomb.destroyed)),
    });
    let mut keys: Vec<Row> = ring.keys.iter().map(row).chain(destroyed).collect();
    keys.sort_by_key(|row| row.sequence);
    Listing { keys }
}

fn row(key: &Key) -> Row {
    Row {
        id: key.id.to_string(),
        sequence: key.id.sequence(),
        state: key.state_name(),
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
        row.state.to_owned(),
        time(&row.created),
        time(&row.activated),
        time(&row.deactivated),
    ]
}
