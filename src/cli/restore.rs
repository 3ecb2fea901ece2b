//! `kekring restore`: a backup, in. It joins what is there and never overwrites it; `--adopt` binds the ring to this machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::backup;
use super::failure::Failure;
use super::keys::name;
use super::output::{Form, Output, warned};
use super::place::{Place, custody, etcd_store, file_store};
use super::progress::Progress;
use super::recovery::OpenWith;
use super::together::Together;
use crate::config::Config;
use crate::crypto::random;
use crate::custody::{Custody, Opened, Relation, Restored, Unreadable};
use crate::etcd::WITHIN;
use crate::keyring::KeyId;
use crate::keyring::join::covers;
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
    /// The backup, or a directory of which every generation is taken in; with `--adopt` it may be left away
    #[arg(required_unless_present = "adopt", value_name = "FILE|DIR")]
    file: Option<PathBuf>,
    /// Bind the ring to this machine: it rotates here from now on
    #[arg(long)]
    adopt: bool,
    /// Move aside what no root opens in the ring's directory, and go on from the backup under a new ring key; nothing is
    /// deleted
    #[arg(long)]
    abandon_unreadable: bool,
    #[command(flatten)]
    open_with: OpenWith,
    #[command(flatten)]
    output: Output,
}

/// What was done.
#[derive(Serialize)]
struct Report {
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
        if self.abandon_unreadable && custody.shared {
            return Err(Failure::usage(
                "cannot abandon what no root opens: several nodes keep the ring on etcd, and nothing is moved aside there",
                "restore into files, and bring the ring to a prefix of its own by `kekring store move --to etcd`",
            ));
        }
        custody.roots.extend(self.open_with.root()?);
        let busy = Progress::begin(self.output.form, "opening the backup and the ring");
        let mut done = Done::default();
        match &self.file {
            Some(dir) if dir.is_dir() => self.put_directory(&config, &custody, dir, &mut done)?,
            Some(file) => self.put(&config, &custody, file, &mut done)?,
            None => {}
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
            done.said.push(match adopted {
                true => {
                    "the ring belongs to this machine now; it must not be served on the other any more".into()
                }
                false => "the ring belongs to this machine already".to_owned(),
            });
        }
        let opened = custody.open(None, now())?;
        drop(busy);
        self.report(&opened, &done, adopted);
        Ok(())
    }

    fn report(&self, opened: &Opened, done: &Done, adopted: bool) {
        let mut warnings = done.warnings.clone();
        warnings.extend_from_slice(&opened.warnings);
        warnings.extend(opened.frozen.iter().map(ToString::to_string));
        warnings.extend(opened.refusing.iter().map(ToString::to_string));
        let restored = Report {
            ring: opened.ring.id.to_string(),
            generation: opened.ring.generation,
            gained: done.gained.iter().map(ToString::to_string).collect(),
            keys: opened.ring.keys.len(),
            adopted,
            warnings,
            message: done
                .said
                .iter()
                .map(|it| plain(it))
                .collect::<Vec<_>>()
                .join("\n"),
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

/// What a restore has done so far.
#[derive(Default)]
struct Done {
    /// Keys that were not here before.
    gained: Vec<KeyId>,
    said: Vec<String>,
    warnings: Vec<String>,
}

impl Restore {
    /// Takes in every generation of a directory, the newest first: what joins, joins with that.
    fn put_directory(
        &self,
        config: &Config,
        custody: &Custody,
        dir: &Path,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let failed = |why: std::io::Error| {
            Failure::failed(
                format!("cannot read {}: {why}", dir.display()),
                "name a backup, or a directory that holds backups or a ring",
            )
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            files.extend(Some(path).filter(|path| path.extension().is_some_and(|it| it == "ring")));
        }
        files.sort_by_key(|path| std::cmp::Reverse(generation_of(path)));
        if files.is_empty() {
            return Err(Failure::failed(
                format!("cannot restore {}: no file in it ends in .ring", dir.display()),
                "name a backup, or a directory that holds backups or a ring",
            ));
        }
        let mut passed_over = Vec::new();
        for file in &files {
            if let Err(why) = self.put(config, custody, file, done) {
                passed_over.push(why.message().to_owned());
            }
        }
        if passed_over.len() == files.len() {
            return Err(Failure::failed(
                format!(
                    "cannot restore {}: no generation in it was taken in: {}",
                    dir.display(),
                    passed_over.join("; ")
                ),
                "`--open-with -` asks for a recovery code; nothing was changed",
            ));
        }
        let passed_over = passed_over.iter().map(|why| format!("passed over: {why}"));
        done.warnings.extend(passed_over);
        Ok(())
    }

    /// Takes a backup in, where it says anything new.
    fn put(&self, config: &Config, custody: &Custody, file: &Path, done: &mut Done) -> Result<(), Failure> {
        // By itself first: what does not open is not put anywhere.
        let (backup, copy) = backup::open(custody, file, None)?;
        refuse_other_ring(custody, file, &copy)?;
        let here = custody.open(None, now());
        let unreadable = match custody.shared {
            true => Unreadable::default(),
            false => custody.unreadable(&copy)?,
        };
        if here.is_err() && unreadable != Unreadable::default() {
            return self.put_over_a_gap(custody, file, &copy, &unreadable, done);
        }
        let known = |id: &KeyId| here.as_ref().is_ok_and(|here| here.ring.key(id).is_some());
        let new = copy.ring.keys.iter().map(|key| &key.id).filter(|id| !known(id));
        let new: Vec<KeyId> = new.cloned().collect();
        let here = here.ok();
        let same = here
            .as_ref()
            .is_none_or(|here| Relation::of(here, &copy) == Relation::Same);
        file_store(config).create_directories()?;
        let restored = match etcd_store(config)? {
            Some(etcd) if same => bring(&etcd, &backup, &copy, here.as_ref())?,
            _ => custody.restore(here.as_ref(), &copy, &backup, now())?,
        };
        done.said.push(told(&restored, same, file, &copy));
        if restored == Restored::Nothing {
            return Ok(());
        }
        if restored == Restored::Put {
            self.join(config, custody, &copy, here.is_some(), done)?;
        }
        done.gained.extend(new);
        Ok(())
    }

    /// The backup lies among the generations, or beside the head on etcd.
    fn join(
        &self,
        config: &Config,
        custody: &Custody,
        copy: &Opened,
        was_here: bool,
        done: &mut Done,
    ) -> Result<(), Failure> {
        if custody.shared {
            done.said.extend(meet(config, copy)?);
        }
        let both = custody.open(None, now())?;
        if !was_here && both.mark.is_none() {
            done.said.push(
                "nothing here tells what came after this backup: if the ring was rotated since, `kekring rotate` makes the key active again that was in use"
                    .into(),
            );
        }
        // Until something changes, this is the backup of what is here.
        if both.head.hash == copy.head.hash && both.backup.is_none() {
            let _ = custody.note_backup(copy, copy.head.header.written);
        }
        // The next one of a directory meets what is stored.
        if both.frozen.is_none() && !custody.shared {
            custody.store_join(both, now())?;
        }
        Ok(())
    }

    /// There is something newer than the backup that no root opens.
    fn put_over_a_gap(
        &self,
        custody: &Custody,
        file: &Path,
        copy: &Opened,
        unreadable: &Unreadable,
        done: &mut Done,
    ) -> Result<(), Failure> {
        let mut what = unreadable.names.clone();
        what.extend(
            unreadable
                .mark
                .then(|| "a mark under another ring key".to_owned()),
        );
        if !self.abandon_unreadable {
            return Err(Failure::refused(
                format!(
                    "cannot restore {}: no root opens what is in {}: {}",
                    file.display(),
                    custody.store.describe(),
                    what.join(", ")
                ),
                "bring the root back that opens it, or give its recovery code by `--open-with -`; where it is lost for good, `--abandon-unreadable` moves it aside and goes on from the backup",
            ));
        }
        let abandoned = custody.abandon(copy, unreadable, now())?;
        done.said.push(format!(
            "restored generation {} from {}, under a new ring key; {} is the active key",
            copy.ring.generation,
            file.display(),
            name(abandoned.opened.ring.active())
        ));
        done.said
            .extend(abandoned.moved.iter().map(|path| format!("moved aside: {path}")));
        done.warnings.extend(abandoned.without.iter().map(|slot| {
            format!(
                "the root of slot {slot:?} was not at hand, and the slot is left out; `kekring root add` makes another"
            )
        }));
        done.gained
            .extend(copy.ring.keys.iter().map(|key| key.id.clone()));
        Ok(())
    }
}

/// What was done, in words.
fn told(restored: &Restored, same: bool, file: &Path, copy: &Opened) -> String {
    let shown = file.display();
    match restored {
        Restored::Nothing if same => format!("nothing to restore: the ring has everything that {shown} has"),
        Restored::Nothing => format!(
            "nothing to restore: {shown} is sealed under a ring key that was replaced, and the ring has each of its keys"
        ),
        Restored::Put => format!("restored generation {} from {shown}", copy.ring.generation),
        Restored::TakenIn => format!(
            "{shown} is sealed under a ring key that was replaced: its keys are taken in, to decrypt and nothing else"
        ),
        Restored::WentOver(active) => format!(
            "{shown} is from after a root was removed, and the ring here from before: its ring key and root slots are the ring's now, every key that was here still decrypts, and {active} is the active key. What lies here from before still opens by a removed root: `kekring doctor` names it, and how to finish that removal"
        ),
    }
}

/// The number in the name of a generation; 0 where there is none.
fn generation_of(path: &Path) -> u64 {
    let name = path.file_stem().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.split('-').nth(1)?.parse().ok());
    number.unwrap_or(0)
}

/// Two rings stay two.
fn refuse_other_ring(custody: &Custody, file: &Path, copy: &Opened) -> Result<(), Failure> {
    let id = copy.ring.id;
    if let Some(other) = custody.header().map(|it| it.ring_id).ok().filter(|it| *it != id) {
        let here = format!("{} holds ring {other}", custody.store.describe());
        return Err(other_ring(file, copy, &here));
    }
    let named = custody.expected.or(custody.marked_ring()?);
    match named.filter(|it| *it != id) {
        Some(expected) => {
            let here = format!("ring.id or the mark that is here names ring {expected}");
            Err(other_ring(file, copy, &here))
        }
        None => Ok(()),
    }
}

/// Into an etcd that has no ring, as its head; else beside the head, as another history that all nodes then join.
fn bring(
    etcd: &EtcdStore,
    backup: &Backup,
    copy: &Opened,
    here: Option<&Opened>,
) -> Result<Restored, Failure> {
    if here.is_some_and(|here| here.says_it_all(copy)) {
        return Ok(Restored::Nothing);
    }
    let (id, name) = (copy.ring.id.0, copy.head.name.as_str());
    let there = etcd.read(WITHIN)?;
    let Some(head) = there.head.as_deref() else {
        etcd.begin(id, name, backup.bytes())?;
        return Ok(Restored::Put);
    };
    etcd.show(id, name, backup.bytes(), WITHIN)?;
    if there.fork.is_none() {
        match etcd.open_fork(id, random()?, Some(head), None, WITHIN) {
            // Another node has opened it.
            Ok(()) | Err(StoreError::Conflict(_)) => {}
            Err(why) => return Err(why.into()),
        }
    }
    Ok(Restored::Put)
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
