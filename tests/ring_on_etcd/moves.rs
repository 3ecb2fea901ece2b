//! A ring in files that becomes one on etcd, and back; a backup that is brought to several nodes; a root that goes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use kekring::custody;
use kekring::format::generation;
use kekring::root::{PathConfig, RootConfig};
use serde_json::{Value, json};

use crate::lab::{Lab, Must, ended, rotate};
use crate::support::{PATIENCE, Plugin, merge, wait_until};
use crate::watch::{Watch, all_open};

const LONG: Duration = Duration::from_secs(60);

pub fn a_ring_in_files_moves_to_etcd_under_its_server_and_back() {
    let mut lab = Lab::empty(json!({}));
    lab.add();
    lab.add();
    let on_etcd = config(&lab.nodes[0]);
    set(&lab.nodes[0], &in_files(&lab.nodes[0]));
    lab.nodes[0].must(&["init", "--no-recovery"]);
    lab.nodes[0].serve();
    let watch = Watch::over(&lab.nodes[..1]);
    watch.more(2);
    let moves = |node: &Plugin, to: &str| {
        set(node, &on_etcd);
        ended(&node.verb(&["store", "move", "--to", to]))
    };

    let (code, said) = moves(&lab.nodes[0], "etcd");
    assert!(code == 0 && said.contains("each opened from both"), "{said}");
    let (code, said) = moves(&lab.nodes[0], "etcd");
    assert!(code == 0, "what is done is done: {said}");

    // The server that still has it in files serves on, and nobody rotates it there.
    watch.more(2);
    set(&lab.nodes[0], &in_files(&lab.nodes[0]));
    let (code, said) = rotate(&lab.nodes[0], LONG, &[]);
    assert!(
        code == 3 && said.contains("several nodes keep this ring on etcd"),
        "{said}"
    );
    set(&lab.nodes[0], &on_etcd);
    let sealed = watch.end();
    lab.nodes[0].stop();
    lab.nodes[0].serve();
    lab.give_root(&lab.nodes[1]);
    lab.nodes[1].serve();
    lab.wait_until_acknowledged(2);
    all_open(&lab.nodes, &sealed);
    let (code, said) = rotate(&lab.nodes[1], LONG, &[]);
    assert!(code == 0, "{said}");

    // Back: one node alone, and nobody who would bring it to etcd again.
    let (code, said) = moves(&lab.nodes[0], "file");
    assert!(
        code == 3 && said.contains("while a server keeps it on etcd"),
        "{said}"
    );
    lab.nodes[0].stop();
    let (code, said) = moves(&lab.nodes[0], "file");
    assert!(code == 3 && said.contains("cp-2"), "{said}");
    lab.nodes[1].stop();
    wait_until("a node to be removed", 2 * PATIENCE, || {
        ended(&lab.nodes[0].verb(&["node", "remove", "cp-2"])).0 == 0
    });
    let (code, said) = moves(&lab.nodes[0], "file");
    assert!(code == 0, "{said}");
    assert!(lab.all("/kekring/").is_empty(), "it is in etcd still");
    set(&lab.nodes[0], &in_files(&lab.nodes[0]));
    let (code, said) = rotate(&lab.nodes[0], LONG, &[]);
    assert!(code == 0, "{said}");
    lab.nodes[0].serve();
    all_open(&lab.nodes[..1], &sealed);
}

