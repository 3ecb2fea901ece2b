//! Three control-plane nodes.
//!
//! Each has a plugin of its own with a ring directory of its own. There is no store yet that keeps them in step, so this
//! case does what such a store will do: it makes one ring, and copies each generation to the other nodes by hand, one
//! node at a time. Shown is that the order in which a ring hands out its keys (prepared, then distributed, then active) lets
//! every node read every other at every step, whichever node is ahead. Not shown is any protocol that enforces this order:
//! nothing here waits for a node's acknowledgement, and the last step shows what happens to who does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::client::{Client, Stored};
use crate::golang::Program;
use crate::lab::{
    NOTICED, VERBOSE, active, encryption_configuration, holds, key, key_id, rotate, server_status, verb,
};
use crate::support::{Plugin, wait_until};

const NAMES: [&str; 3] = ["cp-1", "cp-2", "cp-3"];

struct Cluster {
    client: Client,
    plugins: Vec<Plugin>,
    configs: Vec<PathBuf>,
    /// Everything that was ever written, by its name.
    objects: Vec<(String, Stored)>,
}

pub fn staged(program: &'static Program) {
    let mut cluster = Cluster::start(program);
    let first = active(&cluster.plugins[0]);
    cluster.every_node_reads_everything([&first, &first, &first]);

    // The prepared key lies in every copy already: the first node may be ahead at once.
    let second = rotate(&cluster.plugins[0], &[]);
    cluster.every_node_reads_everything([&second, &first, &first]);
    cluster.distribute(1);
    cluster.every_node_reads_everything([&second, &second, &first]);
    cluster.distribute(2);
    cluster.every_node_reads_everything([&second, &second, &second]);

    // A key that nobody has seen is distributed before it is used.
    verb(&cluster.plugins[0], &["rotate", "--prepare"]);
    cluster.every_node_reads_everything([&second, &second, &second]);
    cluster.distribute(1);
    cluster.distribute(2);
    let third = rotate(&cluster.plugins[0], &["--activate"]);
    cluster.every_node_reads_everything([&third, &second, &second]);
    cluster.distribute(2);
    cluster.every_node_reads_everything([&third, &second, &third]);
    cluster.distribute(1);
    cluster.every_node_reads_everything([&third, &third, &third]);

    cluster.a_key_that_is_used_before_it_is_distributed_is_an_error_elsewhere();
}

impl Cluster {
    fn start(program: &'static Program) -> Self {
        let mut plugins = vec![Plugin::prepared(&settings(NAMES[0]))];
        for name in &NAMES[1..] {
            let plugin = Plugin::unmade(&settings(name));
            fs::create_dir(plugin.dir.join("ring")).unwrap();
            fs::set_permissions(plugin.dir.join("ring"), fs::Permissions::from_mode(0o700)).unwrap();
            fs::copy(plugins[0].dir.join("root.key"), plugin.dir.join("root.key")).unwrap();
            copy_ring(&plugins[0], &plugin);
            plugins.push(plugin);
        }
        plugins.iter_mut().for_each(Plugin::serve);
        let configs: Vec<PathBuf> = plugins.iter().map(encryption_configuration).collect();
        let mut client = Client::start(program);
        for (name, config) in NAMES.iter().zip(&configs) {
            client.load(name, config);
        }
        Self {
            client,
            plugins,
            configs,
            objects: Vec::new(),
        }
    }

    /// Gives a node what the first one has, and waits until it reports the same key.
    fn distribute(&mut self, node: usize) {
        copy_ring(&self.plugins[0], &self.plugins[node]);
        let generation = |plugin| server_status(plugin)["generation"].clone();
        let wanted = generation(&self.plugins[0]);
        wait_until("the node to use what it was given", NOTICED, || {
            generation(&self.plugins[node]) == wanted
        });
    }

    /// On each node kube-apiserver comes to write under `keys`; then all of them read all that was ever written, once with
    /// what they have cached and once as they would after a start.
    fn every_node_reads_everything(&mut self, keys: [&str; 3]) {
        for (node, wanted) in NAMES.iter().zip(keys) {
            let name = format!("{node}-{}", self.objects.len());
            let mut written = None;
            wait_until("kube-apiserver to use its node's key", NOTICED, || {
                self.client.health(node).unwrap();
                let object = self.client.write(node, &key(&name), &name).unwrap();
                let uses = key_id(&object) == wanted;
                written = Some(object);
                uses
            });
            self.objects.push((name, written.unwrap()));
        }
        for ((node, config), own) in NAMES.iter().zip(&self.configs).zip(keys) {
            let cold = format!("{node} started again");
            self.client.load(&cold, config);
            for server in [*node, &cold] {
                for (name, object) in &self.objects {
                    let opened = self.client.read(server, object);
                    let stale = key_id(object) != own;
                    assert_eq!(opened.unwrap(), holds(name, stale), "{name} read on {server}");
                }
            }
            self.client.close(&cold);
        }
    }

    fn a_key_that_is_used_before_it_is_distributed_is_an_error_elsewhere(&mut self) {
        let rash = rotate(&self.plugins[0], &["--fresh"]);
        self.client.load(NAMES[0], &self.configs[0]);
        let object = self.client.write(NAMES[0], &key("rash"), "rash").unwrap();
        assert_eq!(key_id(&object), rash);

        let why = self.client.read(NAMES[1], &object).unwrap_err();
        self.distribute(1);
        let opened = self.client.read(NAMES[1], &object).unwrap();

        assert_eq!(why.code, "NotFound", "{why:?}");
        assert!(why.text.contains("is not in the ring"), "{why:?}");
        assert_eq!(opened.data, b"rash");
    }
}

fn settings(name: &str) -> String {
    // Flow style: one mapping inside another.
    format!("{{node: {{name: {name}}}, {}", &VERBOSE[1..])
}

/// Every generation that the other lacks. Its mark stays its own: it says what this node has reported.
fn copy_ring(from: &Plugin, to: &Plugin) {
    for entry in fs::read_dir(from.dir.join("ring")).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.dir.join("ring").join(path.file_name().unwrap());
        if path.extension().is_none_or(|it| it != "ring") || copy.exists() {
            continue;
        }
        let unfinished = to.dir.join("unfinished");
        fs::copy(&path, &unfinished).unwrap();
        fs::rename(&unfinished, &copy).unwrap();
    }
}
