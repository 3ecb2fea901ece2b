//! The static Pod: what kubelet must do with it when things are well, and what it must never do when they are not.
//! tests/apiserver shows it to a kube-apiserver.

use std::fs;

use kekring::config::{Config, Node, Socket};
use kekring::root::RootConfig;
use serde_json::{Value, json};

use crate::support::{in_repository, kekring, shown};

const MANIFEST: &str = "deploy/static-pod/kekring.yaml";
const CONFIGURATION: &str = "deploy/static-pod/config.yaml";

#[test]
fn the_pod_starts_before_there_is_a_network_and_is_never_evicted() {
    let pod = pod();

    assert_eq!(pod["metadata"]["namespace"], "kube-system");
    assert_eq!(pod["metadata"]["name"], "kekring");
    assert_eq!(pod["spec"]["hostNetwork"], true);
    assert_eq!(pod["spec"]["priorityClassName"], "system-node-critical");
    assert_eq!(pod["spec"]["restartPolicy"], Value::Null, "the default is Always");
    let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(grace > kekring::server::DRAIN.as_secs());
}

#[test]
fn the_image_is_that_of_this_version_and_is_never_pulled() {
    let container = container();

    assert_eq!(
        container["image"],
        format!("kekring:{}", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(container["imagePullPolicy"], "Never");
}

#[test]
fn the_container_has_no_right_that_it_does_not_need() {
    let (spec, container) = (&pod()["spec"], container());

    assert_eq!(
        spec["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        })
    );
    assert_eq!(spec["automountServiceAccountToken"], false);
    for shared in ["hostPID", "hostIPC", "shareProcessNamespace"] {
        assert_eq!(spec[shared], Value::Null);
    }
    let memory = &container["resources"]["limits"]["memory"];
    assert_eq!(memory, "256Mi");
    assert_eq!(
        container["resources"]["limits"]["cpu"],
        Value::Null,
        "it would slow requests down"
    );
}

#[test]
fn kubelet_restarts_it_when_it_is_frozen_and_not_when_its_ring_does_not_open() {
    let container = container();

    // tests/cli has each outcome of both in a golden file.
    let command = |probe: &str| container[probe]["exec"]["command"].clone();
    assert_eq!(command("livenessProbe"), json!(["kekring", "probe", "--alive"]));
    assert_eq!(command("readinessProbe"), json!(["kekring", "probe"]));
    assert_eq!(container["startupProbe"], Value::Null, "it too would restart");
    for probe in ["livenessProbe", "readinessProbe"] {
        let timeout = container[probe]["timeoutSeconds"].as_u64().unwrap();
        assert!(timeout > 3, "kubelet gives up before {probe} does");
    }
}

#[test]
fn every_probe_and_the_server_have_a_command_line_that_kekring_takes() {
    let container = container();

    for words in [
        &container["args"],
        &container["livenessProbe"]["exec"]["command"],
        &container["readinessProbe"]["exec"]["command"],
    ] {
        let words: Vec<&str> = words
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it.as_str().unwrap())
            .collect();
        let words: Vec<&str> = words
            .into_iter()
            .filter(|word| *word != "kekring")
            .chain(["--help"])
            .collect();
        let output = kekring(&words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", shown(&output));
    }
}

#[test]
fn what_the_configuration_names_is_in_a_directory_that_is_mounted() {
    let config = Config::load(&in_repository(CONFIGURATION)).unwrap();
    let dir = config.ring.store.local();
    let [RootConfig::File(root)] = config.ring.roots.as_slice() else {
        panic!("one root key file");
    };
    let (socket, node) = (Socket::default(), Node::default());

    let mounts = mounts();

    let mount = |path: &str| mounts.iter().find(|mount| mount.path == path).unwrap();
    assert_eq!(config.socket.path, socket.path);
    assert!(config.socket.path.starts_with("/run/kekring"));
    assert_eq!(dir.to_str(), Some("/var/lib/kekring"));
    assert!(root.path.starts_with("/etc/kekring"));
    assert!(
        container()["args"]
            .to_string()
            .contains("/etc/kekring/config.yaml")
    );
    assert_eq!(config.node.machine_id_file, node.machine_id_file);
    assert_eq!(
        mounts.iter().map(|mount| mount.path.as_str()).collect::<Vec<_>>(),
        [
            "/run/kekring",
            "/var/lib/kekring",
            "/etc/kekring",
            "/etc/machine-id"
        ]
    );
    // After a reboot the socket's directory is gone. The ring's never is: an empty one would hide a disk that is not mounted.
    assert_eq!(
        (
            mount("/run/kekring").kind.as_str(),
            mount("/run/kekring").read_only
        ),
        ("DirectoryOrCreate", false)
    );
    assert_eq!(
        (
            mount("/var/lib/kekring").kind.as_str(),
            mount("/var/lib/kekring").read_only
        ),
        ("Directory", false)
    );
    assert_eq!(
        (
            mount("/etc/kekring").kind.as_str(),
            mount("/etc/kekring").read_only
        ),
        ("Directory", true)
    );
    assert_eq!(
        (
            mount("/etc/machine-id").kind.as_str(),
            mount("/etc/machine-id").read_only
        ),
        ("File", true)
    );
}

/// A directory of the node, mounted under its own name.
struct Mount {
    path: String,
    kind: String,
    read_only: bool,
}

fn mounts() -> Vec<Mount> {
    let (pod, container) = (pod(), container());
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert_eq!(volumes.len(), mounts.len());
    let both = mounts.iter().zip(volumes);
    both.map(|(mount, volume)| {
        assert_eq!(mount["name"], volume["name"]);
        assert_eq!(mount["mountPath"], volume["hostPath"]["path"]);
        Mount {
            path: mount["mountPath"].as_str().unwrap().to_owned(),
            kind: volume["hostPath"]["type"].as_str().unwrap().to_owned(),
            read_only: mount["readOnly"] == true,
        }
    })
    .collect()
}

fn pod() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(in_repository(MANIFEST)).unwrap()).unwrap()
}

fn container() -> Value {
    let pod = pod();
    let containers = pod["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}