pub fn a_ring_that_moves_to_files_leaves_in_etcd_what_it_is_not_proven_to_have() {
    let mut lab = Lab::of(1);
    lab.nodes[0].must(&["rotate"]);
    lab.nodes[0].stop();
    let foreign = ["gen/gen-3-03030303.ring", "shown/gen-3-03030303.ring", "others"];
    let foreign = foreign.map(|name| lab.key(name));
    foreign
        .iter()
        .for_each(|key| lab.put(key.clone(), b"nobody knows what"));

    let (code, said) = ended(&lab.nodes[0].verb(&["store", "move", "--to", "file"]));

    assert_eq!(code, 0, "{said}");
    let kept = lab.all("/kekring/").into_iter();
    let kept: Vec<String> = kept.map(|kv| String::from_utf8(kv.key).unwrap()).collect();
    assert!(
        kept.iter()
            .all(|key| said.contains(&format!("proven to have it: {key}"))),
        "{said}"
    );
    assert!(
        foreign.iter().all(|key| kept.contains(key)) && kept.len() == 3,
        "{kept:?}"
    );
    set(&lab.nodes[0], &in_files(&lab.nodes[0]));
    lab.nodes[0].must(&["rotate"]);
}

pub fn a_ring_does_not_move_to_where_another_one_is() {
    let mut lab = Lab::of(1);
    let stranger = lab.machine("cp-9");
    let on_etcd = config(&stranger);
    set(&stranger, &in_files(&stranger));
    stranger.must(&["init", "--no-recovery"]);
    let before = lab.snapshot().head;
    set(&stranger, &on_etcd);

    let (code, said) = ended(&stranger.verb(&["store", "move", "--to", "etcd"]));

    assert!(code == 3 && said.contains("there is /kekring/"), "{said}");
    assert_eq!(lab.snapshot().head, before);
    // Nothing was done to it either: it rotates as before.
    set(&stranger, &in_files(&stranger));
    stranger.must(&["rotate"]);
    lab.nodes[0].stop();
}

pub fn a_backup_is_joined_by_every_node_and_takes_nothing_back() {
    let lab = Lab::of(2);
    let dir = lab.nodes[0].dir.clone();
    let backup = dir.join("backup.ring");
    lab.nodes[0].must(&["backup", backup.to_str().unwrap()]);
    let watch = Watch::over(&lab.nodes);
    for _ in 0..4 {
        lab.nodes[1].must(&["rotate"]);
    }
    let before = lab.sequence();

    let (code, said) = ended(&lab.nodes[1].verb(&["restore", backup.to_str().unwrap()]));

    assert!(code == 0 && said.contains("nothing to restore"), "{said}");
    assert_eq!(lab.sequence(), before);
    let sealed = watch.end();
    all_open(&lab.nodes, &sealed);
}

pub fn where_every_copy_is_lost_a_backup_brings_the_ring_back() {
    let mut lab = Lab::of(2);
    let watch = Watch::over(&lab.nodes);
    watch.more(2);
    let backup = lab.nodes[0].dir.join("backup.ring");
    lab.nodes[0].must(&["backup", backup.to_str().unwrap()]);
    let sealed = watch.end();
    for node in &mut lab.nodes {
        node.stop();
        fs::remove_dir_all(node.dir.join("ring")).unwrap();
    }
    for kv in lab.all("/kekring/") {
        lab.delete(kv.key);
    }

    // New disks under the old names: each takes the place of the one that is gone.
    let (code, said) = ended(&lab.nodes[0].verb(&["restore", backup.to_str().unwrap()]));
    assert!(code == 0 && said.contains("restored generation"), "{said}");
    assert!(said.contains("registered by another instance"), "{said}");
    for name in ["cp-1", "cp-2"] {
        lab.nodes[0].must(&["node", "remove", name]);
    }
    lab.nodes.iter_mut().for_each(Plugin::serve);
    lab.wait_until_acknowledged(2);

    all_open(&lab.nodes, &sealed);
    lab.nodes[1].must(&["rotate"]);
}

