//! `kekring root remove`: a root opens the ring no more. The ring key is replaced, and what cannot be reached is named.

use clap::Args;
use serde::Serialize;

use super::failure::Failure;
use super::output::Output;
use super::place::{Place, custody};
use super::progress::Progress;
use super::recovery::OpenWith;
use super::root::{Row, id, row, rows};
use super::rotate::{Rotate, rotate_fresh};
use super::wait::{Wait, none_waits};
use crate::config::Config;
use crate::custody::{CommitError, Custody, Opened, Slot, opens};
use crate::root::RootKey;
use crate::store::shell_word;
use crate::telemetry::{now, plain};

/// The ring key is replaced, so every root that stays must be at hand to take the new one: the configured roots, and the
/// recovery code by `--open-with`. Older generations are taken out of the store and its mirror where the ring has all of
/// them. Backups and snapshots stay what they are: the removed root opens them, and the keys in them. A removal that broke
/// off is finished by the same command.
#[derive(Args)]
pub(super) struct Remove {
    /// The slots, each by its id in full, as `root list` shows it
    #[arg(required = true, value_name = "SLOT")]
    slots: Vec<String>,
    /// The root is compromised: also replace the active key by a fresh one, since it could read the old ones
    #[arg(long)]
    rotate: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    open_with: OpenWith,
    #[command(flatten)]
    output: Output,
}

/// What was done.
#[derive(Serialize)]
struct Removed {
    removed: Vec<Row>,
    slots: Vec<Row>,
    generation: u64,
    /// Older generations that could not be taken out of the store.
    left: Vec<String>,
    /// What the removed roots still open.
    unreachable: Vec<String>,
    warnings: Vec<String>,
    waiting: Vec<String>,
}

impl Remove {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        let mut custody = custody(&config)?;
        let configured = custody.roots.len();
        custody.roots.extend(self.open_with.root()?);
        let busy = Progress::begin(
            self.output.form,
            "sealing a new ring key for each root that stays",
        );
        let mut opened = custody.open(None, now())?;
        if opened.frozen.is_none() && !custody.shared {
            // Nothing is deleted for the sake of a join that is in memory alone.
            opened = custody.store_join(opened, now())?;
            opened = custody.reopen(&opened, now())?;
        }
        let gone = self.named(&opened)?;
        let warnings = still_configured(&custody, configured, &opened, &gone);
        let unreachable = unreachable(&opened);
        let (mut opened, mut left) = remove(&custody, opened, &gone)?;
        let mut waiting = Vec::new();
        if custody.shared {
            waiting = self.on_every_node(&config, &custody, &mut opened, &mut left)?;
        }
        let (slots, mut generation) = (rows(&opened.head.header.slots), opened.ring.generation);
        // Whatever comes of it, the slot is removed, and what its root still opens is to be told.
        let rotates = self.rotate && !custody.shared;
        let removed_key = std::sync::Arc::clone(&opened.ring_key);
        let rotated = rotates.then(|| rotate_fresh(&custody, opened)).transpose();
        if let Ok(Some(rotated)) = &rotated {
            generation = rotated.ring.generation;
        }
        drop(busy);
        let removed = Removed {
            removed: gone.iter().map(row).collect(),
            slots,
            generation,
            left,
            unreachable,
            warnings,
            waiting: match custody.shared {
                true => waiting,
                false => self.wait.for_server(&config, generation, None, self.output.form),
            },
        };
        self.output.print(&removed, |removed| self.text(removed));
        let now_open =
            rotated.map_err(|why| why.after("the slot is removed, and the active key is not replaced"))?;
        let now_open = match now_open {
            Some(rotated) => rotated,
            None => custody.open(Some(&removed_key), now())?,
        };
        if let Some(why) = left_over(&custody, &now_open, &removed.left) {
            return Err(why);
        }
        if custody.shared {
            none_waits(&config, &removed.waiting).map_err(|why| {
                why.with_hint("bring the node back, with a root that opens the ring, and run the same command again: until then older generations, which the removed root opens, stay in etcd")
            })?;
            return self.then_rotate(place);
        }
        none_waits(&config, &removed.waiting).map_err(|why| {
            why.with_hint("a root that was configured after its start the server does not know: restart it; else see its log")
        })
    }

    /// Each node must have opened the new ring key by a root of its own, before the old one goes; for whom that waits.
    fn on_every_node(
        &self,
        config: &Config,
        custody: &Custody,
        opened: &mut Opened,
        left: &mut Vec<String>,
    ) -> Result<Vec<String>, Failure> {
        let waiting = self
            .wait
            .for_server(config, opened.ring.generation, None, self.output.form);
        if waiting.is_empty() {
            *opened = custody.open(None, now())?;
            *left = custody.finish_removal(opened, now())?;
        }
        Ok(waiting)
    }

    /// On several nodes: as `rotate --fresh` does it.
    fn then_rotate(&self, place: &Place) -> Result<(), Failure> {
        if !self.rotate {
            return Ok(());
        }
        Rotate::fresh(self.wait, self.output)
            .run(place)
            .map_err(|why| why.after("the slot is removed, and the active key is not replaced"))
    }

    /// The slots that were named, of the ring or of a removal that broke off.
    fn named(&self, opened: &Opened) -> Result<Vec<Slot>, Failure> {
        let slots = &opened.head.header.slots;
        let find = |wanted: &String| {
            slots
                .iter()
                .chain(opened.half_removed())
                .find(|slot| id(slot) == *wanted)
                .cloned()
                .ok_or_else(|| {
                    Failure::usage(
                        format!("cannot remove slot {wanted:?}: the ring has no such slot"),
                        "give the whole id, as `kekring root list` shows it",
                    )
                })
        };
        self.slots.iter().map(find).collect()
    }

    fn text(&self, it: &Removed) -> String {
        let mut text = String::new();
        for slot in &it.removed {
            text += &format!("removed slot {}, {}\n", slot.id, plain(&slot.name));
        }
        text += &format!(
            "the ring key is a new one; generation {}, slots:\n",
            it.generation
        );
        for slot in &it.slots {
            text += &format!("  {}  {}\n", slot.id, plain(&slot.name));
        }
        text += "\nWhat the removed root still opens, because it is out of reach here:\n";
        for what in &it.unreachable {
            text += &format!("  - {}\n", plain(what));
        }
        for warning in &it.warnings {
            text += &format!("warning: {}\n", plain(warning));
        }
        if !it.left.is_empty() {
            return text;
        }
        text += "\nNext: `kekring backup`, and destroy the older ones.";
        if !self.rotate {
            text += " If the root was compromised: `kekring rotate --fresh`, and rewrite every Secret.";
        }
        text
    }
}

