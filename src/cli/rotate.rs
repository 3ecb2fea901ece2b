//! `kekring rotate`: activates the prepared key and prepares the next, resumes what is in flight, and waits until the
//! running server uses it.

use std::time::{Duration, Instant};

use clap::{ArgGroup, Args};
use serde::Serialize;

use super::failure::Failure;
use super::keys::name;
use super::output::{Form, Output, note, warned};
use super::place::{Place, custody};
use super::together::{Together, behind};
use super::wait::{Wait, none_waits};
use crate::config::{Config, duration, shown_duration};
use crate::crypto::random;
use crate::crypto::secret::Key32;
use crate::custody::{CommitError, Custody, Opened, Share};
use crate::keyring::lifecycle::{self, Refusal};
use crate::keyring::members::NodeName;
use crate::keyring::ring::Activate;
use crate::keyring::schedule::{self, Clocks};
use crate::member::{Want, node_name};
use crate::telemetry::now;

const PREPARED: &str = "prepared a new key; `kekring rotate --activate` activates it";
const ROTATED: &str =
    "rotated; old keys still decrypt, and old data stays as it is until it is written again";
/// The rewriting is for who needs it; too early, it does nothing.
const NEXT: &str = "each kube-apiserver takes the new key with its next Status, within a minute: `kekring status` then shows it for each connection; only after that rewrite what the old key must no longer protect, by deploy/rewrite";

/// The prepared key becomes active: kube-apiserver encrypts under it from its next Status on, at most a minute later.
/// Old keys still decrypt, and old data stays as it is until it is written again.
#[derive(Args)]
#[command(group = ArgGroup::new("how").args(["fresh", "prepare", "activate"]))]
pub(super) struct Rotate {
    /// Skip the prepared key and activate a new one, for a compromise
    #[arg(long)]
    fresh: bool,
    /// Prepare a new key and leave its activation to `rotate --activate`
    #[arg(long)]
    prepare: bool,
    /// Activate the prepared key
    #[arg(long)]
    activate: bool,
    /// Do nothing while the active key is younger, for timers
    #[arg(long, value_name = "AGE", value_parser = duration)]
    if_older_than: Option<Duration>,
    /// Do not wait for this node, which is gone or cut off: what it does not hold it cannot read
    #[arg(long, value_name = "NODE", value_parser = node_name)]
    without: Vec<NodeName>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
}

/// What was done.
#[derive(Serialize)]
struct Outcome {
    rotated: bool,
    generation: u64,
    active: String,
    next: String,
    message: String,
    warnings: Vec<String>,
    waiting: Vec<String>,
}

