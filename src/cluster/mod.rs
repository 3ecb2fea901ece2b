//! What kube-apiserver stores in etcd: which key protects which object, without and with the key.

pub mod object;
