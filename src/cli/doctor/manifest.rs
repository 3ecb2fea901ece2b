//! The API server's manifest: its flags, what it sees of the node, and its probes.

use std::path::{Component, Path, PathBuf};

use super::finding::{Findings, at_line};
use super::read;
use crate::config::Config;
use crate::config::yaml::{self, Spot};
use crate::server::namespace::Namespace;
use crate::server::peer::Admission;
use crate::server::status_file::ServerStatus;

/// What of a static Pod matters here.
pub(super) struct Manifest {
    pub(super) path: PathBuf,
    flags: Vec<Flag>,
    mounts: Vec<Mount>,
    image: (String, Option<usize>),
    /// Which probe, the path that it asks for, its line.
    probes: Vec<(&'static str, String, Option<usize>)>,
    /// The user that it runs as, where it says so.
    user: Option<(u32, Option<usize>)>,
}

/// `--name=value`.
pub(super) struct Flag {
    name: String,
    pub(super) value: String,
    pub(super) line: Option<usize>,
}

/// A directory or file of the node, as the container sees it.
pub(super) struct Mount {
    container: PathBuf,
    /// Where it is on the node; nowhere for other kinds of volumes.
    host: Option<PathBuf>,
    /// hostPath's `type`.
    kind: String,
    pub(super) line: Option<usize>,
}

/// What a path in the container is on the node.
pub(super) enum OnNode<'a> {
    /// This, by way of that mount.
    Here(PathBuf, &'a Mount),
    /// Nothing is mounted there, or a volume that is no part of the node's files.
    Nothing,
}

impl Mount {
    /// Whether a single file or socket is mounted: it stays the old one when it is replaced.
    pub(super) fn is_single(&self) -> bool {
        let Some(host) = &self.host else { return false };
        let said = ["File", "FileOrCreate", "Socket"].contains(&self.kind.as_str());
        said || host
            .symlink_metadata()
            .is_ok_and(|about| !about.is_dir() && !about.is_symlink())
    }

    pub(super) fn container(&self) -> &Path {
        &self.container
    }
}

/// Reads the manifest, and says where it cannot be.
pub(super) fn look(path: &Path, findings: &mut Findings) -> Option<Manifest> {
    let shown = path.display();
    let text = match read::text(path) {
        Ok((text, _)) => text,
        Err(why) => {
            const REMEDY: &str = "name the manifest of kube-apiserver with --manifest";
            why.report("manifest/readable", path, "the manifest", REMEDY, findings);
            return None;
        }
    };
    let tree = match yaml::load(&text) {
        Ok(tree) if tree.top().at("spec").at("containers").items().next().is_some() => tree,
        read => {
            let why = read.err().and_then(|why| why.place);
            findings.failure(
                "manifest/readable",
                shown,
                match why {
                    Some(place) => format!("{place}: it is no YAML, and kubelet starts nothing by it"),
                    None => "it is no Pod: it has no spec.containers".to_owned(),
                },
                "mend it, or name the manifest of kube-apiserver with --manifest",
            );
            return None;
        }
    };
    findings.ok("manifest/readable", shown, "it is a Pod");
    Some(Manifest::of(path, tree.top()))
}

impl Manifest {
    fn of(path: &Path, top: Spot<'_>) -> Self {
        let spec = top.at("spec");
        let container = server(spec);
        let volumes: Vec<Spot<'_>> = spec.at("volumes").items().collect();
        let mounts = container.at("volumeMounts").items();
        let probe = |name| {
            let at = container.at(name).at("httpGet").at("path");
            at.text().map(|path| (name, path.to_owned(), at.line()))
        };
        let user = [container, spec].into_iter().find_map(|it| {
            let user = it.at("securityContext").at("runAsUser");
            Some((user.text()?.parse().ok()?, user.line()))
        });
        let image = container.at("image");
        Self {
            path: path.to_owned(),
            flags: flags(container),
            mounts: mounts.filter_map(|it| mount(it, &volumes)).collect(),
            image: (image.text().unwrap_or_default().to_owned(), image.line()),
            probes: ["livenessProbe", "startupProbe"]
                .into_iter()
                .filter_map(probe)
                .collect(),
            user,
        }
    }

    /// The last one of that name counts, as for kube-apiserver.
    pub(super) fn flag(&self, name: &str) -> Option<&Flag> {
        self.flags.iter().rev().find(|flag| flag.name == name)
    }

    /// What a path in the container is on the node: the longest mount above it decides.
    pub(super) fn on_node(&self, path: &Path) -> OnNode<'_> {
        let above = self.mounts.iter().filter(|it| path.starts_with(&it.container));
        let Some(mount) = above.max_by_key(|it| it.container.components().count()) else {
            return OnNode::Nothing;
        };
        let Some(host) = &mount.host else {
            return OnNode::Nothing;
        };
        let below = path.strip_prefix(&mount.container).unwrap_or(Path::new(""));
        let on_node = match below.as_os_str().is_empty() {
            true => host.clone(),
            false => host.join(below),
        };
        OnNode::Here(on_node, mount)
    }