/// What is still there of what the removed roots open. What the ring has all of can go; what it lacks keys of, or what does not
/// open here, is the only place where they are.
fn left_over(custody: &Custody, opened: &Opened, left: &[String]) -> Option<Failure> {
    let covered: Vec<String> = custody.leftovers(opened).into_iter().map(|it| it.1).collect();
    let (spare, needed): (Vec<&String>, Vec<&String>) = left.iter().partition(|it| covered.contains(it));
    let list = |places: &[&String], with: &str| {
        let all: Vec<String> = places.iter().map(|it| shell_word(it)).collect();
        all.join(with)
    };
    if !needed.is_empty() {
        return Some(Failure::failed(
            format!(
                "the slot is removed, and older generations are still there that hold keys which the ring lacks, or that do not open here: {}",
                list(&needed, ", ")
            ),
            match custody.shared {
                true => {
                    "delete none of them: bring a root that opens them, and run the same command again".into()
                }
                false => format!(
                    "delete none of them: `kekring restore {} --open-with -` takes their keys in",
                    needed.first().map_or(String::new(), |it| shell_word(it))
                ),
            },
        ));
    }
    (!spare.is_empty()).then(|| {
        Failure::failed(
            format!(
                "the slot is removed, and older generations, which it may open, could not be deleted: {}",
                list(&spare, ", ")
            ),
            match custody.shared {
                true => "run the same command again".into(),
                false => format!(
                    "mend the directory; the ring has all of them: `rm {}`",
                    list(&spare, " ")
                ),
            },
        )
    })
}

/// Removes the slots, or finishes what an earlier run began. Returns also what could not be taken out of the store.
fn remove(custody: &Custody, opened: Opened, gone: &[Slot]) -> Result<(Opened, Vec<String>), CommitError> {
    let slots = &opened.head.header.slots;
    let ids: Vec<[u8; 16]> = gone.iter().map(|slot| slot.id).collect();
    if !slots.iter().any(|slot| ids.contains(&slot.id)) {
        if custody.shared {
            return Ok((opened, Vec::new()));
        }
        let left = custody.finish_removal(&opened, now())?;
        return Ok((opened, left));
    }
    let roots: Vec<&dyn RootKey> = custody.roots.iter().map(AsRef::as_ref).collect();
    custody.remove_slots(&opened, &ids, &roots, now())
}

/// A removed root in the configuration is asked at every start, in vain.
fn still_configured(custody: &Custody, configured: usize, opened: &Opened, gone: &[Slot]) -> Vec<String> {
    let header = &opened.head.header;
    let opens_one = |root: &dyn RootKey| gone.iter().any(|slot| opens(root, header, slot).is_ok());
    let roots = custody.roots.iter().take(configured).map(AsRef::as_ref);
    let named = roots.filter(|root| opens_one(*root)).map(RootKey::describe);
    named
        .map(|root| format!("take the {root} out of ring.roots"))
        .collect()
}

fn unreachable(opened: &Opened) -> Vec<String> {
    let ids = || opened.ring.keys.iter().map(|key| key.id.as_str());
    let keys = format!(
        "{} to {}",
        ids().next().unwrap_or(""),
        ids().next_back().unwrap_or("")
    );
    let mut what = Vec::new();
    if let Some(backup) = &opened.backup {
        what.push(format!(
            "the backup of generation {}, made {}",
            backup.generation,
            crate::telemetry::shown_time(backup.written)
        ));
    }
    let other = if what.is_empty() { "" } else { " other" };
    what.push(format!(
        "every{other} backup that was made before now, with the keys {keys}"
    ));
    what.push(
        "snapshots of the disks that hold ring or mirror, and what an SSD keeps of deleted files".into(),
    );
    what
}
