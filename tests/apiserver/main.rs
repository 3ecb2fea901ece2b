//! A real kube-apiserver on a real etcd, its Secrets encrypted through kekring.

fn main() {}
