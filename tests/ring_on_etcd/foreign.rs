//! Megabytes of strangers, and thousands of their names: whoever can write to etcd puts them wherever a ring is read.

use std::fs;
use std::time::{Duration, Instant};

use kekring::store::StoreError;
use serde_json::json;

use crate::cluster::LONG;
use crate::lab::{Lab, Must};
use crate::support::{PATIENCE, Plugin, shown, wait_until};
use crate::watch::{Watch, all_open};

const MEGABYTE: usize = 1 << 20;
/// More than an answer may have, in each place.
const MEGABYTES: usize = 20;
const NAMES: usize = 20_000;
/// As much as etcd takes for one key.
const WHOLE: usize = 1_500_000;
/// How long a server is watched for doing nothing, and how much of that it may be at work.
const QUIET: Duration = Duration::from_secs(4);
const AT_WORK: Duration = Duration::from_millis(800);

pub fn foreign_megabytes_beside_the_ring_stop_nothing() {
    let mut lab = Lab::of(2);
    let ring = lab.key("");
    let watch = Watch::over(&lab.nodes[1..]);
    let megabyte = vec![b'x'; MEGABYTE];

    for it in 0..MEGABYTES {
        lab.put(format!("{ring}flood/{it}"), &megabyte);
        lab.put(format!("{ring}flood{it}"), &megabyte);
        lab.put(format!("/kekring/flood/{it}"), &megabyte);
    }

    goes_on(&mut lab, "beside the ring");
    all_open(&lab.nodes, &watch.end());
}

pub fn foreign_megabytes_under_names_that_a_ring_has_stop_nothing() {
    let mut lab = Lab::of(2);
    let watch = Watch::over(&lab.nodes[1..]);
    let megabyte = vec![b'x'; MEGABYTE];

    for it in 0..MEGABYTES {
        for early in [
            format!("gen/gen-1-{it:08x}.ring"),
            format!("gen/gen-9{it}-{it:08x}.ring"),
            format!("shown/gen-1-{it:08x}.ring"),
            format!("nodes/cp-1{it}"),
            format!("live/cp-1{it}"),
            format!("superseded/{it:032x}"),
        ] {
            lab.put(lab.key(&early), &megabyte);
        }
    }

    goes_on(&mut lab, "under names that a ring has");
    all_open(&lab.nodes, &watch.end());
}

pub fn thousands_of_foreign_names_stop_nothing() {
    let mut lab = Lab::of(2);
    let ring = lab.key("");
    let watch = Watch::over(&lab.nodes[1..]);

    // Before the ring's own in the order of names, and after them.
    lab.put_all((0..NAMES / 5).flat_map(|it| {
        [
            format!("{ring}gen/gen-1{it:05}-{it:08x}.ring"),
            format!("{ring}shown/gen-9{it:05}-{it:08x}.ring"),
            format!("{ring}nodes/a{it}"),
            format!("{ring}live/a{it}"),
            format!("{ring}{it}"),
        ]
    }));
    // A name can be as long as a value.
    let long = "x".repeat(MEGABYTE);
    (0..MEGABYTES).for_each(|it| lab.put_long(&format!("{ring}gen/gen-1-{it}{long}")));

    goes_on(&mut lab, "so many names");
    all_open(&lab.nodes, &watch.end());
}

/// Under the very names that are read: what is longer than it can be counts for nothing, and hides nothing else.
pub fn a_value_that_is_longer_than_it_can_be_stops_nothing_but_itself() {
    let mut lab = Lab::of(2);
    lab.nodes[0].must(&["rotate"]);
    let watch = Watch::over(&lab.nodes[1..]);
    let head = String::from_utf8(lab.get(&lab.key("head")).unwrap()).unwrap();
    let generation = lab.get(&lab.key(&format!("gen/{head}"))).unwrap();
    let whole = vec![b'x'; WHOLE];

    for kv in lab.all(&lab.key("")) {
        let key = String::from_utf8(kv.key).unwrap();
        if !key.ends_with("/head") {
            lab.put(key, &whole);
        }
    }
    lab.put(lab.key("backup"), &whole);

    wait_until("the newest generation to be back", PATIENCE, || {
        lab.get(&lab.key(&format!("gen/{head}"))) == Some(generation.clone())
    });
    lab.wait_until_acknowledged(2);
    goes_on(&mut lab, "longer than it can be");
    let copy = lab.nodes[0].dir.join("ring/backup");
    assert!(!copy.exists(), "{:?}", fs::metadata(copy));
    all_open(&lab.nodes, &watch.end());
}

