//! An etcd of one member or three on loopback, its files in a directory of its own. Ends with its owner.

use std::path::Path;
use std::time::Duration;

use kekring::etcd::{Client, Config, Endpoint, Found, Identity, Range, Read, Span, TlsFiles, User};
use serde_json::Value;
use tempfile::TempDir;

use crate::certificates::{Authority, files};
use crate::port::free_port;
use crate::process::Process;
use crate::program::command;
use crate::wait::{SOON, wait_for};

/// For calls that should simply work, on a machine with much else to do.
pub const LONG: Duration = Duration::from_secs(30);

pub struct Cluster {
    // Dropped first.
    members: Vec<Member>,
    tls: Option<TlsFiles>,
    pub authority: Option<Authority>,
    dir: TempDir,
}

struct Member {
    process: Option<Process>,
    arguments: Vec<String>,
    url: String,
    peers: String,
}

impl Cluster {
    /// One member without TLS.
    pub fn plain() -> Self {
        Self::start(1, false, &[])
    }

    /// The same, with more arguments.
    pub fn plain_with(arguments: &[&str]) -> Self {
        Self::start(1, false, arguments)
    }

    /// So many members that want certificates of their clients, and of each other.
    pub fn secure(count: usize) -> Self {
        Self::start(count, true, &[])
    }

    fn start(count: usize, secure: bool, more: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = secure.then(|| Authority::new(dir.path(), "etcd"));
        let server = authority
            .as_ref()
            .map(|it| it.sign("server", &["127.0.0.1", "localhost"]));
        let tls = authority
            .as_ref()
            .map(|it| files(it.ca_of("etcd"), Some(it.sign("client", &["client"]))));
        let scheme = if secure { "https" } else { "http" };
        let ports: Vec<(u16, u16)> = (0..count).map(|_| (free_port(), free_port())).collect();
        let all: Vec<String> = (0..count)
            .map(|it| format!("m{it}={scheme}://127.0.0.1:{}", ports[it].1))
            .collect();
        let member = |it: usize| {
            let url = format!("{scheme}://127.0.0.1:{}", ports[it].0);
            let peers = format!("{scheme}://127.0.0.1:{}", ports[it].1);
            let mut arguments = vec![
                format!("--name=m{it}"),
                format!("--data-dir={}", dir.path().join(format!("m{it}")).display()),
                format!("--listen-client-urls={url}"),
                format!("--advertise-client-urls={url}"),
                format!("--listen-peer-urls={peers}"),
                format!("--initial-advertise-peer-urls={peers}"),
                format!("--initial-cluster={}", all.join(",")),
                "--log-level=warn".into(),
                // The machine does not lose power while this runs, and a slow disk should not slow it.
                "--unsafe-no-fsync".into(),
            ];
            if count > 1 {
                // Two cores are shared with much else.
                arguments.extend([
                    "--heartbeat-interval=500".into(),
                    "--election-timeout=5000".into(),
                ]);
            }
            if let (Some(server), Some(tls)) = (&server, &tls) {
                arguments.extend(certified(server, tls));
            }
            arguments.extend(more.iter().map(|it| (*it).to_owned()));
            Member {
                process: None,
                arguments,
                url,
                peers,
            }
        };
        let mut cluster = Self {
            members: (0..count).map(member).collect(),
            tls,
            authority,
            dir,
        };
        for it in 0..count {
            cluster.run(it);
        }
        cluster.wait_until_ready();
        cluster
    }

    /// Starts a member that was killed.
    pub fn run(&mut self, member: usize) {
        let log = self.dir.path().join(format!("m{member}.log"));
        let member = &mut self.members[member];
        member.process = Some(Process::start(
            "etcd",
            command("etcd").args(&member.arguments),
            log,
        ));
    }

    /// `kill -9`.
    pub fn kill(&mut self, member: usize) {
        self.members[member].process.take().unwrap().kill();
    }

    /// Still there, and does nothing any more.
    pub fn freeze(&self, member: usize) {
        self.members[member].process.as_ref().unwrap().freeze();
    }

    pub fn thaw(&self, member: usize) {
        self.members[member].process.as_ref().unwrap().thaw();
    }

    /// From its next start on, a member finds its data in another directory.
    #[allow(dead_code)] // one suite needs it
    pub fn move_data(&mut self, member: usize, dir: &Path) {
        let mut arguments = self.members[member].arguments.iter_mut();
        let data = arguments.find(|it| it.starts_with("--data-dir=")).unwrap();
        *data = format!("--data-dir={}", dir.display());
    }

    /// Until each member reads what all agree on.
    pub fn wait_until_ready(&mut self) {
        for it in 0..self.members.len() {
            let client = self.client_of(&[it]);
            wait_for("a member to be ready", 2 * SOON, || {
                self.members[it].process.as_mut().unwrap().must_run();
                client.range(&Range::of(key("/ready")), LONG / 10).ok()
            });
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn url(&self, member: usize) -> &str {
        &self.members[member].url
    }

    /// Where the other members reach it.
    #[allow(dead_code)] // one suite needs it
    pub fn peer_url(&self, member: usize) -> &str {
        &self.members[member].peers
    }

    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// A client of all members.
    pub fn client(&self) -> Client {
        self.client_of(&(0..self.members.len()).collect::<Vec<_>>())
    }

    /// A client of some members, in this order.
    pub fn client_of(&self, members: &[usize]) -> Client {
        let urls: Vec<&str> = members.iter().map(|it| self.members[*it].url.as_str()).collect();
        client(&urls, self.tls.clone(), None)
    }

    pub fn tls(&self) -> TlsFiles {
        self.tls.clone().unwrap()
    }

    /// etcd's JSON gateway, for what the client does not do; with a token where there is one.
    pub fn gateway(&self, path: &str, token: Option<&str>, request: &Value) -> Value {
        let mut post = ureq::post(format!("{}/v3/{path}", self.members[0].url));
        if let Some(token) = token {
            post = post.header("Authorization", token);
        }
        let mut answer = post.send(request.to_string()).unwrap();
        serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap()
    }
}

pub fn client(urls: &[&str], tls: Option<TlsFiles>, user: Option<User>) -> Client {
    let endpoints = urls.iter().map(|url| Endpoint::parse(url).unwrap()).collect();
    Client::new(Config { endpoints, tls, user }).unwrap()
}

pub fn key(name: &str) -> Span {
    Span::key(name).unwrap()
}

pub fn prefix(name: &str) -> Span {
    Span::prefix(name).unwrap()
}

/// What one member knows.
pub fn local(span: Span) -> Range {
    Range {
        read: Read::Serializable,
        ..Range::of(span)
    }
}

pub fn names(found: &Found) -> Vec<String> {
    found
        .kvs
        .iter()
        .map(|kv| String::from_utf8(kv.key.clone()).unwrap())
        .collect()
}

/// What has a member show its certificate, and want one, of its clients and of the other members.
fn certified(server: &Identity, tls: &TlsFiles) -> Vec<String> {
    let arguments = ["", "peer-"].map(|whose| {
        [
            format!("--{whose}client-cert-auth"),
            format!("--{whose}trusted-ca-file={}", tls.ca.display()),
            format!("--{whose}cert-file={}", server.cert.display()),
            format!("--{whose}key-file={}", server.key.display()),
        ]
    });
    arguments.into_iter().flatten().collect()
}
