//! `kekring config`: checks our configuration; writes kube-apiserver's.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::failure::Failure;
use super::output::Output;
use super::place::Place;
use crate::config::shown_duration;

#[derive(Subcommand)]
pub(super) enum ConfigVerb {
    /// Check kekring's configuration
    Check(Output),
    /// Write an EncryptionConfiguration for kube-apiserver
    Encryption(Encryption),
}

/// Encryption is turned on in two steps: first every kube-apiserver can read (`--phase read`), then they write
/// (`--phase write`). With one kube-apiserver, `write` at once is right.
#[derive(Args)]
pub(super) struct Encryption {
    /// Which step
    #[arg(long, value_enum, default_value = "write")]
    phase: Phase,
    /// The resources to encrypt, by commas
    #[arg(long, value_name = "LIST", default_value = "secrets", value_delimiter = ',')]
    resources: Vec<String>,
    /// The provider's name: part of every stored object, the same on all nodes, never to be changed
    #[arg(long, default_value = "kekring")]
    name: String,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// New objects stay plain; encrypted ones can be read
    Read,
    /// New objects are encrypted; plain ones can be read
    Write,
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
            Self::Encryption(encryption) => encryption.run(place),
        }
    }
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

// kube-apiserver's types, as far as we write them (apiserver.config.k8s.io/v1).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EncryptionConfiguration {
    api_version: &'static str,
    kind: &'static str,
    resources: Vec<Resources>,
}

#[derive(Serialize)]
struct Resources {
    resources: Vec<String>,
    providers: Vec<Provider>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Provider {
    Kms(Kms),
    Identity {},
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kms {
    api_version: &'static str,
    name: String,
    endpoint: String,
    timeout: &'static str,
}

impl Encryption {
    fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        let document = encryption(&config.socket.path, &self.name, &self.resources, self.phase)?;
        // YAML is its text; kube-apiserver reads JSON as well.
        self.output.try_print(&document, yaml)
    }
}

/// The configuration that encrypts Secrets through the socket at `path`.
pub(super) fn encrypting(path: &std::path::Path) -> Result<String, Failure> {
    yaml(&encryption(
        path,
        "kekring",
        &["secrets".to_owned()],
        Phase::Write,
    )?)
}

fn yaml(document: &EncryptionConfiguration) -> Result<String, Failure> {
    serde_saphyr::to_string(document)
        .map_err(|why| Failure::failed(format!("cannot write the configuration: {why}"), ""))
}

fn encryption(
    socket: &std::path::Path,
    name: &str,
    resources: &[String],
    phase: Phase,
) -> Result<EncryptionConfiguration, Failure> {
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != ':');
    if !plain(name) {
        return Err(Failure::usage(
            format!("cannot name the provider {name:?}: kube-apiserver wants a name without ':'"),
            "leave --name away, unless there is a second resources block",
        ));
    }
    if let Some(odd) = resources.iter().find(|resource| !plain(resource)) {
        return Err(Failure::usage(
            format!("cannot encrypt the resource {odd:?}"),
            "name resources as `secrets` or `configmaps`, those of a group as `things.example.com`",
        ));
    }
    let kms = Provider::Kms(Kms {
        // It defaults to v1, which kube-apiserver no longer serves.
        api_version: "v2",
        name: name.to_owned(),
        endpoint: format!("unix://{}", socket.display()),
        timeout: "3s",
    });
    let providers = match phase {
        Phase::Read => vec![Provider::Identity {}, kms],
        Phase::Write => vec![kms, Provider::Identity {}],
    };
    Ok(EncryptionConfiguration {
        api_version: "apiserver.config.k8s.io/v1",
        kind: "EncryptionConfiguration",
        resources: vec![Resources {
            resources: resources.to_vec(),
            providers,
        }],
    })
}
