//! deploy/README.md, typed in the node as it stands there: out of encryption, everything destroyed, and in again, then
//! through the life of a ring and onto another machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::cluster::{Cluster, MINUTES, NODE, in_repository};
use crate::form::Form;
use crate::kubeadm;
use crate::page::{self, Block};
use crate::run::{run, text};
use crate::wait::wait_for;

const PAGE: &str = "deploy/README.md";
/// The manifest of kube-apiserver, and where it lies while the flags are taken out.
pub const API_SERVER: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const WITH_FLAGS: &str = "/root/kube-apiserver.yaml";
const IMAGE: &str = "{.spec.containers[0].image}";

pub fn every_command_for_a_static_pod_does_what_the_page_says(cluster: &Cluster) {
    let api = cluster.api();
    bring(cluster, env!("CARGO_PKG_VERSION"));
    own_directories(cluster);
    api.create_secret("guide", "kept").unwrap();

    out_of_encryption(cluster);
    assert_eq!(cluster.form("secrets", "guide"), Form::Plain);
    assert_eq!(api.password("guide").unwrap(), "kept");

    in_again(cluster);
    api.create_secret("guide-again", "kept too").unwrap();
    assert_eq!(cluster.form("secrets", "guide-again"), ours(cluster));

    through_its_life(cluster);
    assert_eq!(
        cluster.form("secrets", "guide"),
        ours(cluster),
        "it was rewritten"
    );

    onto_another_machine(cluster);
    assert_eq!(api.password("guide").unwrap(), "kept");
    assert_eq!(api.password("guide-again").unwrap(), "kept too");
}

fn out_of_encryption(cluster: &Cluster) {
    let api = cluster.api();
    let turn_off = blocks("Turn encryption off");
    type_in(cluster, &turn_off[0]);
    let mut number = 0..;
    wait_for("a Secret in plain text", MINUTES, || {
        let name = format!("guide-{}", number.next().unwrap());
        api.create_secret(&name, "text").unwrap();
        (cluster.form("secrets", &name) == Form::Plain).then_some(())
    });
    // What another scenario had encrypted too.
    type_text(cluster, "bash /root/kekring/rewrite.sh configmaps");
    let left = type_in(cluster, &turn_off[1]);
    assert_eq!(left.lines().last(), Some("0"), "{left}");

    type_text(cluster, &format!("mv {API_SERVER} {WITH_FLAGS}"));
    wait_until_away(cluster, "kube-apiserver");
    type_text(
        cluster,
        &format!(
            "grep -v encryption-provider-config {WITH_FLAGS} > /root/new.yaml; mv /root/new.yaml {API_SERVER}"
        ),
    );
    cluster.wait_until_ready();
    let decommission = blocks("Decommission");
    type_in(cluster, &decommission[0]);
    wait_until_away(cluster, "kekring");
    type_in(cluster, &decommission[1]);
}

fn in_again(cluster: &Cluster) {
    for block in blocks("Install") {
        type_in(cluster, &block);
    }
    kubeadm::into_a_cluster_that_exists(cluster);
    verify(cluster);
}

fn through_its_life(cluster: &Cluster) {
    let before = cluster.active_key();
    let rotate = blocks("Rotate");
    type_in(cluster, &rotate[0]);
    assert_ne!(cluster.active_key(), before);
    let api = cluster.api();
    let mut number = 0..;
    wait_for("a Secret under the new key", MINUTES, || {
        let name = format!("guide-rotated-{}", number.next().unwrap());
        api.health("/readyz").unwrap();
        api.create_secret(&name, "text").unwrap();
        (cluster.form("secrets", &name) == ours(cluster)).then_some(())
    });
    type_in(cluster, &rotate[1]);

    bring(cluster, "0.2.0");
    type_in(cluster, &blocks("Upgrade")[0]);
    wait_until_image(cluster, "kekring:0.2.0");
    verify(cluster);
    type_in(cluster, &blocks("Roll back")[0]);
    wait_until_image(cluster, &format!("kekring:{}", env!("CARGO_PKG_VERSION")));
    verify(cluster);
    type_in(cluster, &blocks("Back up")[0]);
}

