//! `kekring restore`: a backup, in. It joins what is there and never overwrites it; `--adopt` binds the ring to this machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::backup;
use super::failure::Failure;
use super::output::{Form, Output, warned};
use super::place::{Place, custody, etcd_store, file_store};
use super::progress::Progress;
use super::recovery::OpenWith;
use super::together::Together;
use crate::config::Config;
use crate::crypto::random;
use crate::custody::{Custody, Opened};
use crate::etcd::WITHIN;
use crate::keyring::join::covers;
use crate::keyring::{KeyId, NotServing};
use crate::member::Want;
use crate::store::{Backup, EtcdStore, StoreError};
use crate::telemetry::{now, plain};

/// How long a restore waits for the other nodes; they go on without it.
const MEETING: Duration = Duration::from_secs(30);

/// On a fresh machine the backup becomes the ring. Where a ring is, the two are joined: every key of both, and nothing is
/// overwritten. A ring of another machine serves and does not rotate, until `--adopt` binds it to this one; the other
/// machine must not serve it any more.
#[derive(Args)]
pub(super) struct Restore {
    /// The backup; with `--adopt` it may be left away
    #[arg(required_unless_present = "adopt")]
    file: Option<PathBuf>,
    /// Bind the ring to this machine: it rotates here from now on
    #[arg(long)]
    adopt: bool,
    #[command(flatten)]
    open_with: OpenWith,
    #[command(flatten)]
    output: Output,
}

/// What was done.
#[derive(Serialize)]
struct Restored {
    ring: String,
    generation: u64,
    /// Keys that were not here before.
    gained: Vec<String>,
    keys: usize,
    adopted: bool,
    warnings: Vec<String>,
    message: String,
}

impl Restore {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        let mut custody = custody(&config)?;
        if self.adopt && custody.shared {
            return Err(Failure::usage(
                "cannot adopt the ring: several nodes keep it on etcd, and it is bound to no machine",
                "leave --adopt away; a node that is gone makes room by `kekring node remove NAME`",
            ));
        }
        custody.roots.extend(self.open_with.root()?);
        let busy = Progress::begin(self.output.form, "opening the backup and the ring");
        let (mut gained, mut said) = (Vec::new(), Vec::new());
        if let Some(file) = &self.file {
            gained = put(&config, &custody, file, &mut said)?;
        }
        let mut opened = custody.open(None, now())?;
        if opened.frozen.is_none() {
            opened = custody.store_join(opened, now())?;
        }
        let adopted = self.adopt && !custody.is_here(&opened);
        if adopted {
            custody.adopt(&opened, now())?;
        } else {
            let mark = custody.next_mark(opened.mark.as_ref(), &opened, now());
            custody.settle(&opened, mark.as_ref())?;
        }
        if self.adopt {
            said.push(match adopted {
                true => {
                    "the ring belongs to this machine now; it must not be served on the other any more".into()
                }
                false => "the ring belongs to this machine already".to_owned(),
            });
        }
        let opened = custody.open(None, now())?;
        drop(busy);
        let said: Vec<_> = said.iter().map(|it| plain(it)).collect();
        self.report(&opened, &gained, adopted, said.join("\n"));
        Ok(())
    }

    fn report(&self, opened: &Opened, gained: &[KeyId], adopted: bool, message: String) {
        let mut warnings = opened.warnings.clone();
        warnings.extend(opened.frozen.iter().map(ToString::to_string));
        warnings.extend(opened.refusing.iter().map(ToString::to_string));
        let restored = Restored {
            ring: opened.ring.id.to_string(),
            generation: opened.ring.generation,
            gained: gained.iter().map(ToString::to_string).collect(),
            keys: opened.ring.keys.len(),
            adopted,
            warnings,
            message,
        };
        self.output.print(&restored, |it| {
            let mut text = format!(
                "{}\nring {}, generation {}, {} keys",
                it.message, it.ring, it.generation, it.keys
            );
            for id in &it.gained {
                text += &format!("\nnew here: {id}");
            }
            text += &warned(&it.warnings);
            if let Some(frozen) = &opened.frozen {
                text += &format!("\nIt serves, and is not changed: {}", frozen.remedy());
            }
            text
        });
    }
}

