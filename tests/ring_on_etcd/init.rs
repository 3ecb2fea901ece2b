//! Where a ring is made, and where there are two.

use std::time::Instant;

use serde_json::json;

use crate::client::Client;
use crate::lab::{Lab, Must, PREFIX, configuration, ended, wait_for_problem};
use crate::support::{Plugin, merge};

pub fn a_ring_is_made_only_where_there_is_certainly_none() {
    let mut lab = Lab::of(1);
    let other = lab.machine("cp-2");
    let ring = lab.all(PREFIX).len();

    let (code, said) = ended(&other.verb(&["init", "--no-recovery"]));
    assert!(
        code == 3 && said.contains("there is already") && said.contains("in etcd"),
        "{said}"
    );
    assert!(!other.dir.join("root.key").exists() && !other.dir.join("ring").exists());
    assert_eq!(lab.all(PREFIX).len(), ring);

    // Whatever is there is a trace.
    let under = |prefix: &str| {
        let node = lab.machine("cp-2");
        with_prefix(&lab, &node, prefix);
        node
    };
    for key in [
        "/other/0123456789abcdef0123456789abcdef/fork",
        "/third/what",
        "/fourth/",
    ] {
        lab.put(key, b"x");
        let node = under(key.get(..key[1..].find('/').unwrap() + 1).unwrap());
        let (code, said) = ended(&node.verb(&["init", "--no-recovery"]));
        assert!(code == 3 && said.contains("in etcd"), "{key}: {said}");
    }

    let away = lab.machine("cp-2");
    with_prefix(&lab, &away, "/away");
    lab.cluster.kill(0);
    let started = Instant::now();
    let (code, said) = ended(&away.verb(&["init", "--no-recovery"]));
    assert!(code == 1 && said.contains("etcd"), "{said}");
    assert!(started.elapsed().as_secs() < 20);
    assert!(!away.dir.join("root.key").exists() && !away.dir.join("ring").exists());
    lab.cluster.run(0);
    lab.cluster.wait_until_ready();
    away.must(&["init", "--no-recovery"]);
}

pub fn two_who_make_a_ring_at_the_same_time_make_one() {
    let lab = Lab::empty(json!({}));
    for round in 0..8 {
        let prefix = format!("/round{round}");
        let nodes = [lab.machine("cp-1"), lab.machine("cp-2")];
        nodes.iter().for_each(|node| with_prefix(&lab, node, &prefix));

        let two = nodes.each_ref().map(|node| {
            let mut init = node.command(&["init", "--no-recovery"]);
            init.stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            init.spawn().unwrap()
        });
        let two = two.map(|it| ended(&it.wait_with_output().unwrap()));

        let done = two.iter().filter(|(code, _)| *code == 0).count();
        assert_eq!(done, 1, "{two:?}");
        for (number, (code, said)) in two.iter().enumerate() {
            let status = nodes[number].verb(&["status"]);
            assert_eq!(status.status.success(), *code == 0, "{said}");
            assert!(*code == 0 || *code == 3, "{said}");
        }
        let kvs = lab.all(&format!("{prefix}/"));
        let names: Vec<_> = kvs
            .iter()
            .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
            .collect();
        assert_eq!(
            names.iter().filter(|it| it.ends_with("/head")).count(),
            1,
            "{names:?}"
        );
        assert_eq!(names.len(), 2, "{names:?}");
    }
}

pub fn of_two_rings_under_one_prefix_a_node_takes_the_one_that_it_is_told() {
    let mut lab = Lab::of(1);
    let stranger = lab.machine("cp-9");
    with_prefix(&lab, &stranger, "/elsewhere");
    stranger.must(&["init", "--no-recovery"]);
    let ring = hex(&lab);
    let mut other = String::new();
    for kv in lab.all("/elsewhere/") {
        let key = String::from_utf8(kv.key).unwrap().replace("/elsewhere", PREFIX);
        key.split('/').nth(2).unwrap().clone_into(&mut other);
        lab.put(key, &kv.value);
    }
    assert_ne!(ring, other);

    let mut joining = lab.machine("cp-2");
    lab.give_root(&joining);
    joining.spawn();
    wait_for_problem(&joining, "ring.id");
    let refused = Client::connect(&joining.socket).status().unwrap_err();
    let cause = refused.message();
    assert!(
        cause.contains(&ring) && cause.contains(&other) && cause.contains("ring.id"),
        "{cause}"
    );
    joining.stop();

    // Who has a copy knows.
    lab.nodes[0].stop();
    lab.nodes[0].serve();
    let mut config = configuration(&joining, "cp-2", lab.cluster.url(0));
    merge(&mut config, json!({"ring": {"id": ring}}));
    std::fs::write(&joining.config, config.to_string()).unwrap();
    joining.serve();
    lab.nodes.push(joining);
    lab.wait_until_acknowledged(2);
    lab.nodes[1].must(&["rotate"]);
    lab.nodes[0].must(&["status"]);
}

fn hex(lab: &Lab) -> String {
    lab.key("").split('/').nth(2).unwrap().to_owned()
}

fn with_prefix(lab: &Lab, node: &Plugin, prefix: &str) {
    let mut config = configuration(node, "cp-2", lab.cluster.url(0));
    merge(
        &mut config,
        json!({"ring": {"store": {"etcd": {"prefix": prefix}}}}),
    );
    std::fs::write(&node.config, config.to_string()).unwrap();
}
