//! `kekring ring accept`: an operator decides that what is missing will not come back.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::keys::name;
use super::output::Output;
use super::place::{Place, custody};
use super::together::Together;
use super::wait::{Wait, none_waits};
use crate::custody::{Custody, Frozen, Opened};
use crate::telemetry::{now, plain};

#[derive(Subcommand)]
pub(super) enum RingVerb {
    /// Go on from what is there, when a newer generation of the ring is lost for good
    Accept(Accept),
}

/// A ring is frozen when this node has used a newer generation than any that can be read. First put that generation back:
/// from the mirror, or from a backup by `kekring restore`. Only when it is lost for good, accept: the ring goes on above
/// everything that was ever used here. A key that is in no copy is lost, with what it encrypted.
///
/// Without GENERATION this shows what would be accepted.
#[derive(Args)]
pub(super) struct Accept {
    /// The name of the generation to go on from, as this verb shows it
    #[arg(conflicts_with = "head")]
    generation: Option<String>,
    /// The same; between two ring keys it decides for that of this generation
    #[arg(long, value_name = "GENERATION")]
    head: Option<String>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    output: Output,
}

/// What would be accepted, or was.
#[derive(Serialize)]
struct Decision {
    /// The generation that the ring goes on from.
    from: String,
    /// The generations between whose ring keys it decides.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    between: Vec<String>,
    reasons: Vec<String>,
    /// Whether a generation that is missing destroyed keys, which may be here again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    destruction_lost: bool,
    /// The key that was in use and is in no copy.
    lost: Option<String>,
    accepted: bool,
    generation: u64,
    active: String,
    waiting: Vec<String>,
}

impl RingVerb {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let Self::Accept(accept) = self;
        accept.run(place)
    }
}

impl Accept {
    fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        let mut held = None;
        if let Some(mut together) = Together::of(&config, None)? {
            // What etcd lacks a node may have: nothing is lost before each has shown what it holds.
            together.one_history()?;
            held = together.ring_key().cloned();
        }
        let custody = custody(&config)?;
        let opened = custody.open(held.as_ref(), now())?;
        let Some(frozen) = &opened.frozen else {
            return Err(Failure::refused(
                "there is nothing to accept: the ring is not frozen",
                "see `kekring status`",
            ));
        };
        if !frozen.is_acceptable() {
            return Err(Failure::refused(
                format!("cannot accept the ring as it is: {frozen}"),
                frozen.remedy(),
            ));
        }
        let wanted = self.head.as_ref().or(self.generation.as_ref());
        let between: Vec<String> = frozen.heads().cloned().collect();
        let chosen = wanted.filter(|name| between.contains(name));
        let opened = match chosen {
            Some(name) => custody.open_for(&opened, name, now())?,
            None => opened,
        };
        let mut decision = decision(&opened, between);
        if wanted != Some(&decision.from) || (chosen.is_none() && !decision.between.is_empty()) {
            self.output.print(&decision, text);
            return Err(undecided(wanted, &decision));
        }
        let after = custody.accept(&opened, now())?;
        decision.accepted = true;
        decision.generation = after.ring.generation;
        decision.active = name(after.ring.active());
        decision.waiting = self.wait.for_server(
            &config,
            after.ring.generation,
            Some(&after.ring_key),
            self.output.form,
        );
        self.output.print(&decision, text);
        none_waits(&config, &decision.waiting)
    }
}

fn undecided(wanted: Option<&String>, decision: &Decision) -> Failure {
    let hint = match decision.between.as_slice() {
        [] => format!(
            "`kekring ring accept {}` decides so; it cannot be undone",
            decision.from
        ),
        heads => format!(
            "`kekring ring accept --head {}` decides so; it cannot be undone",
            heads.join("`, or `kekring ring accept --head ")
        ),
    };
    match wanted {
        None => Failure::refused("nothing was accepted", hint),
        Some(other) => Failure::refused(
            format!("nothing was accepted: {other} is not the generation to go on from"),
            hint,
        ),
    }
}

fn decision(opened: &Opened, between: Vec<String>) -> Decision {
    let reasons = opened.frozen.iter().flat_map(Frozen::reasons);
    Decision {
        from: opened.head.name.trim_end_matches(".ring").to_owned(),
        between,
        reasons: reasons.map(ToString::to_string).collect(),
        lost: opened.lost().map(ToString::to_string),
        destruction_lost: opened.destruction_is_lost(),
        accepted: false,
        generation: Custody::accepted_generation(opened),
        active: name(opened.ring.active()),
        waiting: Vec::new(),
    }
}

fn text(it: &Decision) -> String {
    let mut text = String::new();
    for reason in &it.reasons {
        text += &format!("frozen: {}\n", plain(reason));
    }
    match &it.lost {
        Some(id) => {
            text +=
                &format!("lost: key {id} was in use and is in no copy; what it encrypted cannot be read\n");
        }
        None => text += "lost: no key that was in use\n",
    }
    if it.destruction_lost {
        text += "lost: that keys were destroyed; they may be here again\n";
    }
    text += &match it.accepted {
        true => format!(
            "accepted: the ring goes on from {} as generation {}, active key {}",
            it.from, it.generation, it.active
        ),
        false if !it.between.is_empty() => format!(
            "the ring would go on under the ring key of {}",
            it.between.join(", or of ")
        ),
        false => format!(
            "the ring would go on from {} as generation {}",
            it.from, it.generation
        ),
    };
    text
}
