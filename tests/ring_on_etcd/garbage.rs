//! Whatever anybody can write to etcd who has no key.

use kekring::crypto::random;

use crate::lab::{Lab, Must};
use crate::support::{PATIENCE, shown, wait_until};
use crate::watch::{Watch, all_open};

pub fn what_is_in_the_way_is_named_and_served_through() {
    let lab = Lab::of(3);
    let watch = Watch::over(&lab.nodes);
    let ring = lab.key("");

    let head = lab.get(&lab.key("head")).unwrap();
    for (key, garbage, original, named) in [
        (
            "head",
            &b"gen-7-01234567.ring"[..],
            Some(&head),
            "the head in etcd names gen-7-01234567.ring, which is not there",
        ),
        ("head", b"\xff\x00", Some(&head), "head: it names no generation"),
        ("fork", b"fifteen bytes..", None, "fork: it is not 16 bytes"),
    ] {
        let key = format!("{ring}{key}");
        lab.put(key.clone(), garbage);
        (0..3).for_each(|node| lab.wait_for_problem(node, named));
        assert!(
            lab.nodes[0].json(&["status"]).to_string().contains(named),
            "{key}: {named}"
        );
        assert!(
            !lab.nodes[0].verb(&["rotate", "--timeout", "1s"]).status.success(),
            "{key}"
        );
        watch.check();
        match original {
            Some(bytes) => lab.put(key, bytes),
            None => lab.delete(key),
        }
        (0..3).for_each(|node| lab.wait_until_well(node));
    }

    lab.nodes[1].must(&["rotate"]);
    all_open(&lab.nodes, &watch.end());
}

pub fn a_newest_generation_that_is_damaged_in_etcd_is_put_back_by_the_nodes_that_have_it() {
    let mut lab = Lab::of(3);
    lab.nodes[2].stop();
    let next = lab.open().ring.pre_active().unwrap().id.to_string();
    // It waits for the node that is away, and is done all the same.
    let suspended = lab.nodes[0].verb(&["keys", "suspend", &next, "--timeout", "1s"]);
    assert_eq!(suspended.status.code(), Some(4), "{}", shown(&suspended));
    let watch = Watch::over(&lab.nodes[..2]);
    let head = String::from_utf8(lab.get(&lab.key("head")).unwrap()).unwrap();
    let key = lab.key(&format!("gen/{head}"));
    let generation = lab.get(&key).unwrap();
    let mut flipped = generation.clone();
    flipped[generation.len() / 2] ^= 1;
    let megabyte = vec![b'x'; 1 << 20];
    for damage in [Some(&flipped[..]), Some(b""), Some(&megabyte), None] {
        match damage {
            Some(bytes) => lab.put(key.clone(), bytes),
            None => lab.delete(key.clone()),
        }
        wait_until("the generation to be back", PATIENCE, || {
            lab.get(&key).is_some_and(|it| it == generation)
        });
        (0..2).for_each(|node| lab.wait_until_well(node));
        watch.check();
    }
    // A node that lacks it takes it as it was.
    lab.nodes[2].serve();
    lab.wait_until_acknowledged(3);
    lab.nodes[1].must(&["keys", "resume", &next]);
    lab.nodes[0].must(&["rotate"]);
    all_open(&lab.nodes, &watch.end());
}

pub fn what_is_in_nobodys_way_changes_nothing() {
    let lab = Lab::of(3);
    let watch = Watch::over(&lab.nodes);
    let ring = lab.key("");
    let head = String::from_utf8(lab.get(&lab.key("head")).unwrap()).unwrap();
    let generation = lab.get(&lab.key(&format!("gen/{head}"))).unwrap();
    let megabyte = vec![b'x'; 1 << 20];
    for (key, garbage) in [
        ("shown/gen-99-0123456789abcdef.ring", &b"garbage"[..]),
        ("shown/", b""),
        ("shown/gen-1-x.ring", &generation),
        ("shown/large", &megabyte),
        // What is the head, under another name: it must not be taken for the head's.
        ("shown/gen-1-01234567.ring", &generation),
        ("live/cp-1", b"{"),
        ("live/cp-77", b"{}"),
        ("nodes/cp-77", b"garbage"),
        ("nodes/\u{1}/..", b"garbage"),
        ("gen/what", b"garbage"),
        ("something/later", b"x"),
        ("something", &megabyte),
        ("", b"x"),
    ] {
        lab.put(format!("{ring}{key}"), garbage);
    }
    lab.put([ring.as_bytes(), b"\xff\xfe"].concat(), b"no text");
    lab.put("/kekring/zzz/head", b"another one's");
    for node in &lab.nodes {
        node.must(&["rotate"]);
        let status = node.json(&["status"]);
        assert_eq!(status["nodes"].as_array().unwrap().len(), 3, "{status}");
    }
    lab.wait_until_acknowledged(3);
    watch.check();

    (0..3).for_each(|node| lab.wait_until_well(node));
    all_open(&lab.nodes, &watch.end());
}

pub fn a_head_that_is_damaged_for_good_and_a_fork_that_is_none_end_in_a_join() {
    let lab = Lab::of(3);
    let watch = Watch::over(&lab.nodes);
    lab.nodes[0].must(&["rotate"]);

    // Without the head, the ring comes back from the nodes' copies.
    let before = lab.open().ring;
    let head = lab.key("head");
    lab.put(head.clone(), b"damaged");
    (0..3).for_each(|node| lab.wait_for_problem(node, "delete this key alone"));
    lab.delete(head.clone());
    wait_until("a head", PATIENCE, || lab.get(&head).is_some());
    lab.wait_until_acknowledged(3);
    let after = lab.open().ring;
    assert_eq!(after.active().unwrap().id, before.active().unwrap().id);
    assert_eq!(after.keys.len(), before.keys.len());

    // A fork that is none: everybody shows what it has, and they are joined.
    let before = lab.open().ring;
    lab.put(lab.key("fork"), &random::<16>().unwrap());
    wait_until("the fork to be over", PATIENCE, || lab.snapshot().fork.is_none());
    lab.wait_until_acknowledged(3);
    let after = lab.open().ring;
    assert!(after.generation > before.generation);
    assert_eq!(after.active().unwrap().id, before.active().unwrap().id);
    (0..3).for_each(|node| lab.wait_until_well(node));
    lab.nodes[2].must(&["rotate"]);
    all_open(&lab.nodes, &watch.end());
}
