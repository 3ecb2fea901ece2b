//! `kekring config encryption`: kube-apiserver's configuration, for each step of the way in and out, alone or as a change
//! of the one that is in use.

mod document;
mod phases;
mod place;
mod resources;
mod rules;

use std::fmt::Write;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::{Output, note};
use super::place::Place;
use document::Document;
use phases::{Change, Phase, Refused};

/// What becomes of a kube-apiserver that cannot read its own objects; tests/apiserver shows it.
const EVERYTHING: &str = "with *.* kube-apiserver does not start without kekring: /livez fails, and it ends itself after half a minute, as often as it is started; see that kekring starts first";

#[derive(Args)]
pub(super) struct Encryption {
    /// Which step
    #[arg(long, value_enum, default_value = "write")]
    phase: Phase,
    /// The resources to encrypt, by commas: secrets, things.example.com, *.apps, *.*
    #[arg(long, value_name = "LIST", default_value = "secrets", value_delimiter = ',')]
    resources: Vec<String>,
    /// Change this EncryptionConfiguration, which may be YAML or JSON, and keep its other providers; `-` is standard input
    #[arg(long, value_name = "FILE")]
    merge: Option<PathBuf>,
    /// With --phase exit: who writes from then on; identity, aescbc, aesgcm, secretbox, or the name of another KMS
    #[arg(long, value_name = "PROVIDER", requires = "merge")]
    to: Option<String>,
    /// The provider's name: part of every stored object, the same on all nodes, never to be changed
    #[arg(long, default_value = "kekring")]
    name: String,
    /// Write it to this file, which its owner alone can read (0600), in one step; with --merge it may be the same file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

impl Encryption {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let config = place.config()?;
        let endpoint = endpoint(&config.socket.path)?;
        let change = Change {
            phase: self.phase,
            resources: &self.resources,
            name: &self.name,
            endpoint: &endpoint,
            to: self.to.as_deref(),
        };
        self.check()?;
        let (document, mut notes) = match &self.merge {
            None => (phases::alone(&change), Vec::new()),
            Some(file) => self.merged(file, &change)?,
        };
        rules::check(&document).map_err(|why| {
            Failure::usage(
                format!("cannot write a configuration that kube-apiserver refuses: {why}"),
                "name other resources, or another --name",
            )
        })?;
        if let Phase::Read | Phase::Write = self.phase
            && is_for(&self.resources, "*.*")
        {
            notes.push(EVERYTHING.into());
        }
        // YAML is its text; kube-apiserver reads JSON as well.
        match &self.out {
            None => self.output.print(&document, Document::yaml),
            Some(file) => {
                let text = self.output.made(&document, Document::yaml);
                notes.extend(place::put(file, &format!("{}\n", text.trim_end()))?);
            }
        }
        if document.holds_secrets() {
            notes.push("it holds the keys of other providers: let nobody but root read it".into());
        }
        for text in notes {
            note("note", &text);
        }
        note("next", &self.next());
        Ok(())
    }

    fn check(&self) -> Result<(), Failure> {
        rules::check_name(&self.name, "v2").map_err(|why| {
            Failure::usage(
                format!("cannot name the provider {:?}: {why}", self.name),
                "leave --name away, unless there is a second resources block",
            )
        })?;
        rules::check_resources(&self.resources).map_err(|why| {
            Failure::usage(
                format!("cannot encrypt these resources: {why}"),
                "name resources as `secrets` or `configmaps`, those of a group as `things.example.com` or `*.example.com`",
            )
        })
    }

    fn merged(&self, file: &Path, change: &Change<'_>) -> Result<(Document, Vec<String>), Failure> {
        let unusable = |why: String| {
            Failure::usage(
                format!(
                    "cannot use {} as an EncryptionConfiguration: {why}",
                    file.display()
                ),
                "it must be one that kube-apiserver accepts; `--out FILE` may be the file that is read, and `> FILE` empties it first",
            )
        };
        let text = read(file).map_err(|why| unusable(why.to_string()))?;
        let mut document = Document::parse(&text).map_err(unusable)?;
        rules::check(&document).map_err(unusable)?;
        let notes = phases::merge(&mut document, change).map_err(|why| self.refused(why, file))?;
        Ok((document, notes))
    }

