//! deploy/README.md: what it says to type for a static Pod, as far as that needs no cluster. tests/kind types all of it.

use std::fs;
use std::process::Command;

use kekring_kit::{Missing, needs};

use crate::shell::Shell;
use crate::support::page::{self, Block};
use crate::support::{KEKRING, in_repository};

const PAGE: &str = "deploy/README.md";
/// What only a node with a cluster has, by how its commands begin.
const NEEDS_A_CLUSTER: [&str; 4] = [
    "ctr ",
    "kubectl ",
    "bash /root/kekring/rewrite.sh ",
    "tail -n 20 /var/log/pods/",
];

#[test]
fn a_static_pod_is_installed_used_restored_elsewhere_and_taken_away_by_the_commands_of_the_page()
-> Result<(), Missing> {
    let mut node = machine();
    let mut fresh = machine();
    let mut run = 0;

    for block in commands() {
        let place: Vec<&str> = block.place.iter().map(String::as_str).collect();
        let machine = match place.as_slice() {
            ["fresh"] => {
                bring_over(&node, &fresh);
                &mut fresh
            }
            ["node", "user"] => {
                // Root would not serve in another user's directory.
                for verb in ["serve", "probe --round-trip", "rotate"] {
                    fresh.run(&format!("kekring {verb}"));
                }
                fresh.stop();
                &mut fresh
            }
            _ => &mut node,
        };
        for line in block.text.lines().filter(|line| runs_here(line, &place)) {
            machine.run(line);
            run += 1;
        }
        // What kubelet does.
        if block.text.contains("mv /etc/kubernetes/manifests/.kekring.yaml") {
            node.run("kekring serve");
        }
        if block.text.contains("rm /etc/kubernetes/manifests/kekring.yaml") {
            node.stop();
        }
    }

    for gone in [
        "/etc/kekring",
        "/var/lib/kekring",
        "/etc/kubernetes/manifests/kekring.yaml",
    ] {
        assert!(!node.at(gone).exists(), "{gone} is left");
    }
    fresh.run("kekring status");
    assert!(run > 25, "{run} commands were found");
    // The others were tried all the same.
    needs::root_to("to type the commands with chown")?;
    Ok(())
}

#[test]
fn every_block_of_commands_says_where_it_is_typed() {
    for block in commands() {
        let place = block.place.first().map_or("", String::as_str);
        assert!(
            ["build", "node", "fresh"].contains(&place),
            "{:?}: {}",
            block.place,
            block.text
        );
        for line in block.text.lines() {
            assert!(
                !line.ends_with('\\') && !line.starts_with(' '),
                "a command is one line: {line}"
            );
        }
    }
}

#[test]
fn the_versions_of_the_page_are_this_one_and_another() {
    let text = page::text(PAGE);
    let version = env!("CARGO_PKG_VERSION");

    let named: Vec<&str> = text
        .split("kekring:")
        .skip(1)
        .filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        .map(|rest| rest.split([' ', '|', '\'']).next().unwrap().trim())
        .collect();

    let old = named.iter().filter(|it| it.starts_with(version)).count();
    assert!(old >= 3, "{named:?}");
    assert!(old < named.len(), "nothing is upgraded to");
}

#[test]
fn the_flags_and_mounts_of_a_new_cluster_are_those_of_one_that_exists() {
    let new = page::text("deploy/kubeadm/cluster.yaml");
    let old = page::blocks("README.md")
        .into_iter()
        .find(|block| block.text.starts_with("spec:"))
        .unwrap();
    let new: serde_json::Value = serde_saphyr::from_str(&new).unwrap();
    let old: serde_json::Value = serde_saphyr::from_str(&old.text).unwrap();

    let flags: Vec<String> = new["apiServer"]["extraArgs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            format!(
                "--{}={}",
                it["name"].as_str().unwrap(),
                it["value"].as_str().unwrap()
            )
        })
        .collect();
    let volumes = new["apiServer"]["extraVolumes"].as_array().unwrap();

    let container = &old["spec"]["containers"][0];
    for flag in &flags {
        assert!(
            container["command"]
                .as_array()
                .unwrap()
                .iter()
                .any(|it| it == flag),
            "{flag}"
        );
    }
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volume = volumes.iter().find(|it| it["name"] == mount["name"]).unwrap();
        assert_eq!(volume["mountPath"], mount["mountPath"]);
        assert_eq!(volume["hostPath"], mount["mountPath"]);
        assert_eq!(volume["readOnly"], mount["readOnly"]);
    }
}

fn commands() -> Vec<Block> {
    let blocks = page::blocks(PAGE).into_iter();
    blocks.filter(|block| block.language == "sh").collect()
}

fn runs_here(line: &str, place: &[&str]) -> bool {
    if place == ["build"] {
        // An optimised build takes minutes; tests/deploy makes two.
        assert_eq!(line, "deploy/container/image.sh kekring.tar");
        return false;
    }
    if line.starts_with("chown ") && needs::root().is_err() {
        return false;
    }
    !NEEDS_A_CLUSTER.iter().any(|start| line.starts_with(start))
}

/// A machine with what was brought to it, and nothing made of it yet.
fn machine() -> Shell {
    let configuration = fs::read_to_string(in_repository("deploy/static-pod/config.yaml")).unwrap();
    let manifest = fs::read_to_string(in_repository("deploy/static-pod/kekring.yaml")).unwrap();
    let machine = Shell::new(&configuration);
    machine.write("/root/kekring/config.yaml", &configuration);
    machine.write("/root/kekring/kekring.yaml", &manifest);
    fs::copy(KEKRING, machine.at("/root/kekring/kekring")).unwrap();
    machine
}

/// The backup and the root key, to where the page wants them.
fn bring_over(node: &Shell, fresh: &Shell) {
    let copied = Command::new("cp")
        .arg("-a")
        .arg(node.at("/mnt/backup"))
        .arg(fresh.at("/mnt/"))
        .status();
    assert!(copied.unwrap().success());
    fs::create_dir(fresh.at("/mnt/roots")).unwrap();
    fs::copy(node.at("/etc/kekring/root.key"), fresh.at("/mnt/roots/root.key")).unwrap();
}