/// The node becomes one that has the backup, the root key and kube-apiserver's files, and nothing else of kekring's.
fn onto_another_machine(cluster: &Cluster) {
    for pod in ["kube-apiserver", "kekring"] {
        cluster.take_away(pod);
        wait_until_away(cluster, pod);
    }
    type_text(
        cluster,
        "mkdir -m 0700 /mnt/roots; mv /etc/kekring/root.key /mnt/roots/; rm -r /etc/kekring /var/lib/kekring; \
         tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id",
    );
    type_in(cluster, &blocks("Restore on a fresh machine")[0]);
    cluster.put_back("kekring");
    cluster.put_back("kube-apiserver");
    cluster.wait_until_ready();
    verify(cluster);
}

fn verify(cluster: &Cluster) {
    cluster.wait_until_ready();
    for block in blocks("Verify") {
        type_in(cluster, &block);
    }
}

/// The image of a version and what comes with it, where the page expects them.
fn bring(cluster: &Cluster, version: &str) {
    let files = files_of(cluster.binary(), version);
    cluster.in_node(&["mkdir", "-p", "/root/kekring"]);
    let from = format!("{}/.", files.path().display());
    run(&mut cluster.docker(&["cp", &from, &format!("{NODE}:/root/kekring")])).unwrap();
    cluster.in_node(&[
        "install",
        "-m",
        "0755",
        "/root/kekring/kekring",
        "/usr/local/bin/kekring",
    ]);
}

/// What the page has an operator bring into `/root/kekring`.
pub fn files_of(binary: &Path, version: &str) -> TempDir {
    let files = tempfile::tempdir().unwrap();
    let mut image = Command::new(in_repository("deploy/container/image.sh"));
    image.arg("--binary").arg(binary);
    image.args(["--tag", &format!("kekring:{version}")]);
    run(image.arg(files.path().join("kekring.tar"))).unwrap();
    fs::copy(binary, files.path().join("kekring")).unwrap();
    for (dir, file) in [
        ("static-pod", "config.yaml"),
        ("static-pod", "kekring.yaml"),
        ("rewrite", "rewrite.sh"),
    ] {
        let from = in_repository("deploy").join(dir).join(file);
        fs::copy(from, files.path().join(file)).unwrap();
    }
    files
}

/// The first look mounts these from outside; here they become directories of the node, as they are elsewhere.
fn own_directories(cluster: &Cluster) {
    for pod in ["kube-apiserver", "kekring"] {
        cluster.take_away(pod);
        wait_until_away(cluster, pod);
    }
    for (dir, mode) in [
        ("/etc/kekring", "0700"),
        ("/var/lib/kekring", "0700"),
        ("/etc/kubernetes/kekring", "0700"),
    ] {
        type_text(
            cluster,
            &format!(
                "cp -a {dir} /root/moved; umount -l {dir}; chmod {mode} {dir}; cp -a /root/moved/. {dir}/; rm -r /root/moved"
            ),
        );
    }
    cluster.put_back("kekring");
    cluster.put_back("kube-apiserver");
    cluster.wait_until_ready();
}

pub fn wait_until_away(cluster: &Cluster, program: &str) {
    wait_for(&format!("{program} to end"), MINUTES, || {
        (!cluster.runs(program)).then_some(())
    });
}

fn wait_until_image(cluster: &Cluster, image: &str) {
    wait_for(image, MINUTES, || (cluster.pod(IMAGE)? == image).then_some(()));
    cluster.wait_until_ready();
}

fn ours(cluster: &Cluster) -> Form {
    Form::ours(&cluster.active_key())
}

/// The commands of a section, except for the machine that builds.
pub fn blocks(section: &str) -> Vec<Block> {
    let here = |block: &Block| block.language == "sh" && block.section == section && block.place != ["build"];
    let blocks: Vec<Block> = page::blocks(PAGE).into_iter().filter(here).collect();
    assert!(!blocks.is_empty(), "{PAGE} has no commands under {section:?}");
    blocks
}

/// A node whose root shell commands are typed in.
pub trait Shell {
    /// Runs a program there, which must succeed.
    fn program(&self, args: &[&str]) -> Vec<u8>;
}

/// Types a block in a root shell of the node, and stops at what fails.
pub fn type_in(shell: &impl Shell, block: &Block) -> String {
    type_text(shell, &block.text)
}

pub fn type_text(shell: &impl Shell, commands: &str) -> String {
    let commands = page::with_the_code(commands, "/root/kekring-recovery-code");
    let script = format!("export KUBECONFIG=/etc/kubernetes/admin.conf; cd /root\n{commands}");
    text(&shell.program(&["bash", "-euc", &script]))
}
