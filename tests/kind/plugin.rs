//! kekring's Pod, and the server in it.

use std::fs;

use serde_json::Value;

use crate::cluster::{Cluster, MINUTES, exec, replace};
use crate::run::text;
use crate::wait::wait_for;

/// Its name in the API: the manifest's, and the node's.
const POD: &str = "kekring-kekring-suite-control-plane";
/// The server's command line, which no probe and no verb has.
const SERVER: &str = "kekring serve";

impl Cluster {
    /// Whether the Pod's server answers a verb.
    pub fn answers(&self) -> bool {
        let probe = [&exec(POD)[..], &["kekring", "probe"]].concat();
        self.tried_kubectl(&probe).status.success()
    }

    /// Sends a signal to kekring's server.
    pub fn signal(&self, signal: &str) {
        self.in_node(&["pkill", &format!("-{signal}"), "-f", SERVER]);
    }

    /// How often kubelet has restarted the Pod's container.
    pub fn restarts(&self) -> u32 {
        let count = self.pod("{.status.containerStatuses[0].restartCount}");
        count.and_then(|count| count.parse().ok()).unwrap_or_default()
    }

    /// A field of kekring's Pod; nothing while kubelet puts another Pod in its place.
    pub fn pod(&self, path: &str) -> Option<String> {
        let path = format!("jsonpath={path}");
        let get = ["get", "pod", "--namespace", "kube-system", POD, "--output", &path];
        let got = self.tried_kubectl(&get);
        got.status.success().then(|| text(&got.stdout))
    }

    /// Replaces what is in kekring's manifest.
    pub fn edit_manifest(&self, from: &str, to: &str) {
        let path = self.files().join("manifests/kekring.yaml");
        let manifest = fs::read_to_string(&path).unwrap();
        assert!(manifest.contains(from), "{manifest}");
        replace(&path, &manifest.replace(from, to));
    }

    /// Lets it go on that was frozen.
    pub fn thaw(&self) {
        let _ = self.tried_in_node(&["pkill", "-CONT", "-f", SERVER]);
    }

    /// A verb, in the running Pod.
    pub fn kekring(&self, args: &[&str]) -> String {
        wait_for("kekring's Pod to answer", MINUTES, || {
            self.answers().then_some(())
        });
        text(&self.kubectl(&[&exec(POD)[..], &["kekring"], args].concat()))
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.kekring(&["status", "-o", "json"])).unwrap()
    }

    /// The key that encrypts, by its name.
    pub fn active_key(&self) -> String {
        self.status()["active"].as_str().unwrap().to_owned()
    }
}