    pub(super) fn at(&self, line: Option<usize>) -> String {
        at_line(&self.path, line)
    }

    /// How many etcd members it asks.
    pub(super) fn etcd_members(&self) -> usize {
        let servers = self.flag("etcd-servers").map_or("", |flag| flag.value.as_str());
        servers.split(',').filter(|it| !it.is_empty()).count()
    }

    /// What can be judged by the manifest alone.
    pub(super) fn check(&self, findings: &mut Findings) {
        self.check_reload(findings);
        self.check_probes(findings);
        self.check_version(findings);
    }

    fn check_reload(&self, findings: &mut Findings) {
        const FLAG: &str = "--encryption-provider-config-automatic-reload=true";
        let id = "manifest/automatic-reload";
        let flag = self.flag("encryption-provider-config-automatic-reload");
        let value = flag.map(|flag| flag.value.as_str());
        if matches!(value, Some("true" | "1" | "t" | "T" | "TRUE" | "True")) {
            return findings.ok(
                id,
                self.at(flag.and_then(|it| it.line)),
                "a new EncryptionConfiguration is taken within a minute",
            );
        }
        findings.warning(
            id,
            self.at(flag.and_then(|it| it.line)),
            format!("{FLAG} is missing: each phase needs a restart of kube-apiserver"),
            format!("add `- {FLAG}` to its command"),
        );
    }

    /// kms-providers is a part of /healthz and /readyz, and not of /livez.
    fn check_probes(&self, findings: &mut Findings) {
        let id = "manifest/liveness";
        for (probe, path, line) in &self.probes {
            let (endpoint, query) = path.split_once('?').unwrap_or((path, ""));
            let excluded = query.split('&').any(|it| it == "exclude=kms-providers");
            let asks = ["/healthz", "/readyz"].contains(&endpoint.trim_end_matches('/')) && !excluded;
            let itself = endpoint.contains("kms-provider");
            if !asks && !itself {
                findings.ok(
                    id,
                    self.at(*line),
                    format!("{probe} asks for {path}, which leaves kms-providers out"),
                );
                continue;
            }
            findings.failure(
                id,
                self.at(*line),
                format!("{probe} asks for {path}, which fails while the KMS is away: kubelet would kill kube-apiserver again and again"),
                format!("set the path of its {probe} to /livez"),
            );
        }
        if self.probes.is_empty() {
            findings.ok(id, self.at(None), "no liveness or startup probe asks by HTTP");
        }
    }

    fn check_version(&self, findings: &mut Findings) {
        let id = "manifest/version";
        let (image, line) = &self.image;
        let tag = image.split('@').next().unwrap_or_default();
        let tag = tag.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
        let mut numbers = tag.trim_start_matches('v').split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(1)), Some(Ok(minor))) if minor < 32 => findings.failure(
                id,
                self.at(*line),
                format!("{image} is older than 1.32: it sends an :authority that HTTP/2 refuses, and each call ends with PROTOCOL_ERROR"),
                "upgrade kube-apiserver to 1.32 or newer before it uses kekring",
            ),
            (Some(Ok(1)), Some(Ok(_))) => findings.ok(id, self.at(*line), format!("{tag} speaks to kekring")),
            _ => findings.skipped(
                id,
                self.at(*line),
                format!("the version of {image:?} cannot be told from its tag"),
                "`kube-apiserver --version` must say 1.32 or newer",
            ),
        }
    }
}

impl Manifest {
    /// Whether kube-apiserver's user is let in at the socket.
    pub(super) fn check_user(&self, config: &Config, server: Option<&ServerStatus>, findings: &mut Findings) {
        let id = "manifest/user";
        let Some((user, line)) = self.user.filter(|(user, _)| *user != 0) else {
            return findings.ok(id, self.at(None), "kube-apiserver runs as root");
        };
        let socket = &config.socket;
        let admission = Admission::new(
            socket.allow_users.as_deref(),
            &socket.allow_groups,
            Namespace::own(),
        );
        // Connecting needs the right to write (unix(7)).
        let reachable = socket.mode.0 & 0o022 != 0;
        let named = admission.users().contains(&user) || !admission.groups().is_empty();
        // The server's own verdict counts: the namespace of users may be another here.
        let verdict = server.and_then(|it| lets_in(it, user));
        if reachable && verdict.unwrap_or(named) {
            return findings.ok(id, self.at(line), format!("user {user} may use the socket"));
        }
        if reachable && named {
            return findings.failure(
                id,
                self.at(line),
                format!("kube-apiserver runs as user {user}, which the configuration names, and the server that runs does not let in"),
                "restart it, where the configuration was changed since; else it has a warning that says why",
            );
        }
        findings.failure(
            id,
            self.at(line),
            format!("kube-apiserver runs as user {user}, which the socket does not let in"),
            format!("set socket.allowUsers: [0, {user}], socket.group to a group of that user, and socket.mode: \"0660\""),
        );
    }
}

