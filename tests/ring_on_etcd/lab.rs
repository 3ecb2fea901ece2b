//! One etcd and some nodes that keep a ring on it. Ends with its owner.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use kekring::custody::{Custody, Opened};
use kekring::etcd::{Endpoint, KeyValue, LeaseId, MAX_OPERATIONS, Op, Range, Span, Txn};
use kekring::keyring::KeyId;
use kekring::root::{PathConfig, RootConfig};
use kekring::store::{EtcdStore, FileStore, Snapshot};
use kekring::telemetry::now;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{Cluster, LONG};
use crate::support::{PATIENCE, Plugin, merge, scratch, shown, wait_until};

pub const PREFIX: &str = "/kekring";

pub struct Lab {
    // Dropped first.
    pub nodes: Vec<Plugin>,
    pub cluster: Cluster,
    tweaks: Value,
    copy: TempDir,
    /// Whose ring, once it is made.
    id: OnceLock<[u8; 16]>,
}

impl Lab {
    /// So many nodes, called cp-1 and so on, all of which have acknowledged the ring.
    pub fn of(count: usize) -> Self {
        Self::with(count, json!({}))
    }

    /// The same with this laid over each configuration.
    pub fn with(count: usize, tweaks: Value) -> Self {
        let mut lab = Self::empty(tweaks);
        lab.begin(count);
        lab
    }

    /// Makes a ring and lets so many nodes have it.
    pub fn begin(&mut self, count: usize) {
        for _ in 0..count {
            self.add();
        }
        self.nodes[0].must(&["init", "--no-recovery"]);
        self.nodes[1..].iter().for_each(|node| self.give_root(node));
        self.nodes.iter_mut().for_each(Plugin::serve);
        self.wait_until_acknowledged(count);
    }

    /// An etcd that holds nothing.
    pub fn empty(tweaks: Value) -> Self {
        Self::on(Cluster::plain(), tweaks)
    }

    /// The same on this etcd.
    pub fn on(cluster: Cluster, tweaks: Value) -> Self {
        Self {
            nodes: Vec::new(),
            cluster,
            tweaks,
            copy: scratch(),
            id: OnceLock::new(),
        }
    }

    /// Another node: a configuration and a machine, nothing else.
    pub fn add(&mut self) -> &mut Plugin {
        let name = format!("cp-{}", self.nodes.len() + 1);
        let node = self.machine(&name);
        self.nodes.push(node);
        self.nodes.last_mut().unwrap()
    }

    /// A machine that is to be node `name`.
    pub fn machine(&self, name: &str) -> Plugin {
        let node = Plugin::unmade("{}");
        fs::write(
            node.dir.join("machine-id"),
            format!("machine {}\n", node.dir.display()),
        )
        .unwrap();
        let mut config = configuration(&node, name, self.cluster.url(0));
        merge(&mut config, self.tweaks.clone());
        fs::write(&node.config, config.to_string()).unwrap();
        node
    }

    /// What an operator brings to a node that joins.
    pub fn give_root(&self, node: &Plugin) {
        fs::copy(self.nodes[0].dir.join("root.key"), node.dir.join("root.key")).unwrap();
    }

    /// The ring on etcd as somebody sees it who has a root and no copy.
    pub fn custody(&self) -> Custody {
        let path = self.nodes[0].dir.join("root.key");
        Custody {
            calls: Default::default(),
            store: Box::new(self.store()),
            roots: vec![RootConfig::File(PathConfig { path }).build()],
            machine: None,
            shared: true,
            development: false,
            expected: None,
            writer: [9; 16],
        }
    }

    pub fn store(&self) -> EtcdStore {
        let copy = FileStore::new(self.copy.path().join("ring"), None);
        let store = store(&self.cluster, PREFIX, copy);
        if let Some(id) = self.id.get() {
            store.is_ring(*id);
        }
        store
    }

    pub fn open(&self) -> Opened {
        self.custody().open(None, now()).unwrap()
    }

    pub fn snapshot(&self) -> Snapshot {
        self.store().read(LONG).unwrap()
    }

    /// The sequence of the active key on etcd.
    pub fn sequence(&self) -> u64 {
        self.open().ring.active().unwrap().id.sequence()
    }

    /// Until so many nodes are registered and each has acknowledged the head.
    #[track_caller]
    pub fn wait_until_acknowledged(&self, count: usize) {
        if let Some(id) = self.snapshot().id {
            self.id.get_or_init(|| id);
        }
        let mut last = Value::Null;
        let started = Instant::now();
        wait_until("each node to acknowledge the head", 4 * PATIENCE, || {
            last = self.nodes[0].json(&["node", "list"]);
            assert!(started.elapsed() < 2 * PATIENCE, "{count} nodes: {last}");
            let rows = last["nodes"].as_array().unwrap();
            rows.len() == count && rows.iter().all(|row| row["acknowledged"] == last["generation"])
        });
    }

    /// The whole key of something of the ring.
    pub fn key(&self, name: &str) -> String {
        let id = self.snapshot().id.unwrap();
        format!("{PREFIX}/{}/{name}", data_encoding::HEXLOWER.encode(&id))
    }

