//! `kekring init`: makes a ring, with a recovery slot, and refuses where anything suggests that one exists.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::keys::name;
use super::output::Output;
use super::place::{Place, custody, etcd_store, file_store};
use super::recovery::Recovery;
use crate::config::Config;
use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::custody::{CommitError, Custody, Opened};
use crate::keyring::{RingId, lifecycle};
use crate::root::{RootConfig, RootKey, create_key_file};
use crate::server::listener::occupant;
use crate::store::StoreError;
use crate::telemetry::{now, plain};

/// A ring is made once. `init` also makes a recovery code: keep it away from this machine, it opens the ring when every
/// other root is lost.
#[derive(Args)]
pub(super) struct Init {
    /// Write the recovery code to this new file, 0600, instead of showing it at the terminal
    #[arg(long, value_name = "FILE", conflicts_with = "no_recovery")]
    recovery_code_file: Option<PathBuf>,
    /// Make no recovery code: when the roots are lost, so is every Secret
    #[arg(long)]
    no_recovery: bool,
    #[command(flatten)]
    output: Output,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    ring: String,
    generation: u64,
    active: String,
    next: String,
    store: String,
    slots: Vec<String>,
    warnings: Vec<String>,
}

impl Init {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        let recovery = self.recovery()?;
        refuse_if_one_exists(&config)?;
        let mut made = make_missing_root_files(&config)?;
        let result = self.make(&config, recovery.as_ref(), &mut made);
        if result.is_err() && nothing_was_made(&config) {
            // Nothing hangs on them: the next attempt finds the place as this one did.
            made.iter().for_each(|path| drop(std::fs::remove_file(path)));
        }
        result
    }

    fn recovery(&self) -> Result<Option<Recovery>, Failure> {
        if self.no_recovery {
            return Ok(None);
        }
        let otherwise = "give --recovery-code-file FILE, or --no-recovery to do without";
        Recovery::to(self.recovery_code_file.as_deref(), otherwise).map(Some)
    }

    /// Each file that it makes beside the ring is named in `made`.
    fn make(
        &self,
        config: &Config,
        recovery: Option<&Recovery>,
        made: &mut Vec<PathBuf>,
    ) -> Result<(), Failure> {
        let further: Vec<Arc<dyn RootKey>> = recovery.map(Recovery::make).transpose()?.into_iter().collect();
        let code = recovery.and_then(Recovery::file);
        made.extend(code.map(Path::to_owned));
        let custody = custody(config)?;
        let opened = create(config, &further, &custody)?;
        self.report(custody.store.describe(), &opened, code);
        Ok(())
    }

    fn report(&self, store: String, opened: &Opened, code: Option<&Path>) {
        let slots: Vec<String> = opened
            .head
            .header
            .slots
            .iter()
            .map(|slot| slot.name.clone())
            .collect();
        let mut warnings = Vec::new();
        if slots.len() == 1 {
            warnings
                .push("there is one root slot only: when that root is lost, so is every Secret".to_owned());
        }
        let made = Made {
            ring: opened.ring.id.to_string(),
            generation: opened.ring.generation,
            active: name(opened.ring.active()),
            next: name(opened.ring.pre_active()),
            store,
            slots,
            warnings,
        };
        self.output.print(&made, |made| {
            let mut text = format!(
                "made ring {} in {}\nactive key  {}\nnext key    {}\nroot slots  {}\n",
                made.ring,
                made.store,
                made.active,
                made.next,
                made.slots.join(", ")
            );
            if let Some(path) = code {
                text += &format!(
                    "\nThe recovery code is in {}: move it off this machine now.\n",
                    path.display()
                );
            }
            for warning in &made.warnings {
                text += &format!("warning: {}\n", plain(warning));
            }
            text += "\nNext: `kekring serve`, then `kekring config encryption` for kube-apiserver.";
            text
        });
    }
}

/// Makes a ring for `config`; also what `serve --dev` does.
pub(super) fn create(
    config: &Config,
    further: &[Arc<dyn RootKey>],
    custody: &Custody,
) -> Result<Opened, Failure> {
    file_store(config).create_directories()?;
    let time = now();
    let mut ring = lifecycle::create(RingId(random()?), Key32::generate()?, Key32::generate()?, time);
    if !custody.shared {
        ring.machine = custody.machine_tag(ring.id);
    }
    ring.development = config.development;
    custody.create(ring, further, time).map_err(|why| match why {
        CommitError::Store(StoreError::Conflict(place)) => Failure::refused(
            format!("cannot make a ring: somebody else has made one in {place} in the meantime"),
            "a second ring cannot read what the first one encrypts; this node joins that one with its root and `kekring serve`",
        ),
        why => why.into(),
    })
}

/// True only where it is certain that no generation is left: one may be durable although its mirror or mark failed, and
/// then its roots are all that opens it.
fn nothing_was_made(config: &Config) -> bool {
    traces(config).is_ok_and(|traces| traces.is_empty())
}

/// What suggests that a ring exists, here or in etcd.
fn traces(config: &Config) -> Result<Vec<String>, Failure> {
    let mut traces = file_store(config).traces()?;
    if let Some(etcd) = etcd_store(config)? {
        traces.extend(etcd.traces()?.iter().map(|ring| format!("{ring} in etcd")));
    }
    Ok(traces)
}

/// Never is a ring made where one should exist.
fn refuse_if_one_exists(config: &Config) -> Result<(), Failure> {
    let mut traces = traces(config)?;
    if let Some(who) = occupant(&config.socket.path) {
        traces.push(format!("{who} at {}", config.socket.path.display()));
    }
    if traces.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(
        format!("cannot make a ring: there is already {}", traces.join(", ")),
        "a second ring cannot read what the first one encrypted; `kekring status` looks at the one that exists",
    ))
}

/// A file root that does not exist yet is made: 32 random bytes, 0600, for the owner of the ring's directory.
pub(super) fn make_missing_root_files(config: &Config) -> Result<Vec<PathBuf>, Failure> {
    let mut made = Vec::new();
    for root in &config.ring.roots {
        if let RootConfig::File(file) = root
            && matches!(file.path.try_exists(), Ok(false))
        {
            make_root_file(config, &file.path)?;
            made.push(file.path.clone());
        }
    }
    Ok(made)
}

/// A new file root, for the owner of the ring's directory.
pub(super) fn make_root_file(config: &Config, path: &Path) -> Result<(), Failure> {
    Ok(create_key_file(path, file_store(config).owner())?)
}