pub fn a_root_goes_once_every_node_has_opened_the_new_ring_key() {
    let mut lab = Lab::of(3);
    let second = lab.nodes[0].dir.join("second.key");
    fs::write(&second, [7; 32]).unwrap();
    fs::set_permissions(&second, PermissionsExt::from_mode(0o600)).unwrap();
    let with = |node: &Plugin, paths: &[&Path]| {
        let roots: Vec<Value> = paths.iter().map(|path| json!({"file": {"path": path}})).collect();
        let mut all = config(node);
        all["ring"]["roots"] = json!(roots);
        set(node, &all);
    };
    for node in &mut lab.nodes[..2] {
        let first = node.dir.join("root.key");
        with(node, &[&second, &first]);
        node.stop();
        node.serve();
    }
    let watch = Watch::over(&lab.nodes);
    lab.nodes[0].must(&["root", "add"]);
    let slots = lab.nodes[0].json(&["root", "list"]);
    let old = slots["slots"].as_array().unwrap().iter();
    let old = old
        .filter(|slot| slot["name"].as_str().unwrap().ends_with("root.key"))
        .map(|slot| slot["id"].as_str().unwrap().to_owned())
        .next()
        .unwrap();
    let remove = |node: &Plugin, timeout| ended(&node.verb(&["root", "remove", &old, "--timeout", timeout]));

    // The third has the old root alone.
    let (code, said) = remove(&lab.nodes[0], "2s");
    assert!(code == 4 && said.contains("cp-3"), "{said}");
    let first = lab.nodes[0].dir.join("root.key");
    assert!(opens(&lab, &first), "the older ones stay until then");
    lab.wait_for_problem(2, "cannot be opened here");
    watch.more(2);
    let sealed = watch.end();

    let node = &mut lab.nodes[2];
    with(node, &[&second]);
    node.stop();
    node.serve();
    let (code, said) = remove(&lab.nodes[1], "60s");

    assert!(code == 0, "{said}");
    assert!(!opens(&lab, &first), "the removed root opens what is in etcd");
    for node in &lab.nodes {
        wait_until("older generations to be gone", PATIENCE, || {
            let names = fs::read_dir(node.dir.join("ring")).unwrap();
            let rings = names.filter(|it| {
                it.as_ref()
                    .unwrap()
                    .path()
                    .extension()
                    .is_some_and(|it| it == "ring")
            });
            rings.count() == 1
        });
    }
    all_open(&lab.nodes, &sealed);
}

pub fn what_a_verb_changes_every_node_has_taken_when_it_ends() {
    let mut lab = Lab::of(2);
    lab.nodes[0].must(&["rotate"]);
    let keys = lab.nodes[0].json(&["keys", "list"]);
    let first = keys["keys"][0]["id"].as_str().unwrap().to_owned();

    lab.nodes[0].must(&["keys", "suspend", &first]);
    let states = lab.nodes[1].json(&["keys", "list"]);
    assert_eq!(states["keys"][0]["state"], "suspended");

    lab.nodes[1].kill();
    let (code, said) = ended(&lab.nodes[0].verb(&["keys", "resume", &first, "--timeout", "1s"]));
    assert!(code == 4 && said.contains("cp-2"), "{said}");
    assert!(said.contains("kekring node remove"), "{said}");
}

/// Whether a root file opens any generation that is in etcd.
fn opens(lab: &Lab, path: &Path) -> bool {
    let path = path.to_owned();
    let root = RootConfig::File(PathConfig { path }).build();
    lab.all(&lab.key("gen/")).iter().any(|kv| {
        let header = generation::parse(&kv.value).unwrap().header;
        let mut slots = header.slots.iter();
        slots.any(|slot| custody::opens(root.as_ref(), &header, slot).is_ok())
    })
}

fn config(node: &Plugin) -> Value {
    serde_json::from_slice(&fs::read(&node.config).unwrap()).unwrap()
}

fn set(node: &Plugin, config: &Value) {
    fs::write(&node.config, config.to_string()).unwrap();
}

fn in_files(node: &Plugin) -> Value {
    let mut all = config(node);
    merge(&mut all, json!({"ring": {"store": null}}));
    all["ring"]["store"] = json!({"file": {"dir": node.dir.join("ring")}});
    all
}