    fn refused(&self, why: Refused, file: &Path) -> Failure {
        let file = file.display();
        match why {
            Refused::NameTaken { endpoint } => Failure::refused(
                format!(
                    "cannot add the provider {:?} to {file}: it is there with the endpoint {endpoint}",
                    self.name
                ),
                "if the socket has moved, change the endpoint in the file first; another plugin needs another --name",
            ),
            Refused::Ambiguous { at, candidates } => Failure::usage(
                format!(
                    "cannot choose who writes after kekring in resources[{at}] of {file}: {}",
                    candidates.join(", ")
                ),
                "say it with --to, or --to identity for plain text",
            ),
            Refused::NoSuch { at, candidates } => Failure::usage(
                format!(
                    "cannot exit to {:?}: resources[{at}] of {file} has {}",
                    self.to.as_deref().unwrap_or_default(),
                    candidates.join(", ")
                ),
                "name one of them, or identity",
            ),
            Refused::Absent { resource } => Failure::usage(
                format!("cannot exit: {file} has no provider of this plugin for {resource}"),
                "give the file that is in use, and the --resources that kekring encrypts; check socket.path",
            ),
        }
    }

    /// What comes after this step.
    fn next(&self) -> String {
        match self.phase {
            Phase::Read => "wait until every kube-apiserver has taken it (`kubectl get --raw '/readyz?verbose'`), then --phase write".to_owned(),
            Phase::Write => "where more than one kube-apiserver runs, --phase read comes first; when every one has taken this, rewrite what is older (deploy/rewrite)".to_owned(),
            Phase::Exit => format!(
                "wait until every kube-apiserver has taken it, rewrite everything (deploy/rewrite), look into etcd for k8s:enc:kms:v2:{}, then take kekring out of the file; keep the ring as long as there are backups of etcd",
                self.name
            ),
        }
    }
}

/// What kube-apiserver would not accept of an EncryptionConfiguration. Nothing of its keys is in it.
pub(super) fn refused(text: &str) -> Option<String> {
    let checked = Document::parse(text).and_then(|document| rules::check(&document));
    checked.err()
}

/// Whether one of these rules is for a resource.
pub(super) fn is_for(rules: &[String], resource: &str) -> bool {
    resources::cover(rules, resource)
}

/// A duration as Go writes it, in seconds.
pub(super) fn go_duration(text: &str) -> Option<f64> {
    rules::go_duration(text)
}

fn read(file: &Path) -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        std::fs::File::open(file)?.read_to_string(&mut text)?;
    }
    Ok(text)
}

/// The configuration that encrypts Secrets through the socket at `path`.
pub(super) fn encrypting(path: &Path) -> Result<String, Failure> {
    Ok(phases::alone(&Change {
        phase: Phase::Write,
        resources: &["secrets".to_owned()],
        name: "kekring",
        endpoint: &endpoint(path)?,
        to: None,
    })
    .yaml())
}

/// The socket as a URL. kube-apiserver reads its path twice over, so that `%`, `?` and `#` do not come through in any form,
/// and takes what begins with `@` for an abstract socket.
pub(super) fn endpoint(socket: &Path) -> Result<String, Failure> {
    let bytes = socket.as_os_str().as_bytes();
    if bytes.starts_with(b"/@") || bytes.iter().any(|byte| b"%?#".contains(byte)) {
        return Err(Failure::usage(
            format!(
                "cannot name {} to kube-apiserver: it would look for another socket",
                socket.display()
            ),
            "set a socket.path without '%', '?', '#', and without '@' at its beginning",
        ));
    }
    let mut url = "unix://".to_owned();
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"/-_.~@+,=".contains(byte) {
            url.push(char::from(*byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
    Ok(url)
}

#[cfg(test)]
mod tests;
