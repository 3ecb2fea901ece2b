//! A new EncryptionConfiguration under a running kube-apiserver.

use crate::client::collection;
use crate::control_plane::RELOADS;
use crate::form::Form;
use crate::lab::Lab;
use crate::load::Load;
use crate::plugin::Plugin;

pub fn a_new_configuration_is_taken_under_load_without_a_failed_request() {
    let secrets = ["--resources", "secrets"];
    let both = ["--resources", "secrets,configmaps"];
    let reading = [&both[..], &["--phase", "read"]].concat();
    let mut lab = Lab::with(Plugin::start_new, |plugin| Some(plugin.encryption(&secrets)));
    let (api, ours) = (lab.api(), Form::ours(&lab.plugin.active_key().id));
    api.create_config_map("before", "plain").unwrap();
    let load = Load::new(lab.api());

    load.during(|| {
        let taken = |options: &[&str], name: &str| {
            lab.control_plane.reload(&lab.plugin.encryption(options));
            load.go_on();
            api.create_config_map(name, name).unwrap();
            (lab.form("secrets", &load.newest()), lab.form("configmaps", name))
        };
        assert_eq!(lab.form("configmaps", "before"), Form::Plain);
        assert_eq!(taken(&both, "added"), (ours.clone(), ours.clone()));
        assert_eq!(taken(&reading, "plain"), (Form::Plain, Form::Plain));
        assert_eq!(taken(&both, "again"), (ours.clone(), ours.clone()));
        assert_eq!(taken(&secrets, "removed"), (ours.clone(), Form::Plain));
    });

    println!(
        "\n{} writes and {} reads through 4 configurations",
        load.written(),
        load.reads()
    );
    assert_eq!(load.failures(), [""; 0]);
    let count = |status| api.metric(RELOADS, &[("status", status)]).unwrap_or(0.0);
    assert_eq!((count("success"), count("failure")), (4.0, 0.0));
    lab.control_plane.reload(&lab.plugin.encryption(&both));
    lab.control_plane.restart_api_server();
    let api = lab.api();
    assert_eq!(api.count(&collection("secrets")).unwrap(), load.written());
    for name in ["added", "plain", "again", "removed"] {
        assert_eq!(api.object("configmaps", name).unwrap()["data"]["text"], name);
    }
}