pub fn histories_are_joined_however_much_lies_beside_what_nodes_have_shown() {
    let lab = Lab::of(3);
    let ring = lab.key("");
    let watch = Watch::over(&lab.nodes);
    let megabyte = vec![b'x'; MEGABYTE];
    lab.put_all(
        (0..1000).flat_map(|it| [1, 9].map(|first| format!("{ring}shown/gen-{first}{it:05}-{it:08x}.ring"))),
    );
    for it in 0..MEGABYTES {
        lab.put(format!("{ring}shown/gen-8{it}-{it:08x}.ring"), &megabyte);
    }
    let before = lab.open().ring;

    // Without a head, all that there is of the ring is what nodes show.
    lab.delete(lab.key("head"));

    wait_until("a head", PATIENCE, || lab.snapshot().head.is_some());
    lab.wait_until_acknowledged(3);
    let after = lab.open().ring;
    assert!(after.generation > before.generation);
    assert_eq!(after.active().unwrap().id, before.active().unwrap().id);
    (0..3).for_each(|node| lab.wait_until_well(node));
    lab.nodes[1].must(&["rotate"]);
    all_open(&lab.nodes, &watch.end());
}

/// A name holds 32 bits of a hash: what lies under it is compared whole.
pub fn another_generation_under_the_name_of_the_newest_is_put_back_and_parts_nothing() {
    let lab = Lab::of(2);
    let earlier = String::from_utf8(lab.get(&lab.key("head")).unwrap()).unwrap();
    let earlier = lab.get(&lab.key(&format!("gen/{earlier}"))).unwrap();
    lab.nodes[0].must(&["rotate"]);
    lab.wait_until_acknowledged(2);
    let head = lab.get(&lab.key("head")).unwrap();
    let key = lab.key(&format!("gen/{}", String::from_utf8(head.clone()).unwrap()));
    let generation = lab.get(&key).unwrap();

    // It opens, and is a generation of this ring.
    lab.put(key.clone(), &earlier);

    wait_until("the newest to be back", PATIENCE, || {
        lab.get(&key).unwrap() == generation
    });
    (0..2).for_each(|node| lab.wait_until_well(node));
    assert_eq!(lab.get(&lab.key("head")).unwrap(), head);
    assert!(lab.get(&lab.key("fork")).is_none());
    assert!(lab.all(&lab.key("shown/")).is_empty());
}

pub fn what_is_compacted_while_it_is_read_is_read_anew() {
    let lab = Lab::of(1);
    let store = lab.store();
    let before = store.read(LONG).unwrap();
    let name = std::slice::from_ref(&before.newest.as_ref().unwrap().name).to_vec();
    assert_eq!(store.generations(&before, &name, LONG).unwrap().len(), 1);

    lab.put(lab.key("later"), b"x");
    let now = store.read(LONG).unwrap();
    let revision = lab.all(&lab.key("later"))[0].mod_revision.0;
    let compacted = json!({"revision": revision.to_string(), "physical": true});
    lab.cluster.gateway("kv/compaction", None, &compacted);

    let gone = store.generations(&before, &name, LONG).unwrap_err();
    assert!(matches!(gone, StoreError::Conflict(_)), "{gone}");
    assert_eq!(store.generations(&now, &name, LONG).unwrap().len(), 1);
    lab.nodes[0].must(&["rotate"]);
    lab.nodes[0].must(&["status"]);
}

/// Verbs, servers, one that starts, and one that joins and has not been told which ring.
fn goes_on(lab: &mut Lab, what: &str) {
    let mut took = Vec::new();
    let mut timed = |name: &str, act: &mut dyn FnMut()| {
        let started = Instant::now();
        act();
        took.push(format!("{name} {} ms", started.elapsed().as_millis()));
    };
    for args in [&["rotate"][..], &["status"], &["root", "list"], &["node", "list"]] {
        timed(&args.join(" "), &mut || drop(lab.nodes[0].must(args)));
    }
    let list = lab.nodes[0].json(&["node", "list"]);
    assert_eq!(list["nodes"].as_array().unwrap().len(), 2, "{list}");
    timed("restart", &mut || {
        lab.nodes[0].stop();
        lab.nodes[0].serve();
    });
    timed("join", &mut || {
        let mut joining = lab.machine("cp-3");
        lab.give_root(&joining);
        joining.serve();
        lab.nodes.push(joining);
        lab.wait_until_acknowledged(3);
    });
    let doctor = shown(&lab.nodes[2].verb(&["doctor"]));
    assert!(doctor.contains("it answers, and has generation"), "{doctor}");
    (0..3).for_each(|node| lab.wait_until_well(node));
    let busy = lab.nodes.iter().map(at_work).max().unwrap();
    println!(
        "       {what}: {}; at work {busy:?} of {QUIET:?}",
        took.join(", ")
    );
    assert!(busy < AT_WORK, "{busy:?}");
}

/// How much of a quiet while a server is at work.
fn at_work(node: &Plugin) -> Duration {
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", node.pid().as_raw_pid())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        // The 14th and 15th field of all, in hundredths of a second.
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    };
    let before = used();
    #[allow(clippy::disallowed_methods)]
    std::thread::sleep(QUIET);
    used() - before
}