impl Rotate {
    /// `rotate --fresh`, as a part of another verb.
    pub(super) fn fresh(wait: Wait, output: Output) -> Self {
        Self {
            fresh: true,
            prepare: false,
            activate: false,
            if_older_than: None,
            without: Vec::new(),
            wait,
            output,
        }
    }

    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        if let Some(together) = Together::of(&config, None)? {
            return self.together(&config, together);
        }
        if !self.without.is_empty() {
            return Err(Failure::usage(
                "cannot rotate without a node: the ring is in files, and one node has it for itself",
                "leave --without away",
            ));
        }
        let custody = custody(&config)?;
        let opened = custody.open(None, now())?;
        if let Some(refusal) = &opened.refusing {
            return Err(Failure::refused(
                format!("cannot rotate: {refusal}"),
                "put the newest generation back from the mirror or a backup",
            ));
        }
        let age = schedule::age(&opened.ring, clocks(&opened));
        if self.if_older_than.is_some_and(|least| age < least) {
            let message = format!("not rotated: the active key is {} old", shown_duration(age));
            self.report(&opened, false, message, Vec::new());
            return Ok(());
        }
        let opened = self.change(&custody, opened)?;
        let waiting = self.wait.for_server(
            &config,
            opened.ring.generation,
            Some(&opened.ring_key),
            self.output.form,
        );
        let message = if self.prepare {
            PREPARED.to_owned()
        } else {
            ROTATED.to_owned()
        };
        self.report(&opened, !self.prepare, message, waiting.clone());
        none_waits(&config, &waiting)
    }

    /// Several nodes: any of them finishes what this begins.
    fn together(&self, config: &Config, mut together: Together) -> Result<(), Failure> {
        let deadline = Instant::now() + self.wait.timeout;
        together.one_history()?;
        let opened = together.registered()?;
        let age = schedule::age(&opened.ring, clocks(opened));
        if self.if_older_than.is_some_and(|least| age < least) {
            let message = format!("not rotated: the active key is {} old", shown_duration(age));
            self.report(opened, false, message, Vec::new());
            return Ok(());
        }
        let custody = custody(config)?;
        let mut waiting = Vec::new();
        if self.fresh && opened.ring.proposal.is_some() {
            // What is in flight comes first: its key is not fresh.
            waiting = self.activate_together(&mut together, deadline)?;
        }
        if (self.fresh || self.prepare) && waiting.is_empty() {
            let how = if self.fresh {
                Activate::Auto
            } else {
                Activate::Manual
            };
            let share = if self.fresh { Share::All } else { Share::Rotation };
            let opened = custody.open(together.ring_key(), now())?;
            propose(&custody, &opened, how, share)?;
            together.refresh()?;
        }
        if !self.prepare && waiting.is_empty() {
            waiting = self.activate_together(&mut together, deadline)?;
        }
        let mut late = Vec::new();
        if !self.prepare && waiting.is_empty() {
            late = self.taken_by_all(&mut together, deadline)?;
        }
        let opened = together.registered()?;
        let message = match (waiting.is_empty(), self.prepare) {
            (_, true) => PREPARED,
            (true, false) => ROTATED,
            (false, false) => "not finished: any node goes on with it as soon as it can",
        };
        let all = [&waiting[..], &late[..]].concat();
        self.report(opened, !self.prepare, message.to_owned(), all);
        if !late.is_empty() {
            return Err(Failure::unfinished(
                format!("the key is active, and is not used yet by {}", late.join(", ")),
                "nothing is left to do: the node takes it by itself once it is back; to run this again would be another rotation",
            ));
        }
        none_waits(config, &waiting)
    }

    /// Makes the next key active; for whom that waits.
    fn activate_together(&self, together: &mut Together, deadline: Instant) -> Result<Vec<String>, Failure> {
        let next = together.registered()?.ring.pre_active().map(|key| key.id.clone());
        let Some(next) = next else {
            return Err(CommitError::Refused(Refusal::Incomplete).into());
        };
        let want = Want {
            asked: Some(next.clone()),
            without: self.without.clone(),
            ..Want::nothing()
        };
        let what = (self.output.form, "the next key becomes active");
        let waiting = together.until(&want, deadline, what, |opened, standing| {
            match opened.ring.active().is_some_and(|key| key.id >= next) {
                true => Vec::new(),
                false => vec![format!(
                    "generation {} to be followed by another",
                    standing.generation
                )],
            }
        })?;
        Ok(waiting)
    }

    /// Waits until every node that counts has taken the active key; who has not.
    fn taken_by_all(&self, together: &mut Together, deadline: Instant) -> Result<Vec<String>, Failure> {
        let active = together.registered()?.ring.generation;
        let what = (self.output.form, "it is active");
        together.until(&Want::nothing(), deadline, what, |_, standing| {
            behind(standing, active, &self.without)
        })
    }

    fn change(&self, custody: &Custody, opened: Opened) -> Result<Opened, Failure> {
        let opened = custody.store_join(opened, now())?;
        if self.prepare {
            return propose(custody, &opened, Activate::Manual, Share::Rotation);
        }
        if self.fresh {
            return rotate_fresh(custody, opened);
        }
        activate(custody, &opened, Share::Rotation)
    }

    fn report(&self, opened: &Opened, rotated: bool, message: String, waiting: Vec<String>) {
        let outcome = Outcome {
            rotated,
            generation: opened.ring.generation,
            active: name(opened.ring.active()),
            next: name(opened.ring.pre_active()),
            message,
            // Who makes no backups by this program is not told at every rotation.
            warnings: opened
                .backup
                .iter()
                .filter_map(|_| opened.backup_warning())
                .chain(opened.growth_warning(now()))
                .collect(),
            waiting,
        };
        self.output.print(&outcome, |it| {
            let text = format!(
                "{}\ngeneration  {}\nactive key  {}\nnext key    {}",
                it.message, it.generation, it.active, it.next
            );
            text + &warned(&it.warnings)
        });
        if rotated && outcome.waiting.is_empty() && self.output.form == Form::Text {
            note("next", NEXT);
        }
    }
}

/// Skips the prepared key: what was prepared may be known too.
pub(super) fn rotate_fresh(custody: &Custody, mut opened: Opened) -> Result<Opened, Failure> {
    // What is in flight comes first: its key is not fresh.
    if opened.ring.proposal.is_some() {
        opened = activate(custody, &opened, Share::All)?;
    }
    opened = propose(custody, &opened, Activate::Auto, Share::All)?;
    activate(custody, &opened, Share::All)
}

fn activate(custody: &Custody, opened: &Opened, share: Share) -> Result<Opened, Failure> {
    let next = lifecycle::activate(&opened.ring, Key32::generate()?, now()).map_err(CommitError::Refused)?;
    Ok(custody.rotate(opened, next, share, now())?)
}

fn propose(custody: &Custody, opened: &Opened, how: Activate, share: Share) -> Result<Opened, Failure> {
    let next = lifecycle::propose_fresh(&opened.ring, Key32::generate()?, random()?, how, now())
        .map_err(CommitError::Refused)?;
    Ok(custody.rotate(opened, next, share, now())?)
}

/// A verb has no monotonic history of its own.
pub(super) fn clocks(opened: &Opened) -> Clocks {
    Clocks {
        now: now(),
        seen: opened.mark.as_ref().map(|mark| mark.seen),
        settled: Duration::ZERO,
    }
}
