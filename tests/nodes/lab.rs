//! Three nodes and their etcd, for one trial.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kekring::cluster::object::{self, StoredObject};
use kekring::etcd::{Range, TlsFiles};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{Cluster, LONG, prefix};
use crate::node::Node;
use crate::service_account;
use crate::support::scratch;
use crate::wait::wait_for;
use crate::weather::Weather;

/// Where kube-apiserver keeps the Secrets of these trials.
const SECRETS: &str = "/registry/secrets/suite/";
/// kube-apiserver asks for the Status at most this often by itself, and the rest is room.
const NEW_KEY_IN_USE: Duration = Duration::from_secs(90);
const PAGE: u32 = 500;

/// What the nodes have in common.
pub struct Setup {
    pub dir: PathBuf,
    pub tls: TlsFiles,
    /// Every member of etcd.
    pub endpoints: Vec<String>,
    /// Laid over each plugin's configuration.
    pub tweaks: Value,
}

/// Everything that one trial runs.
pub struct Lab {
    // Dropped in this order: processes before their files.
    pub nodes: Vec<Node>,
    pub cluster: Cluster,
    pub setup: Setup,
    pub weather: Arc<Weather>,
    _dir: TempDir,
}

impl Lab {
    /// Everything runs: a ring on etcd, three plugins that rotate it once a `period`, and an API server on each.
    pub fn start(period: &str) -> Self {
        let mut lab = Self::prepared(period);
        lab.init(0);
        lab.serve();
        lab
    }

    /// etcd runs, and the nodes are configured. There is no ring.
    pub fn prepared(period: &str) -> Self {
        let mut lab = Self::etcd(period);
        for _ in 0..3 {
            lab.add_node(|own| own);
        }
        lab
    }

    /// etcd runs, and there is no node.
    pub fn etcd(period: &str) -> Self {
        let cluster = Cluster::secure(3);
        let dir = scratch();
        service_account::write_keys(dir.path());
        let setup = Setup {
            dir: dir.path().to_owned(),
            tls: cluster.tls(),
            endpoints: (0..3).map(|it| cluster.url(it).to_owned()).collect(),
            tweaks: json!({"rotation": {"period": period, "allowShort": true}}),
        };
        Self {
            nodes: Vec::new(),
            cluster,
            setup,
            weather: Arc::default(),
            _dir: dir,
        }
    }

    /// One node more, its own member of etcd first; `endpoints` may lead its plugin to them some other way.
    pub fn add_node(&mut self, endpoints: impl FnOnce(Vec<String>) -> Vec<String>) -> usize {
        let number = self.nodes.len();
        let mut own = self.setup.endpoints.clone();
        own.rotate_left(number % 3);
        let name = format!("cp-{}", number + 1);
        self.nodes
            .push(Node::prepared(&name, &endpoints(own), &self.setup));
        number
    }

    /// Makes the ring on one node, and brings its root to the others.
    pub fn init(&self, first: usize) {
        self.nodes[first].must(&["init", "--no-recovery"]);
        let root = self.nodes[first].plugin.dir.join("root.key");
        for (_, node) in self.nodes.iter().enumerate().filter(|(it, _)| *it != first) {
            node.take_root(&root);
        }
    }

    /// Starts every plugin, then every API server.
    pub fn serve(&mut self) {
        for node in &mut self.nodes {
            node.plugin.spawn();
        }
        for node in &mut self.nodes {
            node.plugin.wait_until_it_answers();
        }
        for node in &mut self.nodes {
            node.spawn_api_server();
        }
        for node in &mut self.nodes {
            node.wait_for_api_server();
        }
        self.nodes[0].api().create_namespace();
    }

    /// `kill -9` for everything.
    pub fn switch_off(&mut self) {
        for it in 0..self.cluster.count() {
            self.cluster.kill(it);
        }
        for node in &mut self.nodes {
            node.kill_api_server();
            node.plugin.kill();
        }
    }

    /// Starts every member of etcd, and waits until they agree.
    pub fn start_etcd(&mut self) {
        for it in 0..self.cluster.count() {
            self.cluster.run(it);
        }
        self.cluster.wait_until_ready();
    }

    /// Every Secret of the trial as it lies in etcd, by its name.
    pub fn stored(&self) -> BTreeMap<String, StoredObject> {
        let client = self.cluster.client();
        let (mut stored, mut span) = (BTreeMap::new(), prefix(SECRETS));
        loop {
            let range = Range {
                limit: PAGE,
                ..Range::of(span.clone())
            };
            let found = client.range(&range, LONG).unwrap();
            for kv in &found.kvs {
                let name = String::from_utf8(kv.key.clone()).unwrap();
                let name = name.strip_prefix(SECRETS).unwrap().to_owned();
                stored.insert(name, object::parse(&kv.value).unwrap());
            }
            match found.kvs.last().filter(|_| found.more) {
                Some(last) => span = span.after(&last.key),
                None => return stored,
            }
        }
    }

    /// Writes Secrets through the API server of a node, each with its own name as password, until one lies in etcd under
    /// this key; returns that one. The API server is asked for its readiness meanwhile, which makes it look at its plugin.
    pub fn write_until_under(&self, node: usize, key: &str) -> String {
        let api = self.nodes[node].api();
        wait_for("a Secret under the new key", NEW_KEY_IN_USE, || {
            api.health("/readyz").unwrap();
            let name = format!("under-{key}-{}", number());
            api.create_secret(&name, &name).unwrap();
            (self.stored()[&name].object.key_id == key).then_some(name)
        })
    }

    /// The seeds that these Secrets are under: each a Decrypt for an API server that has none of them.
    pub fn seeds(stored: &BTreeMap<String, StoredObject>) -> BTreeSet<&[u8]> {
        let seeds = stored.values();
        seeds.map(|it| &*it.object.encrypted_dek_source).collect()
    }

    /// The keys that these Secrets are under.
    pub fn keys(stored: &BTreeMap<String, StoredObject>) -> BTreeSet<&str> {
        stored.values().map(|it| &*it.object.key_id).collect()
    }
}

/// Another one each time: no two Secrets of a trial have one name.
pub fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
