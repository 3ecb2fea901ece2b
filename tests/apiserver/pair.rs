//! Two kube-apiservers on one etcd and one plugin.

use crate::client::{Api, collection};
use crate::lab::{Lab, NEW_KEY_IN_USE};
use crate::load::Load;
use crate::plugin::KeyName;
use crate::wait::wait_for;

const KEY_ID_TOTAL: &str = "apiserver_envelope_encryption_key_id_hash_total";

pub fn two_api_servers_read_each_other_through_a_rotation_and_both_take_the_new_key() {
    let mut lab = Lab::start();
    let second = lab.control_plane.another_api_server("second");
    let (one, two, old) = (lab.api(), second.api(), lab.plugin.active_key());
    let loads = [
        Load::across("one", one.clone(), two.clone()),
        Load::across("two", two.clone(), one.clone()),
    ];

    let new = loads[0].during(|| loads[1].during(|| rotate(&lab, &loads, &[&one, &two])));

    for load in &loads {
        println!(
            "\n{}: {} writes, {} reads",
            load.secret(0),
            load.written(),
            load.reads()
        );
        assert_eq!(load.failures(), [""; 0]);
        assert_eq!(lab.key_of_secret(&load.secret(0)), old.id);
        assert_eq!(lab.key_of_secret(&load.newest()), new.id);
    }
    for api in [&one, &two] {
        for key in [&old, &new] {
            assert!(counted(api, "to_storage", key) > 0.0, "no write under {}", key.id);
            assert!(
                counted(api, "from_storage", key) > 0.0,
                "no read under {}",
                key.id
            );
        }
    }
    second.kill();
    lab.control_plane.restart_api_server();
    assert_eq!(
        lab.api().count(&collection("secrets")).unwrap(),
        loads[0].written() + loads[1].written(),
        "an empty cache reads what either of them wrote"
    );
}

/// Until both have gone over; from then on nothing is written under the old key.
fn rotate(lab: &Lab, loads: &[Load; 2], apis: &[&Api; 2]) -> KeyName {
    let (old, new) = (lab.plugin.active_key(), lab.plugin.rotate());
    wait_for("both to write under the new key", NEW_KEY_IN_USE, || {
        for api in apis {
            api.health("/readyz").unwrap();
        }
        loads
            .iter()
            .all(|load| lab.key_of_secret(&load.newest()) == new.id)
            .then_some(())
    });
    let under_old = apis.map(|api| counted(api, "to_storage", &old));
    loads.iter().for_each(Load::go_on);
    assert_eq!(apis.map(|api| counted(api, "to_storage", &old)), under_old);
    new
}

fn counted(api: &Api, direction: &str, key: &KeyName) -> f64 {
    let labels = [("transformation_type", direction), ("key_id_hash", &key.hash)];
    api.metric(KEY_ID_TOTAL, &labels).unwrap_or(0.0)
}
