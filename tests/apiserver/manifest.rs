//! The static Pod of `deploy/`, shown to a kube-apiserver, which knows every field of a Pod and what may stand in it.
//! kubelet reads a manifest by the same types.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::wait::{SOON, wait_for};

const PODS: &str = "/api/v1/namespaces/kube-system/pods?dryRun=All&fieldValidation=Strict";

pub fn kube_apiserver_takes_the_static_pod_and_knows_every_field_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::start(dir.path(), None);
    let api = control_plane.api();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    // kube-apiserver makes the namespace itself, a little later; nobody here would make the account.
    wait_for("kube-system", SOON, || {
        api.create("/api/v1/namespaces/kube-system/serviceaccounts", &account)
            .ok()
    });
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/static-pod/kekring.yaml");
    let pod: Value = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();

    let taken = api.create(PODS, &pod);
    let mut mistyped = pod.clone();
    mistyped["spec"]["hostNetwrok"] = true.into();
    let mistyped = api.create(PODS, &mistyped).unwrap_err();
    let mut wrong = pod;
    wrong["spec"]["containers"][0]["livenessProbe"]["timeoutSeconds"] = (-1).into();
    let wrong = api.create(PODS, &wrong).unwrap_err();

    assert_eq!(taken, Ok(()));
    assert!(
        mistyped.contains("unknown field \\\"spec.hostNetwrok\\\""),
        "{mistyped}"
    );
    assert!(wrong.contains("must be greater than or equal to 0"), "{wrong}");
}
