//! `kekring config`: checks our configuration; writes kube-apiserver's.

use clap::Subcommand;
use serde::Serialize;

use super::encryption::Encryption;
use super::failure::Failure;
use super::output::{Output, line};
use super::place::Place;
use crate::config::{Config, SCHEMA, shown_duration};
use crate::server::namespace::{Namespace, OVERFLOW};

#[derive(Subcommand)]
pub(super) enum ConfigVerb {
    /// Check kekring's configuration
    Check(Output),
    /// Print the JSON Schema of kekring's configuration, for editors
    Schema,
    /// Write an EncryptionConfiguration for kube-apiserver
    Encryption(Encryption),
}

/// What `config check -o json` prints.
#[derive(Serialize)]
struct Checked {
    file: String,
    valid: bool,
    notes: Vec<String>,
}

impl ConfigVerb {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        match self {
            Self::Check(output) => check(place, output),
            Self::Schema => {
                line(SCHEMA);
                Ok(())
            }
            Self::Encryption(encryption) => encryption.run(place),
        }
    }
}

/// Whether the overflow number, where it is listed, is let in: that is the server's namespace, and another one may be here.
fn overflow_number(config: &Config) -> Option<String> {
    let (users, groups) = (config.socket.allow_users.as_deref(), &config.socket.allow_groups);
    let listed = users.is_some_and(|it| it.contains(&OVERFLOW)) || groups.contains(&OVERFLOW);
    let here = Namespace::own();
    let whole = here.knows_user(OVERFLOW) && here.knows_group(OVERFLOW);
    let verdict = if whole {
        "as in this one: it would be let in"
    } else {
        "and this one does not: it would be refused"
    };
    listed.then(|| {
        format!("{OVERFLOW} is let in where the server's user namespace maps every number, {verdict}; `kekring doctor` says what the server does")
    })
}

fn check(place: &Place, output: &Output) -> Result<(), Failure> {
    let config = place.config()?;
    let mut notes = vec![format!(
        "the active key is replaced every {}",
        shown_duration(config.rotation.period)
    )];
    if config.rotation.period.as_secs() < 3600 {
        notes.push("warning: a rotation.period under an hour is for tests: keys are kept for ever".into());
    }
    if config.ring.roots.len() == 1 {
        notes.push("one root is configured; a recovery code made by `kekring init` is the second".into());
    }
    if config.ring.mirror.as_os_str().is_empty() {
        notes.push("no ring.mirror: the ring and its mark lie on one disk".into());
    }
    notes.extend(overflow_number(&config));
    let file = place.dev.as_ref().map_or_else(
        || place.config_path().display().to_string(),
        |dir| format!("--dev {}", dir.display()),
    );
    let checked = Checked {
        file,
        valid: true,
        notes,
    };
    output.print(&checked, |it| {
        format!("{} is valid\n{}", it.file, it.notes.join("\n"))
    });
    Ok(())
}
