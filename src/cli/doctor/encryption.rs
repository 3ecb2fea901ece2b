//! kube-apiserver's EncryptionConfiguration: each provider by itself, then what they make together.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Findings, at_line};
use super::manifest::{Manifest, OnNode};
use super::providers::{Block, Kms, Provider, Socket, blocks};
use super::read;
use crate::cli::encryption::{go_duration, refused};
use crate::config::yaml;

/// An EncryptionConfiguration that could be read.
pub(super) struct Configuration {
    pub(super) path: PathBuf,
    pub(super) blocks: Vec<Block>,
}

/// Where the API server's flag leads, on the node.
pub(super) fn file(manifest: &Manifest, findings: &mut Findings) -> Option<PathBuf> {
    const FLAG: &str = "--encryption-provider-config";
    let Some(flag) = manifest.flag("encryption-provider-config") else {
        findings.failure(
            "manifest/encryption-flag",
            manifest.at(None),
            format!("{FLAG} is missing: kube-apiserver encrypts nothing"),
            format!("add `- {FLAG}=/etc/kubernetes/kekring/encryption.yaml` to its command"),
        );
        return None;
    };
    let path = Path::new(&flag.value);
    findings.ok(
        "manifest/encryption-flag",
        manifest.at(flag.line),
        format!("{FLAG}={}", flag.value),
    );
    let id = "manifest/config-mounted";
    let OnNode::Here(on_node, mount) = manifest.on_node(path) else {
        findings.failure(
            id,
            manifest.at(flag.line),
            format!(
                "{} is in no directory of the node: kube-apiserver does not find it and does not start",
                flag.value
            ),
            format!(
                "mount its directory: a hostPath of type Directory at {}",
                parent(path)
            ),
        );
        return None;
    };
    match path == mount.container() && mount.is_single() {
        true => findings.warning(
            "manifest/config-mounted-as-file",
            manifest.at(mount.line),
            format!("{} is mounted as a single file: when it is replaced, kube-apiserver sees the old one until its restart", flag.value),
            format!("mount its directory instead: a hostPath of type Directory at {}", parent(path)),
        ),
        false => findings.ok(id, manifest.at(mount.line), format!("its directory is mounted, the file is {}", on_node.display())),
    }
    Some(on_node)
}

fn parent(path: &Path) -> String {
    path.parent().unwrap_or(path).display().to_string()
}

/// Reads an EncryptionConfiguration; says in `area` what stands in the way.
pub(super) fn read(
    path: &Path,
    (manifest, socket): (Option<&Manifest>, Option<&Path>),
    id: &'static str,
    findings: &mut Findings,
) -> Option<(Configuration, Metadata, Option<String>)> {
    let shown = path.display();
    let (text, about) = match read::text(path) {
        Ok(read) => read,
        Err(why) => {
            const REMEDY: &str =
                "name it with --encryption-config; `kekring config encryption --phase read` writes one";
            why.report(id, path, "the EncryptionConfiguration", REMEDY, findings);
            return None;
        }
    };
    let Ok(tree) = yaml::load(&text) else {
        findings.failure(
            id,
            shown,
            format!(
                "kube-apiserver does not accept it: {}",
                refused(&text).unwrap_or_default()
            ),
            "mend that line; `kekring config encryption --merge FILE` says the same",
        );
        return None;
    };
    let configuration = Configuration {
        path: path.to_owned(),
        blocks: blocks(&tree, manifest, socket),
    };
    Some((configuration, about, refused(&text)))
}

/// The one that is in use.
pub(super) fn look(
    path: &Path,
    manifest: Option<&Manifest>,
    socket: Option<&Path>,
    findings: &mut Findings,
) -> Option<Configuration> {
    let (configuration, about, refused) = read(path, (manifest, socket), "encryption/readable", findings)?;
    findings.ok("encryption/readable", path.display(), "it is there");
    configuration.check(socket, manifest.is_some(), findings);
    // What was said already in other words is not said again.
    let said = [
        "encryption/name",
        "encryption/cachesize",
        "encryption/endpoint-form",
    ];
    match refused {
        Some(why) if !said.iter().any(|id| findings.has_failure(id)) => findings.failure(
            "encryption/accepted",
            path.display(),
            format!("kube-apiserver does not accept it: {why}"),
            "mend that place; kube-apiserver goes on with what it had, and does not start again with this",
        ),
        Some(_) => {}
        None => findings.ok(
            "encryption/accepted",
            path.display(),
            "it has the form that kube-apiserver wants",
        ),
    }
    configuration.check_mode(about.mode(), findings);
    Some(configuration)
}

