//! What an EncryptionConfiguration says, read leniently: a mistake is a finding with its line, not the end.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::manifest::{Manifest, OnNode};
use crate::config::yaml::{Spot, Tree};
use crate::server::listener::occupant;

/// Some resources and the providers for them.
pub(super) struct Block {
    pub(super) resources: Vec<String>,
    pub(super) providers: Vec<Provider>,
    pub(super) line: Option<usize>,
}

/// One provider.
pub(super) struct Provider {
    /// `kms`, `identity`, `aescbc`; empty where there is none.
    pub(super) kind: String,
    pub(super) line: Option<usize>,
    pub(super) kms: Option<Kms>,
    /// Name and secret of each key that lies in the file. Compared, and shown nowhere.
    pub(super) keys: Vec<(String, String)>,
}

/// A KMS.
pub(super) struct Kms {
    pub(super) name: String,
    pub(super) name_line: Option<usize>,
    pub(super) version: Option<(String, Option<usize>)>,
    pub(super) endpoint: String,
    pub(super) endpoint_line: Option<usize>,
    pub(super) timeout: Option<(String, Option<usize>)>,
    pub(super) cache_size: Option<Option<usize>>,
    pub(super) socket: Socket,
}

/// Where an endpoint leads.
pub(super) enum Socket {
    /// Nowhere that kube-apiserver would find, and why.
    Wrong(&'static str),
    /// To a path of the container that is no part of the node.
    Unmounted(PathBuf),
    /// To this socket of the node.
    At {
        path: PathBuf,
        /// Whether the socket itself is mounted, and not its directory.
        single: bool,
        /// Whether somebody listens there.
        alive: bool,
        /// Whether it is this kekring's.
        ours: bool,
    },
}

impl Provider {
    /// What kube-apiserver's prefix calls it.
    pub(super) fn called(&self) -> &str {
        self.kms.as_ref().map_or(&self.kind, |kms| &kms.name)
    }

    pub(super) fn is_ours(&self) -> bool {
        let socket = self.kms.as_ref().map(|kms| &kms.socket);
        matches!(socket, Some(Socket::At { ours: true, .. }))
    }
}

/// The blocks of a document. `socket` is this kekring's own.
pub(super) fn blocks(tree: &Tree, manifest: Option<&Manifest>, socket: Option<&Path>) -> Vec<Block> {
    let block = |it: Spot<'_>| Block {
        resources: it
            .at("resources")
            .items()
            .filter_map(Spot::text)
            .map(str::to_owned)
            .collect(),
        providers: it
            .at("providers")
            .items()
            .map(|it| provider(it, manifest, socket))
            .collect(),
        line: it.line(),
    };
    tree.top().at("resources").items().map(block).collect()
}

fn provider(it: Spot<'_>, manifest: Option<&Manifest>, socket: Option<&Path>) -> Provider {
    let kind = it.keys().next().unwrap_or_default();
    let key = |key: Spot<'_>| {
        let text = |name| key.at(name).text().unwrap_or_default().to_owned();
        (text("name"), text("secret"))
    };
    Provider {
        kind: kind.to_owned(),
        line: it.line(),
        kms: it
            .at("kms")
            .is_there()
            .then(|| kms(it.at("kms"), manifest, socket)),
        keys: it.at(kind).at("keys").items().map(key).collect(),
    }
}

fn kms(it: Spot<'_>, manifest: Option<&Manifest>, ours: Option<&Path>) -> Kms {
    let text = |name| it.at(name).text().unwrap_or_default().to_owned();
    let lined = |name| {
        it.at(name)
            .text()
            .map(|text| (text.to_owned(), it.at(name).line()))
    };
    let endpoint = text("endpoint");
    Kms {
        name: text("name"),
        name_line: it.at("name").line().or(it.line()),
        version: lined("apiVersion"),
        socket: socket(&endpoint, manifest, ours),
        endpoint,
        endpoint_line: it.at("endpoint").line().or(it.line()),
        timeout: lined("timeout"),
        cache_size: it.at("cachesize").is_there().then(|| it.at("cachesize").line()),
    }
}

/// By kube-apiserver's own reading: a URL whose path counts, and nothing else of it.
fn socket(endpoint: &str, manifest: Option<&Manifest>, ours: Option<&Path>) -> Socket {
    let Some(path) = endpoint.strip_prefix("unix://") else {
        return Socket::Wrong("it does not begin with unix://");
    };
    if path.starts_with("/@") || path.starts_with('@') {
        return Socket::Wrong("it is an abstract socket, which has no owner and no mode");
    }
    if !path.starts_with('/') {
        return Socket::Wrong("it has two slashes and not three: what stands before the next one is dropped");
    }
    let path = decoded(path.split(['?', '#']).next().unwrap_or_default());
    let (path, single) = match manifest.map(|it| it.on_node(&path)) {
        None => (path, false),
        Some(OnNode::Here(on_node, mount)) => (on_node, path == mount.container()),
        Some(OnNode::Nothing) => return Socket::Unmounted(path),
    };
    let ours = ours.is_some_and(|ours| same(ours, &path));
    Socket::At {
        single,
        alive: occupant(&path).is_some(),
        ours,
        path,
    }
}

/// Whether two paths name one socket, whichever way there.
fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    one == other || real(one).is_some_and(|one| real(other) == Some(one))
}

/// `%20` and its like.
fn decoded(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| *first == b'%');
        let byte = digits.and_then(|it| data_encoding::HEXUPPER_PERMISSIVE.decode(it).ok()?.pop());
        bytes.push(byte.unwrap_or(*first));
        rest = tail.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    std::ffi::OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_leads_where_kube_apiserver_looks() {
        let path = |endpoint: &str| match socket(endpoint, None, None) {
            Socket::At { path, .. } => Some(path),
            _ => None,
        };

        assert_eq!(
            path("unix:///run/kekring/kms.sock"),
            Some("/run/kekring/kms.sock".into())
        );
        assert_eq!(path("unix:///a%20b/%2fc%zz"), Some("/a b//c%zz".into()));
        for wrong in [
            "unix://run/kms.sock",
            "unix:///@kekring",
            "unix://@kekring",
            "tcp://127.0.0.1:1",
            "",
        ] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }
}
