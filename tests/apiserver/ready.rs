//! kube-apiserver's view of its plugin: how long it trusts it, when it looks, what it says.

use std::time::Duration;

use crate::client::{Answer, Api};
use crate::wait::{SOON, wait_for};

/// kube-apiserver writes under the seed that it has for 3 minutes after the last good Status, and no longer.
pub const SEED_LIFE: Duration = Duration::from_secs(180);
/// The calls to the plugin, as kube-apiserver counts them.
pub const KMS_OPERATIONS: &str = "apiserver_envelope_encryption_kms_operations_latency_seconds_count";

/// kube-apiserver looks again when an answer is 20 s old; it stays alive all the while.
pub fn wait_until_unready(api: &Api) -> Answer {
    wait_for("kube-apiserver to miss the plugin", SOON, || {
        assert_eq!(api.health("/livez").unwrap().status, 200);
        api.health("/readyz").ok().filter(|answer| answer.status != 200)
    })
}

/// After a failure it looks again every few seconds, in growing steps.
pub fn wait_until_ready(api: &Api) {
    wait_for("kube-apiserver to be ready again", 3 * SOON, || {
        assert_eq!(api.health("/livez").unwrap().status, 200);
        api.health("/readyz").ok().filter(|answer| answer.status == 200)
    });
}

/// It looks when it is asked for its readiness and its last look is 20 s old.
pub fn wait_for_another_status(api: &Api) {
    let labels = [
        ("method_name", "/v2.KeyManagementService/Status"),
        ("grpc_status_code", "OK"),
    ];
    let answered = || api.metric(KMS_OPERATIONS, &labels).unwrap_or(0.0);
    let before = answered();
    wait_for("kube-apiserver to look at the plugin again", SOON, || {
        api.health("/readyz").unwrap();
        (answered() > before).then_some(())
    });
}
