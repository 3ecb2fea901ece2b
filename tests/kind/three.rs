//! Three control-plane nodes by the real kubeadm, as deploy/etcd/README.md and deploy/kubeadm/README.md have it: from the first
//! boot, with kekring as a static Pod, through a rotation and through the phases of a cluster that exists.

use std::sync::Arc;
use std::time::Instant;

use crate::cluster::MINUTES;
use crate::form::Form;
use crate::ground::Ground;
use crate::guide::{self, type_in, type_text};
use crate::kubeadm;
use crate::machines::{Machine, Machines};
use crate::page::{self, Block};
use crate::several::Several;
use crate::wait::wait_for;

const PAGE: &str = "deploy/etcd/README.md";
const BOOT: &str = "With kubeadm, from the first boot";
const NODES: &str = "Three nodes";
/// What the page calls cp-1's address.
const FIRST: &str = "10.0.0.11";
/// What `kubeadm init` is given.
const FILE: &str = "/root/deploy/kubeadm/cluster.yaml";
const PROBE: &str = "kekring probe --round-trip\n";
/// The manifest of kekring is there, and a container is no machine.
const PREFLIGHT: &str = "--ignore-preflight-errors=all";
/// What a cluster has besides: here an etcd whose leader stays on a busy machine, no add-ons, and what kind tells a kubelet in a
/// container.
const BESIDES: &str = "
etcd:
  local:
    extraArgs:
    - {name: heartbeat-interval, value: '500'}
    - {name: election-timeout, value: '5000'}
    - {name: unsafe-no-fsync, value: 'true'}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
skipPhases: [addon]
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupRoot: /kubelet
failCgroupV1: false
failSwapOn: false
imageGCHighThresholdPercent: 100
evictionHard: {imagefs.available: 0%, nodefs.available: 0%, nodefs.inodesFree: 0%}
";

pub fn from_the_first_boot_through_the_phases(ground: &Arc<Ground>) {
    let started = Instant::now();
    let step = |what: &str| println!("\n{:4.0} s  {what}", started.elapsed().as_secs_f32());
    let machines = Machines::start(ground);
    let [first, others @ ..] = &machines.all;
    step("three machines");
    let join = first_boot(first);
    step("kubeadm init");
    to_etcd(first);
    step("the ring on etcd");
    for machine in others {
        joins(machine, first, &join);
        step(&machine.name);
    }
    let cluster = Several::of(&machines);
    cluster.agree_on(&first.active_key());
    let early = cluster.writes_and_reads("early");
    for name in &early {
        assert_eq!(cluster.form(name), Form::ours(&first.active_key()), "{name}");
    }
    cluster.doctor_is_content();
    step("every API server reads what every other wrote");

    a_rotation(&cluster);
    let late = cluster.writes_and_reads("late");
    step("a rotation");
    cluster.reads_with_empty_caches(&[early, late].concat());
    step("every API server has started again");

    out_of_encryption(&cluster);
    step("exit, and no flag is left");
    in_again(&cluster);
    cluster.doctor_is_content();
    step("read, and write");
}

/// The command of `kubeadm join`, of which `kubeadm init` tells.
fn first_boot(first: &Machine) -> String {
    let version = type_text(first, "cat /kind/version");
    let ours = page::text("deploy/kubeadm/cluster.yaml");
    let endpoint = "# controlPlaneEndpoint: cp.example:6443";
    assert!(ours.contains(endpoint), "{ours}");
    let whole = ours.replace(endpoint, endpoint.trim_start_matches("# "));
    let version = format!("kubernetesVersion: {}", version.trim());
    first.write(FILE, &format!("{whole}{version}{BESIDES}"));
    type_in(first, &blocks(BOOT, "kubeadm-first")[0]);
    let [init, join] = &blocks(BOOT, "kubeadm")[..] else {
        panic!("{PAGE} has other commands of kubeadm");
    };
    let said = type_text(first, &format!("{} {PREFLIGHT}", init.text.trim()));
    // As the clone has it.
    first.write(FILE, &ours);
    let value_of = |flag: &str| {
        let mut words = said.split_whitespace().skip_while(|word| *word != flag);
        words.nth(1).unwrap_or_else(|| panic!("no {flag} in {said}"))
    };
    let join = join
        .text
        .trim()
        .replace(" KEY", &format!(" {}", value_of("--certificate-key")));
    let join = join.replace(" TOKEN", &format!(" {}", value_of("--token")));
    let hash = value_of("--discovery-token-ca-cert-hash");
    format!("{} {PREFLIGHT}", join.replace(" HASH", &format!(" {hash}")))
}

