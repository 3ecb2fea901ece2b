//! The two sides' metrics speak of the same keys.

use std::collections::BTreeSet;

use crate::client::Api;
use crate::lab::Lab;
use crate::scrape::Scrape;
use crate::wait::{SOON, wait_for};

/// Objects by the hash of the key that their seed hangs on, as kube-apiserver counts them.
const THEIRS: &str = "apiserver_envelope_encryption_key_id_hash_total";
const THEIR_STATUS: &str = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds";
/// kube-apiserver asks for Status once a minute, or faster while its own health is asked for.
const STATUS_INTERVAL: f64 = 70.0;

pub fn the_series_of_both_sides_join_on_the_hash_of_the_key() {
    let lab = Lab::start();
    let (api, address) = (lab.api(), lab.plugin.telemetry());
    let old = lab.plugin.active_key();
    api.create_secret("before", "kept").unwrap();
    assert_eq!(theirs(&api), BTreeSet::from([old.hash.clone()]));
    assert_eq!(ours(&Scrape::of(&address)), BTreeSet::from([old.hash.clone()]));

    let new = lab.plugin.rotate();
    let written = lab.write_until_under(&new);

    let both = BTreeSet::from([old.hash.clone(), new.hash.clone()]);
    assert_eq!(theirs(&api), both, "{} Secrets later", written.len());
    let scrape = Scrape::of(&address);
    assert_eq!(ours(&scrape), both);
    let active = scrape.value("kekring_active_key_info", &[("key_id_hash", &new.hash)]);
    assert!(
        active > 0.5,
        "the key that it writes under is the active one here"
    );
    // What Status told them is what Status says it told.
    let told = wait_for("kube-apiserver to date a Status with the new key", SOON, || {
        api.metric(THEIR_STATUS, &[("key_id_hash", &new.hash)])
    });
    let asked = scrape.value("kekring_status_last_timestamp_seconds", &[]);
    assert!((told - asked).abs() < STATUS_INTERVAL, "{told} and {asked}");
}

/// The keys that kube-apiserver has written or read under.
fn theirs(api: &Api) -> BTreeSet<String> {
    let series = api.series(THEIRS).into_iter().filter(|(_, count)| *count > 0.5);
    series.map(|(labels, _)| hash_in(&labels)).collect()
}

/// The keys that seeds were encrypted under.
fn ours(scrape: &Scrape) -> BTreeSet<String> {
    let samples = scrape.0["kekring_encrypts"].samples.iter();
    let used = samples.filter(|(_, _, count)| *count > 0.5);
    used.map(|(_, labels, _)| labels["key_id_hash"].clone()).collect()
}

fn hash_in(labels: &str) -> String {
    let value = labels.split("key_id_hash=\"").nth(1).expect(labels);
    value.split('"').next().unwrap().to_owned()
}
