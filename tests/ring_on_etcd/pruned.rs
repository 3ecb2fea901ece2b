//! Generations on etcd beyond those that are kept: what the newest is proven to say goes, and nothing else.

use std::path::PathBuf;

use kekring::crypto::secret::Key32;
use kekring::custody::{Custody, Opened};
use kekring::keyring::lifecycle;
use kekring::store::{FileStore, KEPT_ON_ETCD, generation_name};
use kekring::telemetry::now;

use crate::forging::{HONEST, of_a_stranger};
use crate::lab::{Lab, Must, copy_directory};
use crate::support::{PATIENCE, scratch, wait_until};
use crate::watch::{Watch, all_open};

type File = (String, Vec<u8>);

pub fn only_what_the_newest_generation_is_proven_to_say_goes_from_etcd() {
    let lab = Lab::of(2);
    let watch = Watch::over(&lab.nodes);
    let first = lab.open().head;
    let dir = scratch();
    let apart = dir.path().join("apart");
    copy_directory(&lab.nodes[0].dir.join("ring"), &apart);
    for _ in 0..6 {
        lab.nodes[1].must(&["rotate"]);
    }
    wait_until("some of them to be kept", PATIENCE, || {
        names(&lab, "gen").len() == KEPT_ON_ETCD
    });

    let other = gone_on(&lab, apart);
    let (stranger, bytes) = of_a_stranger(&first.bytes, 2, 1, HONEST);
    let foreign = [
        (other.head.name.clone(), other.head.bytes.clone()),
        (stranger, bytes),
        (generation_name(3, &[3; 32]), b"garbage".to_vec()),
    ];
    // And one that the newest says all of.
    let covered = (first.name.clone(), first.bytes);
    for (name, bytes) in foreign.iter().chain([&covered]) {
        lab.put(lab.key(&format!("gen/{name}")), bytes);
        lab.put(lab.key(&format!("shown/{name}")), bytes);
    }

    wait_until_pruned(&lab, &foreign);
    assert!(!names(&lab, "gen").contains(&first.name));
    for _ in 0..4 {
        lab.nodes[0].must(&["rotate"]);
    }
    wait_until_pruned(&lab, &foreign);
    for (name, bytes) in &foreign {
        assert_eq!(lab.get(&lab.key(&format!("gen/{name}"))).unwrap(), *bytes);
    }
    // Each is told of, and one with the key that only it has.
    let only = &other.ring.active().unwrap().id;
    wait_until("what stays to be told of", PATIENCE, || {
        let status = lab.nodes[1].json(&["status"])["warnings"].to_string();
        let told = |(name, _): &File| status.contains(&format!("gen/{name}"));
        foreign.iter().all(told) && status.contains(only.as_str())
    });
    (0..2).for_each(|node| lab.wait_until_well(node));
    all_open(&lab.nodes, &watch.end());
}

fn names(lab: &Lab, directory: &str) -> Vec<String> {
    let prefix = lab.key(&format!("{directory}/"));
    let all = lab.all(&prefix).into_iter();
    let names = all.map(|kv| String::from_utf8(kv.key).unwrap());
    let names = names.map(|it| it.strip_prefix(&prefix).unwrap().to_owned());
    names.collect()
}

/// A history of its own, which one node had alone, and which nobody has joined.
fn gone_on(lab: &Lab, copy: PathBuf) -> Opened {
    let custody = Custody {
        calls: Default::default(),
        store: Box::new(FileStore::new(copy, None)),
        ..lab.custody()
    };
    let mut other = custody.open(None, now()).unwrap();
    for _ in 0..2 {
        let next = lifecycle::activate(&other.ring, Key32::generate().unwrap(), now()).unwrap();
        other = custody.commit(&other, next, now()).unwrap();
    }
    other
}

/// The ring's own are as many as are kept, and what is foreign never goes meanwhile.
#[track_caller]
fn wait_until_pruned(lab: &Lab, foreign: &[File]) {
    let count = |directory: &str| {
        let names = names(lab, directory);
        assert!(
            foreign.iter().all(|(name, _)| names.contains(name)),
            "{directory}: {names:?}"
        );
        names.len() - foreign.len()
    };
    wait_until("what is covered to be gone", PATIENCE, || {
        count("gen") == KEPT_ON_ETCD && count("shown") == 0
    });
}