fn to_etcd(first: &Machine) {
    // The certificate alone: the configuration is the next block's.
    let certificate = blocks(NODES, "first")[0].text.clone();
    let lines: Vec<&str> = certificate.lines().take(4).collect();
    type_text(first, &lines.join("\n"));
    type_in(first, &blocks(BOOT, "kubeadm-first")[1]);
    type_text(first, PROBE);
}

fn joins(machine: &Machine, first: &Machine, join: &str) {
    let [before, after] = &blocks(BOOT, "kubeadm-others")[..] else {
        panic!("{PAGE} has other steps for cp-2 and cp-3");
    };
    let [in_place_of_the_probe] = &blocks("Under systemd, in a static Pod", "pod")[..] else {
        panic!("{PAGE} has other commands for a static Pod");
    };
    type_in(machine, &blocks(NODES, "others")[0]);
    let here = |block: &Block| block.text.replace(FIRST, &first.address);
    assert!(before.text.contains(PROBE), "{before:?}");
    type_text(machine, &here(before).replace(PROBE, &in_place_of_the_probe.text));
    type_text(machine, join);
    wait_for("kekring beside kube-apiserver", MINUTES, || {
        type_text(machine, "kekring probe && echo good || true")
            .contains("good")
            .then_some(())
    });
    type_text(machine, &here(after));
    blocks(NODES, "each").iter().for_each(|block| {
        type_in(machine, block);
    });
}

/// By one node, and every API server writes under the new key.
fn a_rotation(cluster: &Several) {
    let by = &cluster.machines[1];
    let before = by.active_key();
    type_in(by, &blocks("Rotate", "first")[0]);
    let key = by.active_key();
    assert_ne!(key, before);
    cluster.agree_on(&key);
    cluster.writes_as("rotated", &Form::ours(&key));
}

/// Every step on all nodes before the next.
fn out_of_encryption(cluster: &Several) {
    let first = &cluster.machines[0];
    let turn_off = guide::blocks("Turn encryption off");
    cluster.on_each(|machine| drop(type_in(machine, &turn_off[0])));
    cluster.writes_as("exit", &Form::Plain);
    let left = type_in(first, &turn_off[1]);
    assert_eq!(left.lines().last(), Some("0"), "{left}");
    let steps = kubeadm::blocks(kubeadm::EXISTS);
    let [_serves, _read, get, upload, manifest, ..] = &steps[..] else {
        panic!("kubeadm has other steps: {steps:#?}");
    };
    let ours = kubeadm::ours(first);
    type_in(first, get);
    kubeadm::without(first, &ours);
    type_in(first, upload);
    for number in 0..cluster.machines.len() {
        let diff = cluster.restarting(number, |machine| type_in(machine, manifest));
        assert!(diff.contains("< "), "{diff}");
        assert!(!diff.contains("> "), "{diff}");
    }
    cluster.writes_as("without", &Form::Plain);
}

/// The same, by the page of a cluster that exists.
fn in_again(cluster: &Several) {
    let first = &cluster.machines[0];
    let steps = kubeadm::blocks(kubeadm::EXISTS);
    let [serves, read, get, upload, manifest, ready, write, rewrite] = &steps[..] else {
        panic!("kubeadm has other steps: {steps:#?}");
    };
    cluster.on_each(|machine| {
        type_in(machine, serves);
        type_in(machine, read);
    });
    let ours = kubeadm::ours(first);
    type_in(first, get);
    kubeadm::with(first, &ours);
    type_in(first, upload);
    for (number, machine) in cluster.machines.iter().enumerate() {
        let diff = cluster.restarting(number, |machine| type_in(machine, manifest));
        let flags = diff.matches("- --encryption-provider-config").count();
        assert_eq!(flags, 2, "{diff}");
        assert!(!diff.contains("< "), "{diff}");
        let ready = type_in(machine, ready);
        assert!(ready.contains("[+]kms-providers ok"), "{ready}");
    }
    cluster.writes_as("read", &Form::Plain);
    let plain = cluster.writes_and_reads("read");
    cluster.on_each(|machine| drop(type_in(machine, write)));
    let ours = Form::ours(&first.active_key());
    cluster.writes_as("write", &ours);
    type_in(first, rewrite);
    for name in &plain {
        assert_eq!(cluster.form(name), ours, "{name}");
    }
    cluster.read_through_each(&plain);
    cluster.writes_and_reads("again");
}

/// The page's commands of a section, for one place.
fn blocks(section: &str, place: &str) -> Vec<Block> {
    let here = |block: &Block| block.language == "sh" && block.section == section && block.place == [place];
    let blocks: Vec<Block> = page::blocks(PAGE).into_iter().filter(here).collect();
    assert!(
        !blocks.is_empty(),
        "{PAGE} has no commands for {place} under {section:?}"
    );
    blocks
}
