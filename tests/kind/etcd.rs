//! What lies in the cluster's etcd.

use crate::cluster::{Cluster, NODE, exec};
use crate::form::Form;
use crate::run::text;

impl Cluster {
    /// What lies in etcd below a prefix: keys.
    pub fn etcd_keys(&self, prefix: &str) -> Vec<String> {
        let listed = self.etcdctl(&["get", "--prefix", "--keys-only", prefix]);
        let lines = text(&listed);
        lines
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// A value in etcd, byte for byte.
    pub fn etcd_value(&self, key: &str) -> Vec<u8> {
        let mut value = self.etcdctl(&["get", "--print-value-only", key]);
        // etcdctl ends it with a line feed.
        assert_eq!(value.pop(), Some(b'\n'), "{key} is not in etcd");
        value
    }

    /// How an object of the suite lies in etcd.
    pub fn form(&self, resource: &str, name: &str) -> Form {
        Form::of(&self.etcd_value(&format!("/registry/{resource}/suite/{name}")))
    }

    fn etcdctl(&self, args: &[&str]) -> Vec<u8> {
        let pki = [
            "etcdctl",
            "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
            "--cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt",
            "--key=/etc/kubernetes/pki/etcd/healthcheck-client.key",
        ];
        let pod = format!("etcd-{NODE}");
        self.kubectl(&[&exec(&pod)[..], &pki[..], args].concat())
    }
}
