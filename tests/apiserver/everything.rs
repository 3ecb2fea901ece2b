//! Every resource of every group through one provider.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::at_rest::files_holding;
use crate::client::Api;
use crate::form::Form;
use crate::lab::Lab;
use crate::plugin::Plugin;
use crate::wait::{SOON, wait_for};

/// Each object carries this, and it may not lie in etcd in the clear.
const MARKER: &str = "what-an-object-says-is-nobodys-business";
/// What kube-apiserver keeps for itself beside the resources, and never encrypts: who else serves, which ports are taken.
const NEVER_ENCRYPTED: [&str; 2] = ["peerserverleases", "ranges"];
/// Kinds, each with the collection that it lies in, and what it cannot do without.
const KINDS: [(&str, &str, &str, &str); 11] = [
    ("/api/v1/namespaces/suite/secrets", "v1", "Secret", "{}"),
    ("/api/v1/namespaces/suite/configmaps", "v1", "ConfigMap", "{}"),
    (
        "/api/v1/namespaces/suite/serviceaccounts",
        "v1",
        "ServiceAccount",
        "{}",
    ),
    (
        "/api/v1/namespaces/suite/services",
        "v1",
        "Service",
        r#"{"spec": {"ports": [{"port": 80}]}}"#,
    ),
    (
        "/api/v1/namespaces/suite/events",
        "v1",
        "Event",
        r#"{"involvedObject": {"namespace": "suite"}}"#,
    ),
    ("/api/v1/namespaces", "v1", "Namespace", "{}"),
    (
        "/apis/apps/v1/namespaces/suite/deployments",
        "apps/v1",
        "Deployment",
        r#"{"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}}"#,
    ),
    (
        "/apis/coordination.k8s.io/v1/namespaces/suite/leases",
        "coordination.k8s.io/v1",
        "Lease",
        "{}",
    ),
    (
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "rbac.authorization.k8s.io/v1",
        "ClusterRole",
        r#"{"rules": []}"#,
    ),
    (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        r#"{"metadata": {"name": "things.suite.example"}, "spec": {"group": "suite.example", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"}, "versions": [{"name": "v1", "served": true,
            "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}"#,
    ),
    (
        "/apis/suite.example/v1/namespaces/suite/things",
        "suite.example/v1",
        "Thing",
        r#"{"spec": {"any": "thing"}}"#,
    ),
];

pub fn with_every_resource_named_nothing_that_can_be_encrypted_lies_plain_and_all_reads_back() {
    let mut lab = Lab::with(Plugin::start_new, |plugin| {
        Some(plugin.encryption(&["--resources", "*.*"]))
    });
    let ours = Form::ours(&lab.plugin.active_key().id);

    let api = lab.api();
    let paths: Vec<String> = KINDS.iter().map(|kind| create(&api, kind)).collect();

    let (mut encrypted, mut other) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in lab.etcd().values("/registry/") {
        let forms = match Form::of(&value) {
            form if form == ours => &mut encrypted,
            _ => &mut other,
        };
        *forms.entry(resource(&key)).or_insert(0) += 1;
    }
    println!("\nobjects under our key: {encrypted:?}\nplain: {other:?}");
    assert!(
        encrypted.len() > KINDS.len(),
        "our own kinds, and those that kube-apiserver makes"
    );
    assert_eq!(other.keys().collect::<Vec<_>>(), NEVER_ENCRYPTED.each_ref());
    assert_eq!(files_holding(&lab.control_plane.etcd_dir(), MARKER), [""; 0]);
    lab.control_plane.restart_api_server();
    let api = lab.api();
    for path in &paths {
        // A custom resource is served a moment after its definition.
        let object = wait_for(path, SOON, || api.read(path).ok());
        assert_eq!(object["metadata"]["annotations"]["suite"], MARKER, "{path}");
    }
}

/// Its own objects are among what it cannot read: it is not live, and ends itself after half a minute.
pub fn with_every_resource_named_kube_apiserver_does_not_live_without_the_plugin() {
    let mut lab = Lab::with(Plugin::start_new, |plugin| {
        Some(plugin.encryption(&["--resources", "*.*"]))
    });
    lab.api().create_secret("kept", "kept").unwrap();

    lab.plugin.kill();
    let (mut alone, api) = lab.control_plane.start_again();
    let mut answers = 0;
    wait_for("kube-apiserver to end itself", 3 * SOON, || {
        if let Ok(live) = api.health("/livez") {
            assert_ne!(live.status, 200, "{live:?}");
            answers += 1;
        }
        alone.has_ended().then_some(())
    });
    assert!(answers > 0, "it answered, and was not live");

    lab.plugin.start();
    lab.control_plane.restart_api_server();
    assert_eq!(lab.api().health("/livez").unwrap().status, 200);
    assert_eq!(lab.api().password("kept").as_deref(), Ok("kept"));
}

/// Returns where the object is.
fn create(api: &Api, (collection, version, kind, rest): &(&str, &str, &str, &str)) -> String {
    let mut object: Value = serde_json::from_str(rest).unwrap();
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    let name = object["metadata"]["name"].as_str().unwrap_or("one").to_owned();
    object["metadata"] = json!({"name": name, "annotations": {"suite": MARKER}});
    wait_for(kind, SOON, || api.create(collection, &object).ok());
    format!("{collection}/{name}")
}

/// `secrets` of `/registry/secrets/suite/one`, `apps/deployments` where the group stands in the key.
fn resource(key: &str) -> String {
    let parts: Vec<&str> = key.trim_start_matches("/registry/").split('/').collect();
    if parts[0].contains('.') {
        return parts[..2].join("/");
    }
    parts[0].to_owned()
}
