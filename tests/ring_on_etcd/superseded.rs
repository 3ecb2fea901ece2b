//! A node that was away while a root was removed, and has no other one: what it holds is out of use.

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kekring::etcd::KeyValue;
use kekring::format::{generation, superseded};
use kekring::proto::kms::EncryptResponse;
use kekring::telemetry::now;

use crate::client::Client;
use crate::lab::{Must, ended, rotate};
use crate::replaced::{Removed, set_roots};
use crate::support::{PATIENCE, Plugin, shown, wait_until};
use crate::watch::{Watch, all_open};

const LONG: Duration = Duration::from_secs(60);

/// A node with the first root alone is away; the others remove that root. It is removed by word, or a rotation is done
/// without it.
fn away() -> (Removed, Vec<EncryptResponse>) {
    let mut removed = Removed::before();
    let watch = Watch::over(&removed.lab.nodes);
    watch.more(3);
    let sealed = watch.end();
    let third = &mut removed.lab.nodes[2];
    third.stop();
    set_roots(third, &[&third.dir.join("root.key")]);
    let (code, said) = removed.remove(&removed.lab.nodes[0], 2);
    assert!(code == 4 && said.contains("cp-3"), "{said}");
    // Until it is done, or somebody says that the node is gone, nothing is left for it.
    assert!(removed.lab.all(&removed.lab.key("superseded/")).is_empty());
    (removed, sealed)
}

/// Status is an error that names the replacement, and what was sealed opens.
#[track_caller]
fn is_silenced(node: &Plugin, generation: u64, sealed: &[EncryptResponse]) {
    wait_until("a socket", PATIENCE, || UnixStream::connect(&node.socket).is_ok());
    let client = Client::connect(&node.socket);
    let said = format!("the ring key was replaced at generation {generation}");
    let mut last = String::new();
    wait_until("Status to be an error", PATIENCE, || {
        last = format!("{:?}", client.status());
        last.contains(&said)
    });
    assert!(client.encrypt(&[7; 32]).is_err());
    for one in sealed {
        client.decrypt(one).unwrap();
    }
}

pub fn a_node_that_was_away_while_a_root_was_removed_reports_no_key_until_it_has_another_root() {
    let (mut removed, sealed) = away();
    let generation = removed.open().ring.generation;
    let (code, said) = rotate(&removed.lab.nodes[0], LONG, &["--without", "cp-3"]);
    assert!(code == 0, "{said}");
    // The first that activates a key leaves the record, and it is in no ring any more.
    let records = removed.lab.all(&removed.lab.key("superseded/"));
    assert_eq!(records.len(), 1);
    assert!(removed.open().ring.superseding.is_empty());
    let theirs = removed.their_custody().open(None, now()).unwrap();
    let record = superseded::decode(&records[0].value, &theirs.ring_key).unwrap();
    assert_eq!(record.generation, generation);

    removed.lab.nodes[2].spawn();
    is_silenced(&removed.lab.nodes[2], generation, &sealed);

    // It remembers that: also where it starts without etcd, and where the record is gone.
    let key = String::from_utf8(records[0].key.clone()).unwrap();
    removed.lab.delete(key);
    removed.lab.nodes[2].stop();
    removed.lab.cluster.kill(0);
    removed.lab.nodes[2].spawn();
    is_silenced(&removed.lab.nodes[2], generation, &sealed);
    removed.lab.cluster.run(0);
    removed.lab.cluster.wait_until_ready();
    removed.lab.wait_for_problem(2, "cannot be opened here");
    is_silenced(&removed.lab.nodes[2], generation, &sealed);

    // With a root for the new ring key it comes back by itself.
    let third = &mut removed.lab.nodes[2];
    set_roots(third, &[&removed.second]);
    third.stop();
    third.serve();
    removed.lab.wait_until_acknowledged(3);
    removed.lab.wait_until_well(2);
    let (code, said) = rotate(&removed.lab.nodes[2], LONG, &[]);
    assert!(code == 0, "{said}");
    all_open(&removed.lab.nodes, &sealed);
}

/// No key is activated: the removal ends once the node is removed by word, and leaves the record with what it deletes.
pub fn a_removal_that_ends_without_a_node_leaves_a_record_for_it_with_what_it_deletes() {
    let (mut removed, sealed) = away();
    let generation = removed.open().ring.generation;
    let mut said = String::new();
    wait_until("the node to be removed", 2 * PATIENCE, || {
        let (code, all) = ended(&removed.lab.nodes[0].verb(&["node", "remove", "cp-3"]));
        said = all;
        assert!(code == 0 || said.contains("it is alive"), "{said}");
        code == 0
    });
    let gens = |removed: &Removed| removed.lab.all(&removed.lab.key("gen/"));
    let before = gens(&removed);

    let (code, said) = removed.remove(&removed.lab.nodes[1], 60);

    assert!(code == 0, "{said}");
    let after = gens(&removed);
    let theirs = removed.their_custody().open(None, now()).unwrap();
    let old = |kv: &KeyValue| {
        let stored = generation::parse(&kv.value).unwrap();
        stored.open(&theirs.ring_key).is_ok()
    };
    assert!(before.iter().any(old) && !after.iter().any(old));
    let records = removed.lab.all(&removed.lab.key("superseded/"));
    assert_eq!(records.len(), 1, "{records:?}");
    // Again, with nothing to delete: the record is there all the same.
    removed.lab.delete(records[0].key.clone());
    let custody = removed.custody();
    let left = custody.finish_removal(&removed.open(), now()).unwrap();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(removed.lab.all(&removed.lab.key("superseded/")).len(), 1);

    // Where the head of before comes back to etcd, it is what the node knows, and no more to be reported.
    for node in &mut removed.lab.nodes[..2] {
        node.stop();
    }
    removed.put_head(&theirs);
    removed.lab.nodes[2].spawn();
    is_silenced(&removed.lab.nodes[2], generation, &sealed);
    let refused = removed.lab.nodes[2].verb(&["rotate", "--timeout", "2s"]);
    assert!(!refused.status.success(), "{}", shown(&refused));
    let head = removed.lab.get(&removed.lab.key("head")).unwrap();
    assert_eq!(head, theirs.head.name.as_bytes());
    for node in &mut removed.lab.nodes[..2] {
        node.serve();
    }
    let own = removed.lab.nodes[0].dir.join("ring/superseded");
    assert!(!own.exists(), "{:?}", fs::metadata(own));
    wait_until("the head to be the ring's own", PATIENCE, || {
        removed
            .head()
            .is_some_and(|it| it.open(&theirs.ring_key).is_err())
    });
    removed.lab.wait_until_acknowledged(2);
    is_silenced(&removed.lab.nodes[2], generation, &sealed);
    removed.lab.nodes[0].must(&["rotate"]);
}