/// By a server's own account, where it has one.
fn lets_in(server: &ServerStatus, user: u32) -> Option<bool> {
    let users = server.admitted_users.as_ref()?;
    let groups = server.admitted_groups.as_ref()?;
    Some(users.contains(&user) || !groups.is_empty())
}

/// The container of kube-apiserver: by its name, by what it runs, else the first one.
fn server(spec: Spot<'_>) -> Spot<'_> {
    let containers = || spec.at("containers").items();
    let named = |it: &Spot<'_>| it.at("name").text() == Some("kube-apiserver");
    let runs = |it: &Spot<'_>| {
        let mut words = it.at("command").items();
        words.any(|word| word.text().is_some_and(|word| word.ends_with("kube-apiserver")))
    };
    let found = containers().find(named).or_else(|| containers().find(runs));
    found
        .or_else(|| containers().next())
        .unwrap_or(spec.at("containers"))
}

/// As pflag reads them: `--name=value`, `--name value`, and `--name` alone for true.
fn flags(container: Spot<'_>) -> Vec<Flag> {
    let words: Vec<Spot<'_>> = ["command", "args"]
        .into_iter()
        .flat_map(|it| container.at(it).items())
        .collect();
    let mut flags = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let Some(text) = word.text().and_then(|text| text.strip_prefix("--")) else {
            continue;
        };
        let next = words.get(at + 1).and_then(|it| it.text());
        let value = next.filter(|it| !it.starts_with("--")).unwrap_or("true");
        let (name, value) = text.split_once('=').unwrap_or((text, value));
        flags.push(Flag {
            name: name.to_owned(),
            value: value.to_owned(),
            line: word.line(),
        });
    }
    flags
}

fn mount(mount: Spot<'_>, volumes: &[Spot<'_>]) -> Option<Mount> {
    let name = mount.at("name").text()?;
    let volume = volumes.iter().find(|it| it.at("name").text() == Some(name));
    let host_path = volume.map(|it| it.at("hostPath"));
    let host = host_path.and_then(|it| it.at("path").text()).map(plain);
    let host = host.map(|host| match mount.at("subPath").text() {
        Some(below) => host.join(below),
        None => host,
    });
    Some(Mount {
        container: plain(mount.at("mountPath").text()?),
        host,
        kind: host_path
            .and_then(|it| it.at("type").text())
            .unwrap_or_default()
            .to_owned(),
        line: mount.line(),
    })
}

/// Without `.` and doubled or final slashes.
fn plain(path: &str) -> PathBuf {
    let parts = Path::new(path).components();
    parts.filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn manifest(spec: &str) -> Manifest {
        let tree = yaml::load(&format!("spec: {spec}")).unwrap();
        Manifest::of(Path::new("/pod.yaml"), tree.top())
    }

    #[test]
    fn flags_are_read_as_kube_apiserver_reads_them() {
        let manifest = manifest(
            "{containers: [{name: other}, {name: kube-apiserver, command: [kube-apiserver, --a=1, --b, two], args: [--c, --a=3]}]}",
        );
        let value = |name| manifest.flag(name).map(|flag| flag.value.as_str());

        assert_eq!(
            [value("a"), value("b"), value("c")],
            [Some("3"), Some("two"), Some("true")]
        );
        assert_eq!(value("d"), None);
    }

    #[test]
    fn the_longest_mount_above_a_path_says_what_it_is_on_the_node() {
        let manifest = manifest(
            "{containers: [{command: [kube-apiserver], volumeMounts: [\
             {name: etc, mountPath: /etc}, {name: k, mountPath: /etc/kms/}, {name: k, mountPath: /below, subPath: sub}, {name: empty, mountPath: /empty}]}], \
             volumes: [{name: etc, hostPath: {path: /node/etc}}, {name: k, hostPath: {path: /node/kms/}}, {name: empty, emptyDir: {}}]}",
        );
        let on_node = |path| match manifest.on_node(Path::new(path)) {
            OnNode::Here(path, _) => path.display().to_string(),
            OnNode::Nothing => "nothing".to_owned(),
        };

        assert_eq!(on_node("/etc/a"), "/node/etc/a");
        assert_eq!(on_node("/etc/kms/x.sock"), "/node/kms/x.sock");
        assert_eq!(on_node("/below/x"), "/node/kms/sub/x");
        assert_eq!(on_node("/empty/x"), "nothing");
        assert_eq!(on_node("/etcetera"), "nothing");
    }
}
