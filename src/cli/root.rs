//! `kekring root`: the root slots, each of which opens the ring.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, table};
use super::place::{Place, custody};
use super::progress::Progress;
use super::recovery::OpenWith;
use super::{root_add, root_remove};
use crate::custody::{Header, Slot, opens};
use crate::root::{RootError, RootKey, kind_name};
use crate::telemetry::now;

#[derive(Subcommand)]
pub(super) enum Root {
    /// List the root slots; needs no root
    List(Output),
    /// Make a slot for each configured root that opens none, or for a new recovery code
    Add(root_add::Add),
    /// Remove slots for good: a new ring key, and what is under the old one counts for nothing
    Remove(root_remove::Remove),
    /// Try each configured root on each slot
    Verify(Verify),
}

impl Root {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        match self {
            Self::List(output) => list(place, output),
            Self::Add(add) => add.run(place),
            Self::Remove(remove) => remove.run(place),
            Self::Verify(verify) => verify.run(place),
        }
    }
}

/// A slot, as it is printed.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) id: String,
    kind: String,
    pub(super) name: String,
}

/// What `root list -o json` prints.
#[derive(Serialize)]
struct Listing {
    ring: String,
    generation: u64,
    slots: Vec<Row>,
}

fn list(place: &Place, output: &Output) -> Result<(), Failure> {
    let header = custody(&place.config()?)?.header()?;
    let listing = Listing {
        ring: header.ring_id.to_string(),
        generation: header.generation,
        slots: rows(&header.slots),
    };
    output.print(&listing, |listing| {
        let rows: Vec<_> = listing.slots.iter().map(Row::cells).collect();
        let mut text = table(&["SLOT", "KIND", "NAME"], &rows);
        if rows.len() == 1 {
            text += "\n\nwarning: there is one root slot only: when that root is lost, so is every Secret";
        }
        text
    });
    Ok(())
}

/// A recovery code on paper is only as good as the last time that it was tried.
#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    open_with: OpenWith,
    #[command(flatten)]
    output: Output,
}

/// What `root verify -o json` prints.
#[derive(Serialize)]
struct Verified {
    roots: Vec<Tried>,
    /// Slots that none of these roots opens.
    untried: Vec<Row>,
}

/// One root on every slot.
#[derive(Serialize)]
pub(super) struct Tried {
    pub(super) root: String,
    pub(super) opens: Vec<String>,
    pub(super) why: Option<String>,
}

impl Verify {
    fn run(&self, place: &Place) -> Result<(), Failure> {
        let mut custody = custody(&place.config()?)?;
        custody.roots.extend(self.open_with.root()?);
        let busy = Progress::begin(self.output.form, "trying each root on each slot");
        let opened = custody.open(None, now())?;
        let header = &opened.head.header;
        let tried: Vec<Tried> = custody
            .roots
            .iter()
            .map(|root| tried(root.as_ref(), header, opened.ring_key.expose()))
            .collect();
        drop(busy);
        let opened = |slot: &Slot| tried.iter().any(|it| it.opens.contains(&id(slot)));
        let untried = header
            .slots
            .iter()
            .filter(|slot| !opened(slot))
            .map(row)
            .collect();
        let verified = Verified {
            roots: tried,
            untried,
        };
        self.output.print(&verified, text);
        match verified.roots.iter().filter(|it| it.opens.is_empty()).count() {
            0 => Ok(()),
            idle => Err(Failure::failed(
                format!("{idle} of {} roots open no slot", verified.roots.len()),
                "bring it back, or `kekring root add` to make a slot for it",
            )),
        }
    }
}

pub(super) fn tried(root: &dyn RootKey, header: &Header, ring_key: &[u8; 32]) -> Tried {
    let (mut open, mut whys) = (Vec::new(), Vec::new());
    for slot in header
        .slots
        .iter()
        .filter(|slot| slot.kind == i32::from(root.kind()))
    {
        match opens(root, header, slot) {
            Ok(key) if key.expose() == ring_key => open.push(id(slot)),
            Ok(_) => whys.push("it opens to another ring key".to_owned()),
            // Another root's slot of the same kind.
            Err(RootError::WrongRoot) => {}
            Err(why) => whys.push(why.to_string()),
        }
    }
    whys.dedup();
    if open.is_empty() && whys.is_empty() {
        whys.push("no slot was made with it".into());
    }
    Tried {
        root: root.describe(),
        opens: open,
        why: (!whys.is_empty()).then(|| whys.join("; ")),
    }
}

fn text(verified: &Verified) -> String {
    let result = |it: &Tried| match (&it.why, it.opens.as_slice()) {
        (Some(why), []) => format!("nothing: {why}"),
        (Some(why), slots) => format!("{}; {why}", slots.join(", ")),
        (None, slots) => slots.join(", "),
    };
    let rows: Vec<_> = verified
        .roots
        .iter()
        .map(|it| vec![it.root.clone(), result(it)])
        .collect();
    let mut text = table(&["ROOT", "OPENS SLOT"], &rows);
    if !verified.untried.is_empty() {
        let rows: Vec<_> = verified.untried.iter().map(Row::cells).collect();
        text += "\n\nnot opened by any of these:\n";
        text += &table(&["SLOT", "KIND", "NAME"], &rows);
        text += "\n\n`--open-with -` asks for a recovery code and tries it too";
    }
    text
}

/// A slot's name for the command line: 32 hexadecimal digits.
pub(super) fn id(slot: &Slot) -> String {
    data_encoding::HEXLOWER.encode(&slot.id)
}

pub(super) fn rows(slots: &[Slot]) -> Vec<Row> {
    slots.iter().map(row).collect()
}

pub(super) fn row(slot: &Slot) -> Row {
    Row {
        id: id(slot),
        kind: kind_name(slot.kind),
        name: slot.name.clone(),
    }
}

impl Row {
    pub(super) fn cells(&self) -> Vec<String> {
        vec![self.id.clone(), self.kind.clone(), self.name.clone()]
    }
}
