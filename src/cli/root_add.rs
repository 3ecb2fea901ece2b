//! `kekring root add`: a slot for a root that has none. A slot counts once it has opened what it sealed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::init::make_root_file;
use super::output::Output;
use super::place::{Place, custody};
use super::progress::Progress;
use super::recovery::{OpenWith, Recovery};
use super::root::{Row, rows};
use crate::config::Config;
use crate::custody::{Custody, Header, Opened, opens};
use crate::root::{RootConfig, RootError, RootKey};
use crate::telemetry::now;

/// Write the root into `ring.roots` first, then run this: the configuration says what a root is. A file root that does not
/// exist yet is made, as by `init`. With `--recovery-code` or `--recovery-code-file`, a new recovery code gets a slot
/// instead.
#[derive(Args)]
pub(super) struct Add {
    /// Make a recovery code, show it once at the terminal, and have it typed back
    #[arg(long)]
    recovery_code: bool,
    /// Make a recovery code and write it to this new file, 0600
    #[arg(long, value_name = "FILE", conflicts_with = "recovery_code")]
    recovery_code_file: Option<PathBuf>,
    /// Make a root key file anew where it is missing although it has a slot: the key in it is lost for good
    #[arg(long)]
    replace_lost: bool,
    #[command(flatten)]
    open_with: OpenWith,
    #[command(flatten)]
    output: Output,
}

/// What was done.
#[derive(Serialize)]
struct Added {
    added: Vec<Row>,
    generation: u64,
    slots: Vec<Row>,
}

impl Add {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        let mut custody = custody(&config)?;
        custody.roots.extend(self.open_with.root()?);
        let busy = |what| Progress::begin(self.output.form, what);
        let opening = busy("opening the ring");
        let opened = custody.open(None, now())?;
        drop(opening);
        let known = opened.head.header.slots.len();
        let before = opened.stamp().clone();
        let recovery = self.recovery()?;
        let mut made = Vec::new();
        let done = self.add(&config, &custody, opened, recovery.as_ref(), &mut made);
        // A generation may be durable although its mirror or mark failed: then its slot hangs on what was made.
        if done.is_err() && custody.store.stamp().is_ok_and(|now| now == before) {
            made.iter().for_each(|path| drop(std::fs::remove_file(path)));
        }
        let opened = done?;
        let slots = &opened.head.header.slots;
        let added = Added {
            added: rows(slots.get(known..).unwrap_or_default()),
            generation: opened.ring.generation,
            slots: rows(slots),
        };
        self.output.print(&added, |added| text(added, recovery.as_ref()));
        Ok(())
    }

    /// Adds what is missing. Each file that it makes is named in `made`.
    fn add(
        &self,
        config: &Config,
        custody: &Custody,
        opened: Opened,
        recovery: Option<&Recovery>,
        made: &mut Vec<PathBuf>,
    ) -> Result<Opened, Failure> {
        let new = match recovery {
            Some(recovery) => {
                let root = recovery.make()?;
                made.extend(recovery.file().map(Path::to_owned));
                vec![root]
            }
            None => self.without_slot(config, &opened.head.header, made)?,
        };
        if new.is_empty() {
            return Ok(opened);
        }
        let _busy = Progress::begin(self.output.form, "sealing the ring key");
        Ok(custody.add_slots(&opened, &new, now())?)
    }

    fn recovery(&self) -> Result<Option<Recovery>, Failure> {
        if !self.recovery_code && self.recovery_code_file.is_none() {
            return Ok(None);
        }
        let otherwise = "give --recovery-code-file FILE";
        Recovery::to(self.recovery_code_file.as_deref(), otherwise).map(Some)
    }

    /// The configured roots that open no slot. Their missing files are made, and named in `made`.
    fn without_slot(
        &self,
        config: &Config,
        header: &Header,
        made: &mut Vec<PathBuf>,
    ) -> Result<Vec<Arc<dyn RootKey>>, Failure> {
        let mut new = Vec::new();
        for entry in &config.ring.roots {
            let root = entry.build();
            let known = header.slots.iter().any(|slot| slot.name == root.describe());
            if let RootConfig::File(file) = entry
                && (!known || self.replace_lost)
                && matches!(file.path.try_exists(), Ok(false))
            {
                make_root_file(config, &file.path)?;
                made.push(file.path.clone());
            }
            if !opens_any(root.as_ref(), header)? {
                new.push(root);
            }
        }
        Ok(new)
    }
}

fn opens_any(root: &dyn RootKey, header: &Header) -> Result<bool, Failure> {
    for slot in &header.slots {
        match opens(root, header, slot) {
            Ok(_) => return Ok(true),
            Err(RootError::WrongRoot | RootError::Corrupt(_)) => {}
            Err(why) => {
                return Err(Failure::failed(
                    format!("cannot try the {}: {why}", root.describe()),
                    "bring it back; where its key is lost for good, `--replace-lost` makes another; nothing was changed",
                ));
            }
        }
    }
    Ok(false)
}

fn text(added: &Added, recovery: Option<&Recovery>) -> String {
    if added.added.is_empty() {
        return "nothing to add: every configured root opens a slot".to_owned();
    }
    let mut text = String::new();
    for slot in &added.added {
        text += &format!("added slot {} for the {}\n", slot.id, slot.name);
    }
    if let Some(path) = recovery.and_then(Recovery::file) {
        text += &format!(
            "The recovery code is in {}: move it off this machine now.\n",
            path.display()
        );
    }
    text += &format!("generation {}, {} slots", added.generation, added.slots.len());
    text
}
