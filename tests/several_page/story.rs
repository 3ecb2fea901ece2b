//! The page from its top to its end, on three nodes and one etcd.

use rustix::process::Signal;

use crate::world::{World, blocks};

const FROM_NOTHING: &str = "Three nodes";
const NODES: &str = "Add, replace or remove a node";

pub fn the_commands_of_the_page_run_in_its_order() {
    let mut world = World::new();
    world.run(0, "Which etcd", "etcd");
    from_nothing(&mut world);
    rotations(&mut world);
    (0..3).for_each(|node| world.run(node, "Watch it", "each"));
    world.run(0, "Back up", "first");
    other_nodes(&mut world);
    world.run(0, "Renew a certificate", "first");
    another_root(&mut world);
    etcd_away(&mut world);
    etcd_restored(&mut world);
    everything_lost(&mut world);
    one_node(&mut world);
}

fn from_nothing(world: &mut World) {
    world.run(0, FROM_NOTHING, "first");
    let denied = world.nodes[0].line(
        "ETCDCTL_CERT=/etc/kekring/etcd/kekring.crt ETCDCTL_KEY=/etc/kekring/etcd/kekring.key etcdctl get --prefix /registry/",
    );
    let said = crate::support::shown(&denied);
    assert!(
        !denied.status.success() && said.contains("permission denied"),
        "{said}"
    );
    (1..3).for_each(|node| world.run(node, FROM_NOTHING, "others"));
    (0..3).for_each(|node| world.run(node, FROM_NOTHING, "each"));
    world.shows(0, FROM_NOTHING);
}

fn rotations(world: &mut World) {
    world.run(0, "Rotate", "first");
    world.nodes[2].signal(Signal::STOP);
    // cp-3 holds the next key by now; the one after it is made while it is away.
    let first = world.nodes[0].line("kekring rotate --timeout 2s").status.code();
    assert!(matches!(first, Some(0 | 4)), "{first:?}");
    let lagging = blocks("Rotate", "lagging");
    let mut lines = lagging[0].text.lines();
    let waits = world.nodes[0].line(lines.next().unwrap());
    assert_eq!(waits.status.code(), Some(4), "{}", crate::support::shown(&waits));
    lines.for_each(|line| world.must(0, line));
    world.shows(0, "Rotate");
    world.says(0, "node cp-3 is silent");
    world.block(0, &lagging[1]);
    world.nodes[2].signal(Signal::CONT);
    world.shows(0, FROM_NOTHING);
}

fn other_nodes(world: &mut World) {
    leave(world, 2);
    world.run(0, NODES, "first");
    join(world, 2);

    // Its disk is lost, and it comes back before its name is free.
    world.nodes[2].kill();
    world.nodes[2].fresh();
    world.run(2, FROM_NOTHING, "others");
    world.shows(2, NODES);
    world.must(0, "kekring node remove cp-3");
    world.shows(0, FROM_NOTHING);
}

fn leave(world: &mut World, node: usize) {
    world.run(node, NODES, "leaving");
    world.nodes[node].fresh();
}

fn join(world: &mut World, node: usize) {
    world.run(node, FROM_NOTHING, "others");
    world.run(node, FROM_NOTHING, "each");
}

fn another_root(world: &mut World) {
    const ROOT: &str = "Remove a root";
    let first = blocks(ROOT, "first");
    world.block(0, &first[0]);
    (1..3).for_each(|node| world.run(node, ROOT, "others"));
    world.block(0, &first[1]);
    (0..3).for_each(|node| world.run(node, ROOT, "each"));
    world.run(0, "Back up", "first");
    world.shows(0, FROM_NOTHING);
}

fn etcd_away(world: &mut World) {
    world.etcd.kill();
    world.says(0, "in etcd (Txn)");
    world.must(2, "systemctl restart kekring.service");
    world.says(2, "provisional");
    (0..3).for_each(|node| world.must(node, "kekring probe --round-trip"));
    world.etcd.run();
    world.shows(0, FROM_NOTHING);
}

