//! What an operator changes while the cluster works.

use std::fs;
use std::process::Command;

use crate::cluster::{Cluster, MINUTES, in_repository};
use crate::form::Form;
use crate::load::Load;
use crate::run::run;
use crate::wait::wait_for;

const IMAGE: &str = "{.spec.containers[0].image}";
const CONTAINER: &str = "{.status.containerStatuses[0].containerID}";

pub fn a_rotation_in_the_pod_gives_new_secrets_the_new_key_and_old_ones_stay_readable(cluster: &Cluster) {
    let (api, active) = (cluster.api(), cluster.active_key());
    api.create_secret("rotation-before", "kept").unwrap();
    // Under the key that kube-apiserver has been told last, which may be an older one.
    let old = cluster.form("secrets", "rotation-before");
    let load = Load::gentle("rotation", &cluster.api());

    load.during(|| {
        cluster.kekring(&["rotate"]);
        let new = Form::ours(&cluster.active_key());
        wait_for("a Secret under the new key", MINUTES, || {
            // It looks at the plugin when it is asked for its health.
            api.health("/readyz").unwrap();
            (cluster.form("secrets", &load.newest()) == new).then_some(())
        });
        load.go_on();
    });

    assert_eq!(load.failures(), [""; 0]);
    assert_ne!(cluster.active_key(), active);
    assert_eq!(cluster.form("secrets", "rotation-before"), old);
    assert_eq!(api.password("rotation-before").unwrap(), "kept");
}

pub fn a_new_encryption_configuration_is_taken_without_a_restart(cluster: &Cluster) {
    let api = cluster.api();
    api.create_config_map("reload-before", "plain").unwrap();
    let load = Load::gentle("reload", &cluster.api());

    load.during(|| {
        let both = cluster.kekring(&["config", "encryption", "--resources", "secrets,configmaps"]);
        cluster.configure_encryption(&both);
        let mut number = 0..;
        wait_for("a ConfigMap that is encrypted", MINUTES, || {
            let name = format!("reload-{}", number.next().unwrap());
            api.create_config_map(&name, "text").unwrap();
            (cluster.form("configmaps", &name) != Form::Plain).then_some(())
        });
        load.go_on();
    });

    assert_eq!(load.failures(), [""; 0]);
    assert_eq!(cluster.form("configmaps", "reload-before"), Form::Plain);
    let before = api.object("configmaps", "reload-before").unwrap();
    assert_eq!(before["data"]["text"], "plain");
}

pub fn an_upgrade_of_the_image_fails_no_read_and_no_write(cluster: &Cluster) {
    let key = cluster.active_key();
    let load = Load::gentle("upgrade", &cluster.api());
    let archive = cluster.files().join("image/upgraded.tar");
    run(Command::new(in_repository("deploy/container/image.sh"))
        .arg("--binary")
        .arg(cluster.binary())
        .args(["--tag", "kekring:upgraded"])
        .arg(&archive))
    .unwrap();

    load.during(|| {
        let import = [
            "ctr",
            "--namespace",
            "k8s.io",
            "images",
            "import",
            "/kekring/upgraded.tar",
        ];
        cluster.in_node(&import);
        let before = cluster.pod(CONTAINER).unwrap();
        cluster.edit_manifest("image: kekring:", "image: kekring:upgraded # ");
        wait_for("the Pod to run the new image", MINUTES, || {
            let (image, container) = (cluster.pod(IMAGE)?, cluster.pod(CONTAINER)?);
            (image == "kekring:upgraded" && !container.is_empty() && container != before).then_some(())
        });
        cluster.wait_until_ready();
        load.go_on();
    });

    assert_eq!(load.failures(), [""; 0]);
    assert_eq!(cluster.active_key(), key);
    assert_eq!(cluster.form("secrets", &load.newest()), Form::ours(&key));
    fs::remove_file(archive).unwrap();
}
