//! The steps of `config encryption --merge`, in the verb's order.

#[path = "../../src/cli/encryption/document.rs"]
mod document;
#[path = "../../src/cli/encryption/phases.rs"]
mod phases;
#[path = "../../src/cli/encryption/resources.rs"]
mod resources;
#[path = "../../src/cli/encryption/rules.rs"]
mod rules;

use document::Document;
use phases::{Change, Phase};

/// A merge that was done.
pub struct Merged {
    /// The keys of other providers, before.
    pub before: Vec<String>,
    /// And after.
    pub after: Vec<String>,
    /// What it prints.
    pub yaml: String,
    /// What it says beside it.
    pub notes: Vec<String>,
}

/// Reads a document and writes it again as it is.
pub fn rewritten(text: &str) -> Result<String, String> {
    let document = Document::parse(text)?;
    rules::check(&document)?;
    Ok(document.yaml())
}

/// Merges into `text` by one of the three phases.
pub fn merged(text: &str, phase: u8, resources: &[String]) -> Result<Merged, String> {
    let mut document = Document::parse(text)?;
    rules::check(&document)?;
    rules::check_resources(resources)?;
    let change = Change {
        phase: [Phase::Read, Phase::Write, Phase::Exit][usize::from(phase % 3)],
        resources,
        name: "kekring",
        endpoint: "unix:///run/kekring/kms.sock",
        to: None,
    };
    let before = keys(&document);
    let notes = phases::merge(&mut document, &change).map_err(|why| format!("{why:?}"))?;
    rules::check(&document)?;
    Ok(Merged {
        before,
        after: keys(&document),
        yaml: document.yaml(),
        notes,
    })
}

fn keys(document: &Document) -> Vec<String> {
    let providers = document.resources.iter().flat_map(|block| &block.providers);
    let mut keys: Vec<String> = providers
        .filter_map(|it| it.keys())
        .flat_map(|(kind, keys)| {
            keys.iter()
                .map(move |key| format!("{kind} {} {}", key.name, key.secret.expose()))
        })
        .collect();
    keys.sort_unstable();
    keys
}
