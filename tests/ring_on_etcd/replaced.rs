//! A ring whose first root was removed, and somebody who has that root, a node's directory from before, and write access to
//! etcd. Whatever he makes with that is nobody's word.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kekring::crypto::random;
use kekring::crypto::secret::Key32;
use kekring::custody::{Custody, Opened};
use kekring::format::generation::{self, Stored};
use kekring::format::node;
use kekring::keyring::lifecycle;
use kekring::keyring::ring::Ring;
use kekring::proto::kms::EncryptResponse;
use kekring::root::{PathConfig, RootConfig, RootKey};
use kekring::store::FileStore;
use kekring::telemetry::now;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::lab::{Lab, Must, copy_directory, ended, rotate};
use crate::silent::freeze;
use crate::support::{PATIENCE, Plugin, scratch, shown, wait_until};
use crate::watch::{Watch, all_open};

/// How soon the nodes are back on one head of their own.
const SOON: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_secs(2);

/// Three nodes that keep the ring, and what the holder of the removed root has.
pub struct Removed {
    pub lab: Lab,
    /// The root that was removed.
    pub first: PathBuf,
    /// The root that stays.
    pub second: PathBuf,
    /// The slot of the removed root.
    pub slot: String,
    /// A node's directory from before the removal, in which the ring goes on under the old ring key.
    pub theirs: PathBuf,
    _dir: TempDir,
}

impl Removed {
    /// The removal is done on every node.
    pub fn new() -> Self {
        let it = Self::before();
        let (code, said) = it.remove(&it.lab.nodes[0], 60);
        assert!(code == 0, "{said}");
        it
    }

    /// Every node has both roots, and none is removed yet.
    pub fn before() -> Self {
        let dir = scratch();
        let second = dir.path().join("second.key");
        fs::write(&second, [7; 32]).unwrap();
        fs::set_permissions(&second, fs::Permissions::from_mode(0o600)).unwrap();
        let mut lab = Lab::of(3);
        lab.nodes[0].must(&["rotate"]);
        for node in &mut lab.nodes {
            set_roots(node, &[&second, &node.dir.join("root.key")]);
            node.stop();
            node.serve();
        }
        lab.nodes[0].must(&["root", "add"]);
        lab.wait_until_acknowledged(3);
        let slots = lab.nodes[0].json(&["root", "list"]);
        let mut slots = slots["slots"].as_array().unwrap().iter();
        let old = slots.find(|slot| slot["name"].as_str().unwrap().ends_with("root.key"));
        let slot = old.unwrap()["id"].as_str().unwrap().to_owned();
        let theirs = dir.path().join("theirs");
        copy_directory(&lab.nodes[0].dir.join("ring"), &theirs);
        let first = dir.path().join("first.key");
        fs::copy(lab.nodes[0].dir.join("root.key"), &first).unwrap();
        Self {
            lab,
            first,
            second,
            slot,
            theirs,
            _dir: dir,
        }
    }

    /// Removes the first root by a node.
    pub fn remove(&self, node: &Plugin, timeout: u64) -> (i32, String) {
        let timeout = format!("{timeout}s");
        ended(&node.verb(&["root", "remove", &self.slot, "--timeout", &timeout]))
    }

    /// The ring on etcd, as the root that stays opens it.
    pub fn custody(&self) -> Custody {
        Custody {
            calls: Arc::default(),
            roots: vec![file_root(&self.second)],
            ..self.lab.custody()
        }
    }

    pub fn open(&self) -> Opened {
        self.custody().open(None, now()).unwrap()
    }

    /// The old history, as the removed root opens it.
    pub fn their_custody(&self) -> Custody {
        Custody {
            calls: Arc::default(),
            store: Box::new(FileStore::new(self.theirs.clone(), None)),
            roots: vec![file_root(&self.first)],
            ..self.lab.custody()
        }
    }

