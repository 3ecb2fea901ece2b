//! The way in and out, as pure changes of a document: `read`, then `write`; `exit` back to what shall write instead.

use std::collections::BTreeSet;

use clap::ValueEnum;

use super::document::{Block, Document, Provider};
use super::resources::cover;

/// A step of the way. With several API servers each is finished everywhere before the next begins: what one of them
/// writes, all must read.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Phase {
    /// What kekring encrypts can be read; what wrote before writes on
    Read,
    /// kekring writes; what others wrote can be read
    Write,
    /// Back: what wrote before writes again; what kekring encrypted can be read
    Exit,
}

/// What shall be done.
pub(super) struct Change<'a> {
    pub(super) phase: Phase,
    pub(super) resources: &'a [String],
    pub(super) name: &'a str,
    pub(super) endpoint: &'a str,
    /// For `exit`: who writes from then on.
    pub(super) to: Option<&'a str>,
}

/// Why it is not done.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    /// A provider of our name is somebody else's.
    NameTaken { endpoint: String },
    /// More than one provider could write after the exit.
    Ambiguous { at: usize, candidates: Vec<String> },
    /// There is no such provider to exit to.
    NoSuch { at: usize, candidates: Vec<String> },
    /// There is nothing of ours to exit from.
    Absent { resource: String },
}

/// A whole document for these resources alone.
pub(super) fn alone(change: &Change<'_>) -> Document {
    Document::new(vec![fresh(change, change.resources.to_vec(), change.name)])
}

/// Changes a document, and says what should be known of it.
pub(super) fn merge(document: &mut Document, change: &Change<'_>) -> Result<Vec<String>, Refused> {
    let mut notes = Vec::new();
    let blocks = &mut document.resources;
    if let Some(kms) = blocks
        .iter()
        .flat_map(|block| &block.providers)
        .filter_map(|provider| provider.kms.as_ref())
        .find(|kms| kms.name == change.name && kms.endpoint != change.endpoint)
    {
        let endpoint = kms.endpoint.clone();
        return Err(Refused::NameTaken { endpoint });
    }
    let (touched, uncovered) = touched(blocks, change.resources);
    if let (Phase::Exit, Some(resource)) = (change.phase, uncovered.first()) {
        let resource = resource.clone();
        return Err(Refused::Absent { resource });
    }
    // Names depend on the order in which resources are asked for, not on that of the file.
    let first = uncovered.first() == change.resources.first();
    if first {
        append(blocks, uncovered.as_slice(), change, &mut notes);
    }
    for at in touched {
        let name = free_name(blocks, blocks.get(at).map_or(&[], |it| &it.resources), change);
        let Some(block) = blocks.get_mut(at) else { continue };
        if change_block(block, at, change, &name, &mut notes)? && name != change.name {
            notes.push(named(at, &name));
        }
    }
    if !first {
        append(blocks, uncovered.as_slice(), change, &mut notes);
    }
    Ok(notes)
}

/// A block for what no block is for.
fn append(blocks: &mut Vec<Block>, resources: &[String], change: &Change<'_>, notes: &mut Vec<String>) {
    if resources.is_empty() {
        return;
    }
    let name = free_name(blocks, resources, change);
    if name != change.name {
        notes.push(named(blocks.len(), &name));
    }
    blocks.push(fresh(change, resources.to_vec(), &name));
}

fn fresh(change: &Change<'_>, resources: Vec<String>, name: &str) -> Block {
    let kms = Provider::kms(name, change.endpoint);
    let providers = match change.phase {
        Phase::Read | Phase::Exit => vec![Provider::identity(), kms],
        Phase::Write => vec![kms, Provider::identity()],
    };
    Block { resources, providers }
}

/// The blocks that decide on one of the resources, and the resources that none decides on. A block that comes first wins;
/// a wanted wildcard reaches every block with something of it.
fn touched(blocks: &[Block], wanted: &[String]) -> (Vec<usize>, Vec<String>) {
    let (mut touched, mut uncovered) = (Vec::new(), Vec::new());
    for resource in wanted {
        match blocks.iter().position(|block| cover(&block.resources, resource)) {
            Some(at) => touched.push(at),
            None => uncovered.push(resource.clone()),
        }
        let wanted = std::slice::from_ref(resource);
        let below = blocks.iter().enumerate().filter(|(_, block)| {
            let mut rules = block.resources.iter();
            rules.any(|rule| cover(wanted, rule))
        });
        touched.extend(below.map(|(at, _)| at));
    }
    let mut seen = BTreeSet::new();
    touched.retain(|at| seen.insert(*at));
    (touched, uncovered)
}

