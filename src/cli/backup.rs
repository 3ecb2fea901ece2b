//! `kekring backup`: a sealed copy of the ring, out; and whether one opens and what it lacks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::keys::name;
use super::output::{Output, warned};
use super::place::{Place, custody};
use super::progress::Progress;
use super::recovery::OpenWith;
use super::root::{Row, rows};
use crate::crypto::secret::Key32;
use crate::custody::{Custody, OpenError, Opened, test_keys};
use crate::keyring::KeyId;
use crate::keyring::ring::Ring;
use crate::store::{Backup, StoreError, destination, generation_name};
use crate::telemetry::{now, plain, shown_time};

/// The copy holds every key, sealed as it is in the store: it is worth nothing without a root, so keep the two apart. It
/// holds the next key already, and so opens what the next rotation encrypts.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct BackupVerb {
    /// A new file, or a directory in which the copy gets a name of its own
    #[arg(required = true)]
    file: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    verb: Option<Sub>,
}

#[derive(Subcommand)]
enum Sub {
    /// Open a backup, test each key, and compare it with the ring that is here
    Verify(Verify),
}

/// Exit code 1 where it does not open, or lacks a key that is in use.
#[derive(Args)]
struct Verify {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    open_with: OpenWith,
    #[command(flatten)]
    output: Output,
}

/// What was written.
#[derive(Serialize)]
struct Made {
    file: String,
    ring: String,
    generation: u64,
    keys: usize,
    newest: String,
    slots: Vec<Row>,
    warnings: Vec<String>,
}

impl BackupVerb {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        match (&self.verb, &self.file) {
            (Some(Sub::Verify(verify)), _) => verify.run(place),
            (None, Some(file)) => self.make(place, file),
            (None, None) => Err(Failure::usage(
                "cannot back up: no file was named",
                "kekring backup FILE",
            )),
        }
    }

    fn make(&self, place: &Place, file: &Path) -> Result<(), Failure> {
        let custody = custody(&place.config()?)?;
        let mut opened = custody.open(None, now())?;
        if opened.frozen.is_none() {
            opened = custody.store_join(opened, now())?;
        }
        let head = &opened.head;
        let name = generation_name(head.header.generation, &head.hash);
        let file = destination(file, &name);
        let there = Backup::read(&file).is_ok_and(|known| known.bytes() == head.bytes);
        if !there {
            Backup::write(&file, &head.bytes).map_err(|why| unwritten(&file, &why))?;
        }
        let copy = open(&custody, &file, Some(&opened.ring_key))?.1;
        let outdated = opened.backup_warning();
        let mut warnings: Vec<String> = opened.warnings.clone();
        warnings.retain(|warning| Some(warning) != outdated.as_ref());
        warnings.extend(opened.frozen.iter().map(ToString::to_string));
        warnings.extend(custody.note_backup(&opened, now()).err().map(|why| {
            format!("the backup is good, and it cannot be noted beside the ring that it was made: {why}")
        }));
        self.report(&file, &copy, there, warnings);
        Ok(())
    }

    fn report(&self, file: &Path, copy: &Opened, there: bool, warnings: Vec<String>) {
        let made = Made {
            file: file.display().to_string(),
            ring: copy.ring.id.to_string(),
            generation: copy.ring.generation,
            keys: copy.ring.keys.len(),
            newest: name(copy.ring.keys.last()),
            slots: rows(&copy.head.header.slots),
            warnings,
        };
        self.output.print(&made, |it| {
            let text = format!(
                "{} {}\nring {}, generation {}, {} keys, the newest {}\nopens with any of: {}",
                if there { "already there:" } else { "wrote" },
                it.file,
                it.ring,
                it.generation,
                it.keys,
                it.newest,
                names(&it.slots)
            );
            text + &warned(&it.warnings)
        });
    }
}

/// What `backup verify -o json` prints.
#[derive(Serialize)]
struct Verified {
    file: String,
    ring: String,
    generation: u64,
    written: String,
    keys: usize,
    /// The keys of the ring that is here that the backup lacks; absent where no ring is here.
    lacks: Option<Vec<String>>,
    slots: Vec<Row>,
}

