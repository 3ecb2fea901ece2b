//! What kubeadm is told of kekring, in three places, is one thing. The suite `kind` gives it to the real kubeadm.

use std::fs;

use serde_json::{Value, json};

use crate::support::in_repository;

#[test]
fn kubeadm_s_file_kind_s_and_the_patch_give_kube_apiserver_the_same() {
    let cluster = yaml(&text_of("deploy/kubeadm/cluster.yaml"));
    let api_server = &cluster["apiServer"];
    assert_eq!(api_server["extraArgs"].as_array().unwrap().len(), 2);
    assert_eq!(api_server["extraVolumes"].as_array().unwrap().len(), 2);

    let kind = yaml(&text_of("deploy/kind/cluster.yaml").replace("@DIR@", "/dir"));
    let patches = kind["kubeadmConfigPatches"].as_array().unwrap();
    let patches = patches.iter().map(|it| yaml(it.as_str().unwrap()));
    let kind = patches
        .into_iter()
        .find(|it| it["kind"] == "ClusterConfiguration")
        .unwrap();
    assert_eq!(&kind["apiServer"], api_server);

    let mut added = Vec::new();
    for op in yaml(&text_of(PATCH)).as_array().unwrap() {
        assert_eq!(op["op"], "add");
        added.push((op["path"].as_str().unwrap().to_owned(), op["value"].clone()));
    }
    assert_eq!(added, as_a_manifest_has(api_server));
}

/// kubeadm takes it by this name.
const PATCH: &str = "deploy/kubeadm/patches/kube-apiserver0+json.yaml";

fn as_a_manifest_has(api_server: &Value) -> Vec<(String, Value)> {
    let list = |name: &str| api_server[name].as_array().unwrap().clone();
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    let flags = list("extraArgs").into_iter().map(|it| {
        let flag = format!("--{}={}", text(&it["name"]), text(&it["value"]));
        ("/spec/containers/0/command/-".to_owned(), json!(flag))
    });
    let mounts = list("extraVolumes").into_iter().map(|it| {
        let mut mount = json!({"name": it["name"], "mountPath": it["mountPath"]});
        if it["readOnly"] == true {
            mount["readOnly"] = json!(true);
        }
        ("/spec/containers/0/volumeMounts/-".to_owned(), mount)
    });
    let volumes = list("extraVolumes").into_iter().map(|it| {
        let volume =
            json!({"name": it["name"], "hostPath": {"path": it["hostPath"], "type": it["pathType"]}});
        ("/spec/volumes/-".to_owned(), volume)
    });
    flags.chain(mounts).chain(volumes).collect()
}

fn text_of(file: &str) -> String {
    fs::read_to_string(in_repository(file)).unwrap()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}
