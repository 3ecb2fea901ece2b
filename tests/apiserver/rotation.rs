//! The key is replaced under a running kube-apiserver.

use std::time::Instant;

use crate::lab::{Lab, NEW_KEY_IN_USE};
use crate::load::{Load, secret};
use crate::plugin::KeyName;
use crate::wait::{SOON, wait_for};

const KEY_ID_TOTAL: &str = "apiserver_envelope_encryption_key_id_hash_total";
const STATUS_TIME: &str = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds";

pub fn a_rotation_under_load_fails_no_write_and_no_read() {
    let lab = Lab::start();
    let (api, old) = (lab.api(), lab.plugin.active_key());
    api.create_secret("before", "kept").unwrap();
    let load = Load::new(lab.api());

    let (new, switched) = load.during(|| {
        let new = lab.plugin.rotate();
        let rotated = Instant::now();
        let switched = wait_for("a Secret under the new key", NEW_KEY_IN_USE, || {
            let written = load.written();
            (lab.key_of_secret(&secret(written - 1)) == new.id).then_some(written)
        });
        let took = rotated.elapsed().as_secs_f32();
        load.go_on();
        println!("\nthe first Secret under the new key lay in etcd {took:.0} s after the rotation");
        (new, switched)
    });

    println!(
        "{} writes and {} reads, none failed",
        load.written(),
        load.reads()
    );
    assert_eq!(load.failures(), [""; 0]);
    assert_ne!(old, new);
    assert_eq!(
        lab.key_of_secret(&secret(0)),
        old.id,
        "a rotation rewrites nothing"
    );
    for number in switched..load.written() {
        assert_eq!(lab.key_of_secret(&secret(number)), new.id, "{}", secret(number));
    }
    an_old_secret_takes_the_new_key_when_it_is_written_again(&lab, &old, &new);
    the_metrics_of_kube_apiserver_name_both_keys(&lab, &old, &new);
}

fn an_old_secret_takes_the_new_key_when_it_is_written_again(lab: &Lab, old: &KeyName, new: &KeyName) {
    let api = lab.api();
    assert_eq!(lab.key_of_secret("before"), old.id);
    assert_eq!(api.password("before").unwrap(), "kept");

    let as_read = api.object("secrets", "before").unwrap();
    api.replace("secrets", "before", &as_read).unwrap();

    assert_eq!(lab.key_of_secret("before"), new.id);
    assert_eq!(api.password("before").unwrap(), "kept");
}

fn the_metrics_of_kube_apiserver_name_both_keys(lab: &Lab, old: &KeyName, new: &KeyName) {
    let api = lab.api();
    let series = |direction, key: &KeyName| {
        let labels = [
            ("transformation_type", direction),
            ("provider_name", "kekring"),
            ("key_id_hash", &key.hash),
        ];
        api.metric(KEY_ID_TOTAL, &labels).unwrap_or(0.0)
    };
    let status_time = |key: &KeyName| {
        let labels = [("provider_name", "kekring"), ("key_id_hash", &key.hash)];
        api.metric(STATUS_TIME, &labels).unwrap_or(0.0)
    };
    let written_under_old = series("to_storage", old);

    let (under_new, last) = (series("to_storage", new), status_time(new));
    api.create_secret("after", "new").unwrap();

    assert!(written_under_old > 0.0 && series("from_storage", old) > 0.0);
    assert!(last > status_time(old) && status_time(old) > 0.0);
    // The metrics are counted where the object is encrypted: before the answer.
    wait_for("the new key's count to rise", SOON, || {
        (series("to_storage", new) > under_new).then_some(())
    });
    assert!(
        (series("to_storage", old) - written_under_old).abs() < 0.5,
        "the old key still writes"
    );
}