impl Verify {
    fn run(&self, place: &Place) -> Result<(), Failure> {
        let mut custody = custody(&place.config()?)?;
        let further = self.open_with.root()?;
        let busy = Progress::begin(self.output.form, "opening the backup and testing each key");
        let here = custody.open(None, now());
        custody.roots.extend(further);
        let copy = open(&custody, &self.file, None)?.1;
        test_keys(&copy.ring, &copy.ring).map_err(|why| {
            let why = format!("cannot use the backup {}: {why}", self.file.display());
            Failure::failed(why, "use another backup")
        })?;
        drop(busy);
        let lacks = match &here {
            Ok(here) if here.ring.id == copy.ring.id => Some(lacking(&here.ring, &copy.ring)),
            Ok(here) => return Err(other_ring(&self.file, here, &copy)),
            Err(_) => None,
        };
        let verified = Verified {
            file: self.file.display().to_string(),
            ring: copy.ring.id.to_string(),
            generation: copy.ring.generation,
            written: shown_time(copy.head.header.written),
            keys: copy.ring.keys.len(),
            lacks: lacks
                .as_ref()
                .map(|keys| keys.iter().map(ToString::to_string).collect()),
            slots: rows(&copy.head.header.slots),
        };
        self.output.print(&verified, text);
        let used = |id: &&KeyId| {
            let key = here.as_ref().ok().and_then(|here| here.ring.key(id));
            key.is_some_and(|key| key.activated.is_some())
        };
        match lacks.iter().flatten().find(used) {
            None => Ok(()),
            Some(id) => Err(Failure::failed(
                format!("{} lacks key {id}, which is in use", self.file.display()),
                "make a new one by `kekring backup`",
            )),
        }
    }
}

/// Reads and opens a backup.
pub(super) fn open(
    custody: &Custody,
    file: &Path,
    held: Option<&Arc<Key32>>,
) -> Result<(Backup, Opened), Failure> {
    let shown = file.display();
    let backup = Backup::read(file).map_err(|why| {
        Failure::failed(
            format!("cannot use the backup {shown}: {why}"),
            "name a file that `kekring backup` wrote",
        )
    })?;
    match custody.open_backup(&backup, held, now()) {
        Ok(opened) => Ok((backup, opened)),
        Err(why) => {
            let hint = match &why {
                OpenError::Format { .. } => "use another backup; this file was left as it is".to_owned(),
                OpenError::Roots { .. } => {
                    "one of the roots of its time opens it; `--open-with -` asks for the recovery code"
                        .to_owned()
                }
                other => other.hint(),
            };
            Err(Failure::refused_if(
                why.is_refusal(),
                format!("cannot use the backup {shown}: {}", why.cause()),
                hint,
            ))
        }
    }
}

fn unwritten(file: &Path, why: &StoreError) -> Failure {
    Failure::refused_if(
        matches!(why, StoreError::Denied(_)),
        format!("cannot write the backup {}: {why}", file.display()),
        "name a new file in a directory that exists, can be written and has space",
    )
}

fn lacking(here: &Ring, copy: &Ring) -> Vec<KeyId> {
    let ids = here.keys.iter().map(|key| &key.id);
    ids.filter(|id| copy.key(id).is_none()).cloned().collect()
}

fn other_ring(file: &Path, here: &Opened, copy: &Opened) -> Failure {
    Failure::refused(
        format!(
            "cannot compare {}: it is a backup of ring {}, and here is ring {}",
            file.display(),
            copy.ring.id,
            here.ring.id
        ),
        "use the backup of this ring",
    )
}

fn names(slots: &[Row]) -> String {
    let names: Vec<_> = slots.iter().map(|slot| plain(&slot.name)).collect();
    names.join(", ")
}

fn text(it: &Verified) -> String {
    let compared = match it.lacks.as_deref() {
        None => "no ring is here to compare it with".to_owned(),
        Some([]) => "it has every key of the ring that is here".to_owned(),
        Some(keys) => format!("it lacks {}", keys.join(", ")),
    };
    format!(
        "{} opens, and each of its {} keys was tested\nring {}, generation {}, written {}\nopens with any of: {}\n{compared}",
        it.file,
        it.keys,
        it.ring,
        it.generation,
        it.written,
        names(&it.slots)
    )
}