/// kube-apiserver wants a name of its own for each block. The first gets the name as it is, the others that name and the
/// resource for which they are changed: the same on every node that is asked for the same.
fn free_name(blocks: &[Block], rules: &[String], change: &Change<'_>) -> String {
    let mut kms = blocks
        .iter()
        .flat_map(|block| &block.providers)
        .filter_map(|it| it.kms.as_ref());
    if kms.all(|kms| kms.name != change.name) {
        return change.name.to_owned();
    }
    let wanted = change.resources.iter().find(|resource| cover(rules, resource));
    let resource = wanted.or(rules.first()).map_or("", String::as_str);
    let plain = resource.replace("*.*", "all").replace('*', "all");
    format!("{}-{}", change.name, plain.trim_end_matches('.'))
}

fn named(at: usize, name: &str) -> String {
    format!("in resources[{at}] the provider is named {name}: each block needs a name of its own, for ever")
}

/// Changes one block, and says whether it got a provider that was not there.
fn change_block(
    block: &mut Block,
    at: usize,
    change: &Change<'_>,
    name: &str,
    notes: &mut Vec<String>,
) -> Result<bool, Refused> {
    let ours = |provider: &Provider| {
        let kms = provider.kms.as_ref();
        kms.is_some_and(|kms| kms.endpoint == change.endpoint)
    };
    let providers = &mut block.providers;
    let place = providers.iter().position(ours);
    let kms = || Provider::kms(name, change.endpoint);
    match (change.phase, place) {
        (Phase::Read, None) => providers.insert(1.min(providers.len()), kms()),
        (Phase::Read, Some(0)) => notes.push(format!(
            "resources[{at}] is past this phase, its first provider is kekring: `--phase exit` leads back"
        )),
        (Phase::Read, Some(_)) => {}
        (Phase::Write, _) => {
            let kms = place.map_or_else(kms, |place| providers.remove(place));
            providers.insert(0, kms);
            identity_last(providers);
        }
        (Phase::Exit, None) => {
            let resource = block.resources.first().cloned().unwrap_or_default();
            return Err(Refused::Absent { resource });
        }
        (Phase::Exit, Some(_)) => {
            let writer = writer(providers, at, change, ours)?;
            identity_last(providers);
            providers.insert(0, writer);
        }
    }
    let others = block
        .resources
        .iter()
        .filter(|rule| !cover(change.resources, rule));
    let others: Vec<&str> = others.map(String::as_str).collect();
    if !others.is_empty() {
        notes.push(format!(
            "resources[{at}] is also for {}: the providers of a block are for all of it",
            others.join(", ")
        ));
    }
    Ok(place.is_none())
}

/// Takes out the provider that shall write after the exit: the one that is named; else the only other one that encrypts,
/// else plain text. Of several none is guessed.
fn writer(
    providers: &mut Vec<Provider>,
    at: usize,
    change: &Change<'_>,
    ours: impl Fn(&Provider) -> bool,
) -> Result<Provider, Refused> {
    let others = || providers.iter().filter(|it| !ours(it));
    let called = |all: &mut dyn Iterator<Item = &Provider>| all.map(|it| it.called().to_owned()).collect();
    let encrypting = || others().filter(|it| it.identity.is_none());
    let wanted = match (change.to, encrypting().count()) {
        (Some(to), _) => to.to_owned(),
        (None, 0) => "identity".to_owned(),
        (None, 1) => encrypting().map(Provider::called).collect(),
        (None, _) => {
            let candidates = called(&mut encrypting());
            return Err(Refused::Ambiguous { at, candidates });
        }
    };
    let place = providers.iter().position(|it| !ours(it) && it.called() == wanted);
    match place {
        Some(place) => Ok(providers.remove(place)),
        None if wanted == "identity" => Ok(Provider::identity()),
        None => {
            let candidates = called(&mut others());
            Err(Refused::NoSuch { at, candidates })
        }
    }
}

/// Plain objects stay readable where they were.
fn identity_last(providers: &mut Vec<Provider>) {
    if let Some(place) = providers.iter().position(|it| it.identity.is_some()) {
        let identity = providers.remove(place);
        providers.push(identity);
    }
}