    /// Goes on in the old history: at this generation, with so many rotations.
    pub fn forge(&self, generation: u64, rotations: usize) -> Opened {
        let custody = self.their_custody();
        let mut opened = custody.open(None, now()).unwrap();
        let mut next = Ring {
            generation: generation - u64::try_from(rotations).unwrap(),
            ..opened.ring.clone()
        };
        for _ in 0..rotations {
            next = lifecycle::activate(&next, Key32::generate().unwrap(), now()).unwrap();
            opened = custody.commit(&opened, next.clone(), now()).unwrap();
        }
        opened
    }

    /// Makes a generation the head on etcd, as somebody does who writes there; returns its key.
    pub fn put_head(&self, opened: &Opened) -> String {
        let key = self.lab.key(&format!("gen/{}", opened.head.name));
        self.lab.put(key.clone(), &opened.head.bytes);
        self.lab.put(self.lab.key("head"), opened.head.name.as_bytes());
        key
    }

    /// The head on etcd, where there is a sound one.
    pub fn head(&self) -> Option<Stored> {
        let head = String::from_utf8(self.lab.get(&self.lab.key("head"))?).ok()?;
        generation::parse(&self.lab.get(&self.lab.key(&format!("gen/{head}")))?).ok()
    }

    /// Until the head on etcd is under this ring key again and nothing is parted; no node must follow the old history meanwhile.
    #[track_caller]
    pub fn wait_until_back(&self, ring_key: &Key32, stolen: &EncryptResponse) {
        let clients: Vec<Client> = self
            .lab
            .nodes
            .iter()
            .map(|node| Client::connect(&node.socket))
            .collect();
        let started = Instant::now();
        wait_until("one head under the ring's own key", PATIENCE, || {
            for client in &clients {
                assert_ne!(client.key_id(), stolen.key_id);
                assert!(
                    client.decrypt(stolen).is_err(),
                    "a key of the old history decrypts"
                );
            }
            let own = self.head().is_some_and(|it| it.open(ring_key).is_ok());
            own && self.lab.get(&self.lab.key("fork")).is_none()
        });
        let took = started.elapsed();
        println!("       back after {} ms", took.as_millis());
        assert!(took < SOON, "{took:?}");
        self.lab.wait_until_acknowledged(3);
    }

    /// No node lists the removed root, and no key of the old history is in the ring.
    #[track_caller]
    pub fn is_untouched_by(&self, forged: &Opened, before: &Opened) {
        for node in &self.lab.nodes {
            let list = shown(&node.must(&["root", "list"]));
            assert!(!list.contains(&self.slot), "{list}");
        }
        let after = self.open();
        assert_eq!(after.ring_key.expose(), before.ring_key.expose());
        let theirs = forged.ring.keys.iter().map(|key| &key.id);
        for id in theirs.filter(|id| before.ring.key(id).is_none()) {
            assert!(after.ring.key(id).is_none(), "{id} got in");
        }
    }
}

/// A seed under the active key of a history.
pub fn sealed(opened: &Opened) -> EncryptResponse {
    let (ciphertext, id) = opened.keyring().encrypt(None, &[9; 32]).unwrap();
    EncryptResponse {
        ciphertext,
        key_id: id.to_string(),
        ..EncryptResponse::default()
    }
}

pub fn set_roots(node: &Plugin, paths: &[&Path]) {
    let mut all: Value = serde_json::from_slice(&fs::read(&node.config).unwrap()).unwrap();
    let roots: Vec<Value> = paths.iter().map(|path| json!({"file": {"path": path}})).collect();
    all["ring"]["roots"] = json!(roots);
    fs::write(&node.config, all.to_string()).unwrap();
}

fn file_root(path: &Path) -> Arc<dyn RootKey> {
    let path = path.to_owned();
    RootConfig::File(PathConfig { path }).build()
}