    /// What lies in etcd, by anybody's hand.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let range = Range::of(Span::key(key).unwrap());
        let found = self.cluster.client().range(&range, LONG).unwrap();
        found.kvs.into_iter().next().map(|kv| kv.value)
    }

    pub fn all(&self, prefix: &str) -> Vec<KeyValue> {
        let range = Range::of(Span::prefix(prefix).unwrap());
        self.cluster.client().range(&range, LONG).unwrap().kvs
    }

    pub fn put(&self, key: impl Into<Vec<u8>>, value: &[u8]) {
        self.change(Op::Put {
            key: Span::key(key).unwrap(),
            value: value.to_vec(),
            lease: LeaseId(0),
        });
    }

    /// Many keys with next to nothing in them.
    pub fn put_all(&self, keys: impl IntoIterator<Item = String>) {
        let keys: Vec<String> = keys.into_iter().collect();
        for few in keys.chunks(MAX_OPERATIONS) {
            let put = |key: &String| Op::Put {
                key: Span::key(key.clone()).unwrap(),
                value: b"x".to_vec(),
                lease: LeaseId(0),
            };
            let then = few.iter().map(put).collect();
            let txn = Txn {
                then,
                ..Txn::default()
            };
            assert!(self.cluster.client().txn(txn, LONG).unwrap().succeeded);
        }
    }

    /// A key that is longer than this client sends.
    pub fn put_long(&self, key: &str) {
        let key = data_encoding::BASE64.encode(key.as_bytes());
        let put = json!({"key": key, "value": ""});
        self.cluster.gateway("kv/put", None, &put);
    }

    pub fn delete(&self, key: impl Into<Vec<u8>>) {
        self.change(Op::Delete(Span::key(key).unwrap()));
    }

    fn change(&self, op: Op) {
        let then = vec![op];
        let txn = Txn {
            then,
            ..Txn::default()
        };
        assert!(self.cluster.client().txn(txn, LONG).unwrap().succeeded);
    }

    /// What the server of a node says is wrong.
    pub fn problems(&self, node: usize) -> String {
        problems(&self.nodes[node])
    }

    #[track_caller]
    pub fn wait_for_problem(&self, node: usize, text: &str) {
        wait_for_problem(&self.nodes[node], text);
    }

    #[track_caller]
    pub fn wait_until_well(&self, node: usize) {
        let mut last = String::new();
        wait_until("a node without a problem", PATIENCE, || {
            last = self.problems(node);
            last.is_empty()
        });
    }
}

/// A store of the ring on etcd, with this copy.
pub fn store(cluster: &Cluster, prefix: &str, copy: FileStore) -> EtcdStore {
    let urls = (0..cluster.count()).map(|it| cluster.url(it));
    let config = kekring::etcd::Config {
        endpoints: urls.map(|url| Endpoint::parse(url).unwrap()).collect(),
        tls: cluster.authority.is_some().then(|| cluster.tls()),
        user: None,
    };
    EtcdStore::new(config, prefix, None, copy).unwrap()
}

/// The configuration of a node whose etcd is at `url`.
pub fn configuration(node: &Plugin, name: &str, url: &str) -> Value {
    let etcd = json!({"endpoints": [url], "prefix": PREFIX, "localCopy": node.dir.join("ring")});
    json!({
        "apiVersion": "kekring/v1alpha1",
        "kind": "Configuration",
        "node": {"name": name, "machineIdFile": node.dir.join("machine-id")},
        "socket": {"path": node.socket},
        "ring": {
            "store": {"etcd": etcd},
            "roots": [{"file": {"path": node.dir.join("root.key")}}],
        },
        "telemetry": {"listen": ""},
    })
}

/// What the server of a node says is wrong; empty where nothing is, or nobody says anything.
pub fn problems(node: &Plugin) -> String {
    let status = fs::read(node.socket.with_file_name("status.json")).unwrap_or_default();
    let status: Value = serde_json::from_slice(&status).unwrap_or_default();
    let problems = status["problems"].as_array().cloned().unwrap_or_default();
    let texts: Vec<&str> = problems.iter().filter_map(Value::as_str).collect();
    texts.join("\n")
}

#[track_caller]
pub fn wait_for_problem(node: &Plugin, text: &str) {
    let mut last = String::new();
    let started = Instant::now();
    wait_until(&format!("the problem {text:?}"), 2 * PATIENCE, || {
        last = problems(node);
        assert!(started.elapsed() < PATIENCE, "{text:?} is not in: {last}");
        last.contains(text)
    });
}

/// The sequence in a key id.
pub fn sequence(key_id: &str) -> u64 {
    key_id.parse::<KeyId>().unwrap().sequence()
}

/// How a verb ended, and all that it printed.
pub fn ended(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), shown(output))
}

/// What is said of a `rotate` that must not take longer than this.
pub fn rotate(node: &Plugin, timeout: Duration, more: &[&str]) -> (i32, String) {
    let timeout = format!("{}s", timeout.as_secs());
    ended(&node.verb(&[&["rotate", "--timeout", &timeout], more].concat()))
}

/// Files and all, as they are.
pub fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Verbs that must end well.
pub trait Must {
    fn must(&self, args: &[&str]) -> Output;
}

impl Must for Plugin {
    #[track_caller]
    fn must(&self, args: &[&str]) -> Output {
        let output = self.verb(args);
        assert!(output.status.success(), "{args:?}: {}", shown(&output));
        output
    }
}