/// Puts the backup among the generations, where it says anything new; the keys that it brings.
fn put(
    config: &Config,
    custody: &Custody,
    file: &Path,
    said: &mut Vec<String>,
) -> Result<Vec<KeyId>, Failure> {
    let shown = file.display();
    // By itself first: what does not open is not put anywhere.
    let (backup, copy) = backup::open(custody, file, None)?;
    if let Some(other) = custody
        .header()
        .map(|it| it.ring_id)
        .ok()
        .filter(|id| *id != copy.ring.id)
    {
        return Err(other_ring(
            file,
            &copy,
            &format!("{} holds ring {other}", custody.store.describe()),
        ));
    }
    let here = custody.open(None, now()).ok();
    if here.as_ref().is_some_and(|here| says_it_all(here, &copy)) {
        said.push(format!(
            "nothing to restore: the ring has everything that {shown} has"
        ));
        return Ok(Vec::new());
    }
    // The two together, before anything is written: two rings stay two.
    let both = custody.open_with_backup(&backup, now())?;
    if let Some(NotServing::OtherRing { expected, .. }) = &both.refusing {
        return Err(other_ring(
            file,
            &copy,
            &format!("ring.id or the mark that is here names ring {expected}"),
        ));
    }
    file_store(config).create_directories()?;
    match etcd_store(config)? {
        None => custody.put_backup(&backup, &both)?,
        Some(etcd) => bring(&etcd, &backup, &copy)?,
    }
    said.push(format!(
        "restored generation {} from {shown}",
        copy.ring.generation
    ));
    if custody.shared {
        said.extend(meet(config, &copy)?);
    }
    if here.is_none() && both.mark.is_none() {
        said.push(
            "nothing here tells what came after this backup: if the ring was rotated since, `kekring rotate` makes the key active again that was in use"
                .into(),
        );
    }
    // Until something changes, this is the backup of what is here.
    if both.head.hash == copy.head.hash && both.backup.is_none() {
        let _ = custody.note_backup(&copy, copy.head.header.written);
    }
    let new = |id: &KeyId| here.as_ref().is_none_or(|here| here.ring.key(id).is_none());
    let gained = copy.ring.keys.iter().map(|key| &key.id).filter(|id| new(id));
    Ok(gained.cloned().collect())
}

/// Into an etcd that has no ring, as its head; else beside the head, as another history that all nodes then join.
fn bring(etcd: &EtcdStore, backup: &Backup, copy: &Opened) -> Result<(), Failure> {
    let (id, name) = (copy.ring.id.0, copy.head.name.as_str());
    let there = etcd.read(WITHIN)?;
    let Some(head) = there.head.as_deref() else {
        return Ok(etcd.begin(id, name, backup.bytes())?);
    };
    etcd.show(id, name, backup.bytes(), WITHIN)?;
    if there.fork.is_none() {
        match etcd.open_fork(id, random()?, Some(head), None, WITHIN) {
            // Another node has opened it.
            Ok(()) | Err(StoreError::Conflict(_)) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

/// Waits until the nodes have joined what was brought; for whom it waits, in words.
fn meet(config: &Config, copy: &Opened) -> Result<Vec<String>, Failure> {
    let Some(mut together) = Together::of(config, None)? else {
        return Ok(Vec::new());
    };
    let deadline = Instant::now() + MEETING;
    let what = (Form::Text, "the histories are joined");
    let met = together.until(&Want::nothing(), deadline, what, |opened, standing| {
        match standing.parted || !covers(&opened.ring, &copy.ring) {
            true => vec!["the join of the histories".into()],
            false => Vec::new(),
        }
    });
    let waits = |it| format!("it is in etcd, and the nodes take it by themselves; that still waits for {it}");
    let waiting = met.unwrap_or_else(|why| vec![why.message().to_owned()]);
    Ok(waiting.into_iter().map(waits).collect())
}

/// Two rings stay two.
fn other_ring(file: &Path, copy: &Opened, here: &str) -> Failure {
    Failure::refused(
        format!(
            "cannot restore {}: it is a backup of ring {}, and {here}",
            file.display(),
            copy.ring.id
        ),
        "use a backup of the ring that belongs here; another ring needs a configuration of its own, and nothing was changed",
    )
}

fn says_it_all(here: &Opened, copy: &Opened) -> bool {
    here.head.header.generation >= copy.head.header.generation && covers(&here.ring, &copy.ring)
}
