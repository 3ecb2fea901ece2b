//! deploy/kubeadm/README.md, typed in the node as it stands there, by the real kubeadm: into a cluster that exists, phase by
//! phase, and the same manifest by a patch.

use serde_json::{Value, json};

use crate::cluster::{Cluster, MINUTES, NODE, in_repository};
use crate::form::Form;
use crate::guide::{API_SERVER, Shell, type_in, type_text};
use crate::page::{self, Block};
use crate::run::{run, text};
use crate::wait::wait_for;

const PAGE: &str = "deploy/kubeadm/README.md";
/// Its section that has kekring come into a cluster.
pub const EXISTS: &str = "A cluster that exists";
/// Where the page keeps ClusterConfiguration.
const CLUSTER: &str = "/root/cluster.yaml";
/// What the page changes of kube-apiserver.
const LISTS: [&str; 2] = ["extraArgs", "extraVolumes"];

/// kekring serves, and kube-apiserver knows nothing of it.
pub fn into_a_cluster_that_exists(cluster: &Cluster) {
    bring_files(cluster);
    let steps = blocks(EXISTS);
    let [serves, read, get, upload, manifest, ready, write, rewrite] = &steps[..] else {
        panic!("{PAGE} has other steps: {steps:#?}");
    };
    let ours = ours(cluster);
    // The node was made with kekring: what kubeadm stored of it goes.
    type_in(cluster, get);
    without(cluster, &ours);
    type_in(cluster, upload);
    let before = process(cluster);
    type_in(cluster, manifest);
    wait_until_restarted(cluster, &before);
    let patched = patched(cluster);

    type_in(cluster, serves);
    type_in(cluster, read);
    type_in(cluster, get);
    with(cluster, &ours);
    type_in(cluster, upload);
    let before = process(cluster);
    let diff = type_in(cluster, manifest);
    let changed: Vec<&str> = diff.lines().filter(|line| line.starts_with(['<', '>'])).collect();
    let flags = changed
        .iter()
        .filter(|line| line.contains("- --encryption-provider-config"));
    assert_eq!(flags.count(), 2, "{diff}");
    assert!(changed.iter().all(|line| line.starts_with('>')), "{diff}");
    assert_eq!(
        lists(&patched),
        lists(&text(&cluster.in_node(&["cat", API_SERVER])))
    );
    wait_until_restarted(cluster, &before);
    let ready = type_in(cluster, ready);
    assert!(ready.contains("[+]kms-providers ok"), "{ready}");

    let api = cluster.api();
    let written = |name: &str| {
        api.create_secret(name, "text").unwrap();
        cluster.form("secrets", name)
    };
    assert_eq!(written("kubeadm-read"), Form::Plain);
    type_in(cluster, write);
    let under_our_key = Form::ours(&cluster.active_key());
    let mut number = 0..;
    wait_for("a Secret under the active key", MINUTES, || {
        (written(&format!("kubeadm-{}", number.next().unwrap())) == under_our_key).then_some(())
    });
    type_in(cluster, rewrite);
    assert_eq!(cluster.form("secrets", "kubeadm-read"), under_our_key);
}

/// kube-apiserver's process, as long as there is one.
fn process(cluster: &Cluster) -> Vec<u8> {
    cluster.tried_in_node(&["pgrep", "-x", "kube-apiserver"]).stdout
}

fn wait_until_restarted(cluster: &Cluster, before: &[u8]) {
    wait_for("another kube-apiserver", MINUTES, || {
        let now = process(cluster);
        (!now.is_empty() && now != before).then_some(())
    });
    cluster.wait_until_ready();
}

/// The page's files, where a clone would have them.
fn bring_files(cluster: &Cluster) {
    cluster.in_node(&["mkdir", "-p", "/root/deploy"]);
    for from in ["deploy/kubeadm", "deploy/rewrite"].map(in_repository) {
        run(&mut cluster.docker(&["cp", from.to_str().unwrap(), &format!("{NODE}:/root/deploy/")])).unwrap();
    }
}

/// What `cluster.yaml` has for kube-apiserver; kubeadm finds nothing wrong with the file.
pub fn ours(shell: &impl Shell) -> Value {
    type_text(
        shell,
        "kubeadm config validate --config deploy/kubeadm/cluster.yaml",
    );
    let file = type_text(shell, "cat deploy/kubeadm/cluster.yaml");
    serde_saphyr::from_str::<Value>(&file).unwrap()["apiServer"].take()
}

/// Takes out what is ours, as where nobody has heard of it.
pub fn without(shell: &impl Shell, ours: &Value) {
    edit(shell, |list, theirs| {
        let before = theirs.len();
        let ours = ours[list].as_array().unwrap();
        theirs.retain(|it| !ours.iter().any(|our| our["name"] == it["name"]));
        assert_eq!(theirs.len(), before - 2, "{list}");
    });
}

/// Writes ours beside what is there.
pub fn with(shell: &impl Shell, ours: &Value) {
    edit(shell, |list, theirs| {
        theirs.extend(ours[list].as_array().unwrap().clone());
    });
}

/// What an operator does with an editor; kubeadm takes JSON too.
fn edit(shell: &impl Shell, change: impl Fn(&str, &mut Vec<Value>)) {
    let file = type_text(shell, &format!("cat {CLUSTER}"));
    let mut configuration: Value = serde_saphyr::from_str(&file).unwrap();
    for list in LISTS {
        let theirs = &mut configuration["apiServer"][list];
        if theirs.is_null() {
            *theirs = json!([]);
        }
        change(list, theirs.as_array_mut().unwrap());
    }
    type_text(
        shell,
        &format!("cat > {CLUSTER} <<'EDITED'\n{configuration}\nEDITED"),
    );
}

/// The manifest that the patch makes of one without kekring, seen where kubelet does not look.
fn patched(cluster: &Cluster) -> String {
    let [patch] = &blocks("With a patch")[..] else {
        panic!("{PAGE} has another patch");
    };
    type_text(
        cluster,
        &format!("cat > /root/patch.sh <<'PATCH'\n{}PATCH", patch.text),
    );
    let aside = "mkdir -p /root/aside; mount --bind /root/aside /etc/kubernetes/manifests; . /root/patch.sh";
    type_text(cluster, &format!("unshare --mount bash -euc '{aside}'"));
    text(&cluster.in_node(&["cat", "/root/aside/kube-apiserver.yaml"]))
}

/// What is in a manifest, whatever its order.
fn lists(manifest: &str) -> Vec<String> {
    let pod: Value = serde_saphyr::from_str(manifest).unwrap();
    let container = &pod["spec"]["containers"][0];
    let lists = [
        &container["command"],
        &container["volumeMounts"],
        &pod["spec"]["volumes"],
    ];
    let all = lists.iter().flat_map(|it| it.as_array().unwrap());
    let mut all: Vec<String> = all.map(ToString::to_string).collect();
    all.sort();
    all
}

pub fn blocks(section: &str) -> Vec<Block> {
    let here = |block: &Block| block.language == "sh" && block.section == section;
    page::blocks(PAGE).into_iter().filter(here).collect()
}
