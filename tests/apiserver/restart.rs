//! kube-apiserver starts again, and nothing that it had cached helps it.

use std::collections::BTreeMap;

use crate::lab::Lab;
use crate::ready::KMS_OPERATIONS;
use crate::wait::{SOON, wait_for};

const ROTATIONS: usize = 3;

pub fn after_three_rotations_an_empty_cache_still_reads_every_secret() {
    let mut lab = Lab::start();
    let mut keys = vec![lab.plugin.active_key()];
    let mut names = lab.write_until_under(&keys[0]);
    for _ in 0..ROTATIONS {
        let active = lab.plugin.rotate();
        names.extend(lab.write_until_under(&active));
        keys.push(active);
    }
    let before = lab.plugin.decrypts().len();

    lab.control_plane.restart_api_server();
    let api = lab.api();
    for name in &names {
        assert_eq!(&api.password(name).unwrap(), name);
    }

    let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
    // The log is written behind the service; its last line may be on its way.
    let counts = wait_for("a Decrypt under every key", SOON, || {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for id in lab.plugin.decrypts().split_off(before) {
            *counts.entry(id).or_default() += 1;
        }
        ids.iter().all(|id| counts.contains_key(*id)).then_some(counts)
    });
    println!(
        "\n{} Secrets under {} keys read; Decrypts: {counts:?}",
        names.len(),
        keys.len()
    );
    assert_eq!(
        before, 0,
        "a seed that kube-apiserver made itself needs no Decrypt"
    );
    assert_eq!(counts.len(), keys.len(), "Decrypts under other keys than ours");
    let labels = [
        ("method_name", "/v2.KeyManagementService/Decrypt"),
        ("grpc_status_code", "OK"),
    ];
    let seen = api.metric(KMS_OPERATIONS, &labels).unwrap_or(0.0);
    let floor = f64::from(u32::try_from(keys.len()).unwrap());
    assert!(seen >= floor, "kube-apiserver counts {seen} Decrypts");
}