pub fn what_a_removed_root_seals_never_becomes_the_ring_by_the_heads_name() {
    let mut removed = Removed::new();
    // One node has the removed root no more, the others still try it.
    set_roots(&removed.lab.nodes[1], &[&removed.second]);
    removed.lab.nodes[1].stop();
    removed.lab.nodes[1].serve();
    let watch = Watch::over(&removed.lab.nodes);
    let lab = &removed.lab;
    let before = removed.open();

    for generation in [900, 1800] {
        let forged = removed.forge(generation, 5);
        let key = removed.put_head(&forged);

        removed.wait_until_back(&before.ring_key, &sealed(&forged));
        removed.is_untouched_by(&forged, &before);
        assert_eq!(lab.get(&key).unwrap(), forged.head.bytes, "it is kept");
        watch.check();
    }
    lab.nodes[2].must(&["rotate"]);
    let sealed = watch.end();

    // What was laid there is told of, with the keys that only it has.
    let theirs = removed.their_custody().open(None, now()).unwrap();
    let active = &theirs.ring.active().unwrap().id;
    wait_until("his generations to be told of", PATIENCE, || {
        let status = lab.nodes[0].json(&["status"])["warnings"].to_string();
        let told = |it: &str| status.contains(&format!("gen/gen-{it}-"));
        told("900") && told("1800") && status.contains(&format!("{active} was active there"))
    });
    let used = |it: &EncryptResponse| {
        let old = before.ring.keys.iter().any(|key| key.id.as_str() == it.key_id);
        !old && theirs.ring.keys.iter().any(|key| key.id.as_str() == it.key_id)
    };
    assert!(!sealed.iter().any(used), "a node reported a key of his");
    all_open(&lab.nodes, &sealed);

    // Nor where a node starts while his head is there.
    removed.lab.nodes[2].stop();
    let forged = removed.forge(2700, 1);
    let lab = &removed.lab;
    lab.put(lab.key(&format!("gen/{}", forged.head.name)), &forged.head.bytes);
    lab.put(lab.key("head"), forged.head.name.as_bytes());
    for node in 0..2 {
        lab.wait_for_problem(node, "joining them waits for cp-3");
        let client = Client::connect(&lab.nodes[node].socket);
        let stolen = client.decrypt(&self::sealed(&forged));
        assert!(stolen.is_err(), "what he sealed opens while they wait");
    }
    removed.lab.nodes[2].serve();
    removed.wait_until_back(&before.ring_key, &self::sealed(&forged));
    removed.is_untouched_by(&forged, &before);

    // Nor by the highest number that there is.
    let forged = removed.forge(u64::MAX, 2);
    removed.put_head(&forged);
    removed.wait_until_back(&before.ring_key, &self::sealed(&forged));
    removed.is_untouched_by(&forged, &before);
    removed.lab.nodes[0].must(&["rotate"]);
    all_open(&removed.lab.nodes, &sealed);
}

pub fn what_a_removed_root_seals_is_joined_by_no_node_in_a_fork_that_it_forges() {
    let removed = Removed::new();
    let watch = Watch::over(&removed.lab.nodes);
    let (lab, before) = (&removed.lab, removed.open());
    let forged = removed.forge(900, 5);
    let shown = lab.key(&format!("shown/{}", forged.head.name));

    // With the word of every node, as he makes it.
    let nonce: [u8; 16] = random().unwrap();
    for name in ["cp-1", "cp-2", "cp-3"] {
        let own = lab.get(&lab.key(&format!("nodes/{name}"))).unwrap();
        let mut said = node::decode(&own, &before.ring_key).unwrap();
        (said.generation, said.hash) = (900, forged.head.hash);
        said.held = forged.ring.pre_active().unwrap().id.clone();
        said.reported = Some(forged.ring.active().unwrap().id.clone());
        said.shown = Some(nonce);
        lab.put(lab.key(&format!("nodes/{name}")), &said.encode(&forged.ring_key));
    }
    lab.put(shown.clone(), &forged.head.bytes);
    lab.put(lab.key("fork"), &nonce);

    removed.wait_until_back(&before.ring_key, &sealed(&forged));
    removed.is_untouched_by(&forged, &before);
    assert_eq!(lab.get(&shown).unwrap(), forged.head.bytes, "it is kept");
    lab.nodes[1].must(&["rotate"]);
    wait_until("it to be told of", PATIENCE, || {
        let status = lab.nodes[0].json(&["status"])["warnings"].to_string();
        status.contains(&format!("shown/{}", forged.head.name))
    });
    all_open(&lab.nodes, &watch.end());
}