/// etcd forgets two rotations, while one node is away.
fn etcd_restored(world: &mut World) {
    world.etcd.keep();
    world.shows(0, FROM_NOTHING);
    world.must(0, "kekring rotate");
    world.must(1, "kekring rotate");
    world.shows(0, FROM_NOTHING);
    world.nodes[2].signal(Signal::STOP);
    world.etcd.go_back();
    world.shows(0, "When etcd came back from a snapshot");
    world.must(0, "kekring probe --round-trip");
    world.nodes[2].signal(Signal::CONT);
    world.shows(0, FROM_NOTHING);
    world.run(0, "Back up", "first");
}

fn everything_lost(world: &mut World) {
    world.bring((0, "/etc/kekring/new.key"), (0, "/mnt/roots/root.key"));
    for node in &mut world.nodes {
        node.kill();
        node.fresh();
    }
    world.etcd.kill();
    world.etcd.lose();
    world.etcd.run();
    world.run(0, "Which etcd", "etcd");
    world.block(0, &blocks(FROM_NOTHING, "first")[0]);
    world.run(0, "When everything is lost", "fresh");
    (1..3).for_each(|node| join(world, node));
    world.shows(0, FROM_NOTHING);
}

fn one_node(world: &mut World) {
    for node in [1, 2] {
        leave(world, node);
        world.must(0, &format!("kekring node remove cp-{}", node + 1));
    }
    world.run(0, "Back to one node", "last");
    world.must(0, "kekring probe --round-trip");
    world.must(0, "kekring rotate");
}

pub fn with_kubeadm_the_ring_begins_in_files() {
    const BOOT: &str = "With kubeadm, from the first boot";
    let mut world = World::new();
    let first = blocks(BOOT, "kubeadm-first");
    world.block(0, &first[0]);
    // The certificate alone: the configuration is the next block's.
    let certificate = blocks(FROM_NOTHING, "first")[0].clone();
    for line in certificate.text.lines().take(4) {
        world.must(0, line);
    }
    world.block(0, &first[1]);
    let others = blocks(BOOT, "kubeadm-others");
    for node in [1, 2] {
        world.run(node, FROM_NOTHING, "others");
        others.iter().for_each(|block| world.block(node, block));
    }
    world.shows(0, FROM_NOTHING);
    let (one, other) = (
        "/etc/kubernetes/kekring/encryption.yaml",
        world.dir().join("cp-3"),
    );
    let copied = std::fs::read(other.join(one.trim_start_matches('/'))).unwrap();
    assert_eq!(copied, std::fs::read(world.nodes[0].at(one)).unwrap());
    the_end(&mut world);
}

fn the_end(world: &mut World) {
    (0..3).for_each(|node| leave(world, node));
    let left = |world: &World| {
        world
            .etcd
            .ctl(&["get", "--prefix", "--keys-only", "/kekring/"])
            .unwrap()
    };
    assert!(left(world).contains("/head"), "nothing is there to be deleted");
    world.run(0, "The end of the ring", "gone");
    assert_eq!(left(world), "");
}

/// A block that no trial runs is one of those that cannot run here.
pub fn every_block_is_for_somebody() {
    const RUN: [&str; 11] = [
        "each",
        "etcd",
        "first",
        "fresh",
        "gone",
        "kubeadm-first",
        "kubeadm-others",
        "lagging",
        "last",
        "leaving",
        "others",
    ];
    /// Why not.
    const NOT_RUN: [(&str, &str); 3] = [
        (
            "kubeadm",
            "needs a cluster: tests/kind has one, tests/nodes its order",
        ),
        (
            "pod",
            "needs a kubelet: tests/kind has one on each of three nodes",
        ),
        (
            "systemd",
            "needs a systemd: tests/systemd runs the service with this drop-in",
        ),
    ];
    let page = crate::support::page::blocks(crate::world::PAGE);
    let shell = page.iter().filter(|it| it.language == "sh");
    let places: Vec<String> = shell.map(|it| it.place.join(" ")).collect();
    for place in &places {
        let known = RUN.contains(&place.as_str()) || NOT_RUN.iter().any(|(it, _)| it == place);
        assert!(known, "a block is for {place:?}, and this suite does not know it");
    }
    for (place, why) in NOT_RUN {
        assert!(
            places.iter().any(|it| it == place),
            "no block is for {place} any more ({why})"
        );
    }
    assert!(places.len() > 20, "{} blocks were found", places.len());
}