impl Configuration {
    pub(super) fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.blocks.iter().flat_map(|block| &block.providers)
    }

    pub(super) fn at(&self, line: Option<usize>) -> String {
        at_line(&self.path, line)
    }

    /// Whether a provider leads to this kekring.
    pub(super) fn asks_us(&self) -> bool {
        self.providers().any(Provider::is_ours)
    }

    fn check(&self, socket: Option<&Path>, mounts: bool, findings: &mut Findings) {
        let mut names = BTreeSet::new();
        for kms in self.providers().filter_map(|it| it.kms.as_ref()) {
            self.check_version(kms, findings);
            self.check_name(kms, &mut names, findings);
            self.check_timeout(kms, findings);
            self.check_endpoint(kms, (socket, mounts), findings);
        }
        if socket.is_some() && !self.asks_us() && !findings.has_failure("encryption/endpoint") {
            findings.warning(
                "encryption/not-used",
                self.at(None),
                "no provider leads to this kekring",
                self.merged("--phase read"),
            );
            return;
        }
        for block in &self.blocks {
            self.check_order(block, findings);
            self.check_everything(block, findings);
        }
        if socket.is_some() {
            self.check_secrets(findings);
        }
    }

    fn check_version(&self, kms: &Kms, findings: &mut Findings) {
        match &kms.version {
            Some((version, line)) if version == "v2" => {
                findings.ok("encryption/api-version", self.at(*line), format!("{} has apiVersion v2", kms.name));
            }
            Some((version, line)) => findings.failure(
                "encryption/api-version",
                self.at(*line),
                format!("{} has apiVersion {version}, which kekring does not speak and kube-apiserver no longer serves", kms.name),
                "write `apiVersion: v2` there",
            ),
            None => findings.failure(
                "encryption/api-version-missing",
                self.at(kms.name_line),
                format!("{} has no apiVersion: it defaults to v1, which kube-apiserver no longer serves", kms.name),
                "add `apiVersion: v2` below `kms:`",
            ),
        }
        if let Some(line) = kms.cache_size {
            findings.failure(
                "encryption/cachesize",
                self.at(line),
                format!(
                    "{} has a cachesize, which kube-apiserver refuses with v2",
                    kms.name
                ),
                "delete that line",
            );
        }
    }

    fn check_name<'a>(&self, kms: &'a Kms, names: &mut BTreeSet<&'a str>, findings: &mut Findings) {
        let place = self.at(kms.name_line);
        if kms.name.is_empty() {
            findings.failure(
                "encryption/name-empty",
                place,
                "a KMS has no name",
                "name it `kekring`, the same on all nodes",
            );
        } else if kms.name.contains(':') {
            findings.failure(
                "encryption/name-colon",
                place,
                format!("the name {:?} has a colon, which kube-apiserver refuses: it ends the name in stored values", kms.name),
                "name it without, the same on all nodes",
            );
        } else if !names.insert(&kms.name) {
            findings.failure(
                "encryption/name-twice",
                place,
                format!("a second KMS is named {:?}, which kube-apiserver refuses: each block needs a name of its own", kms.name),
                "`kekring config encryption --merge` gives each a name; the name that has encrypted something must stay",
            );
        } else {
            findings.ok(
                "encryption/name",
                place,
                format!("{} is a name of its own", kms.name),
            );
        }
    }

    fn check_timeout(&self, kms: &Kms, findings: &mut Findings) {
        let id = "encryption/timeout";
        let Some((text, line)) = &kms.timeout else {
            return findings.ok(
                id,
                self.at(kms.name_line),
                format!("{} has the default timeout, 3s", kms.name),
            );
        };
        let what = match go_duration(text) {
            // What is no duration kube-apiserver refuses.
            None => return,
            Some(seconds) if seconds < 1.0 => {
                "a busy machine takes longer, and each call that does fails a request"
            }
            Some(seconds) if seconds > 10.0 => {
                "each read that needs a key hangs for as long while kekring is away, and so does the start of kube-apiserver"
            }
            Some(_) => {
                return findings.ok(id, self.at(*line), format!("{} has the timeout {text}", kms.name));
            }
        };
        findings.warning(
            id,
            self.at(*line),
            format!("{} has the timeout {text}: {what}", kms.name),
            "write `timeout: 3s` there",
        );
    }

    fn check_endpoint(&self, kms: &Kms, (ours, mounts): (Option<&Path>, bool), findings: &mut Findings) {
        let (id, place) = ("encryption/endpoint", self.at(kms.endpoint_line));
        let socket = ours.map(|it| it.display().to_string()).unwrap_or_default();
        let looks_ours = kms.name == "kekring" || kms.name.starts_with("kekring-");
        match &kms.socket {
            Socket::Wrong(why) => findings.failure(
                "encryption/endpoint-form",
                place,
                format!("{} has the endpoint {:?}: {why}", kms.name, kms.endpoint),
                format!("write `endpoint: unix://{socket}` there, as the container sees the socket"),
            ),
            Socket::Unmounted(path) => findings.failure(
                "encryption/endpoint-mounted",
                place,
                format!("{} is in no directory of the node that is mounted: kube-apiserver finds no socket", path.display()),
                format!("mount its directory: a hostPath of type DirectoryOrCreate at {}", parent(path)),
            ),
            Socket::At { single: true, path, .. } => findings.failure(
                "encryption/endpoint-mounted-as-socket",
                place,
                format!("the socket {} itself is mounted: after a restart of its server kube-apiserver has the old one for ever", path.display()),
                format!("mount its directory instead: a hostPath of type DirectoryOrCreate for {}", parent(path)),
            ),
            Socket::At { ours: true, path, .. } => {
                findings.ok(id, place, format!("{} leads to {}", kms.name, path.display()));
            }
            Socket::At { path, .. } if looks_ours && ours.is_some() => findings.failure(
                id,
                place,
                format!("{} leads to {}, and this kekring listens on {socket}", kms.name, path.display()),
                match mounts {
                    true => "set endpoint or mounts so that they lead to socket.path",
                    false => "set the endpoint to socket.path; give --manifest too where the container sees another path",
                },
            ),
            Socket::At { alive: true, path, .. } => {
                findings.ok("encryption/dead-provider", place, format!("{} leads to {}, where somebody listens", kms.name, path.display()));
            }
            Socket::At { path, .. } => findings.failure(
                "encryption/dead-provider",
                place,
                format!("{} leads to {}, where nobody listens: kube-apiserver does not become ready, and takes no new configuration", kms.name, path.display()),
                "start that plugin; take it out of the file only when nothing in etcd needs it any more",
            ),
        }
    }
}