pub fn acknowledgements_under_a_replaced_ring_key_let_no_rotation_through() {
    let removed = Removed::new();
    let (lab, before) = (&removed.lab, removed.open());
    let watch = Watch::over(&lab.nodes[..2]);
    // The nodes have seen the old ring key in use, too.
    let theirs = removed.forge(900, 3);
    removed.put_head(&theirs);
    removed.wait_until_back(&before.ring_key, &sealed(&theirs));
    freeze(&lab.nodes[2]);
    let own = lab.get(&lab.key("nodes/cp-3")).unwrap();
    // It holds the key of this one, and not that of the next.
    rotate(&lab.nodes[0], SHORT, &[]);
    let opened = removed.open();
    let sequence = |it: &Opened| it.ring.active().unwrap().id.sequence();

    let mut forged = node::decode(&own, &opened.ring_key).unwrap();
    (forged.generation, forged.hash) = (opened.ring.generation, opened.head.hash);
    forged.held = opened.ring.pre_active().unwrap().id.clone();
    lab.put(lab.key("nodes/cp-3"), &forged.encode(&theirs.ring_key));
    let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);

    assert!(code == 4 && said.contains("cp-3"), "{said}");
    assert_eq!(sequence(&removed.open()), sequence(&opened));
    lab.nodes[2].signal(Signal::CONT);
    wait_until("its own word", PATIENCE, || {
        sequence(&removed.open()) == sequence(&opened) + 1
    });
    all_open(&lab.nodes, &watch.end());
}

pub fn an_older_and_longer_backup_from_before_a_removal_decrypts_on_every_node_and_undoes_nothing() {
    let removed = Removed::new();
    let watch = Watch::over(&removed.lab.nodes);
    let (lab, before) = (&removed.lab, removed.open());
    // Nobody malicious: the ring went on elsewhere, before the removal reached it.
    let longer = removed.forge(60, 6);
    let backup = removed.theirs.with_file_name("longer.ring");
    fs::write(&backup, &longer.head.bytes).unwrap();
    let seed = sealed(&longer);

    let (code, said) = ended(&lab.nodes[1].verb(&["restore", backup.to_str().unwrap()]));

    assert!(code == 0 && said.contains("new here"), "{said}");
    lab.wait_until_acknowledged(3);
    all_open(&lab.nodes, std::slice::from_ref(&seed));
    let after = removed.open();
    assert_eq!(after.ring_key.expose(), before.ring_key.expose());
    let active = |it: &Opened| it.ring.active().unwrap().id.clone();
    assert_eq!(active(&after), active(&before));
    let theirs = longer.ring.keys.iter();
    for key in theirs.filter(|key| before.ring.key(&key.id).is_none()) {
        assert!(after.ring.key(&key.id).unwrap().decrypt_only, "{}", key.id);
    }
    for node in &lab.nodes {
        let list = shown(&node.must(&["root", "list"]));
        assert!(!list.contains(&removed.slot), "{list}");
        let client = Client::connect(&node.socket);
        assert_ne!(client.key_id(), seed.key_id);
    }
    // Nor does a rotation ever use one of them.
    lab.nodes[2].must(&["rotate"]);
    assert!(!removed.open().ring.active().unwrap().decrypt_only);
    let sealed = watch.end();
    all_open(&lab.nodes, &sealed);
}
