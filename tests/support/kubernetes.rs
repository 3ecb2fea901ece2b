//! The programs of a node in one, kubectl and etcdctl among them: which it is, the name decides that it is called by.
//!
//! Included by `#[path = "../support/kubernetes.rs"] mod kubernetes;`, beside `golang.rs`.

use crate::golang::Program;

/// What is built: Kubernetes of this version, which the linker tells the programs.
#[allow(dead_code)] // one suite needs it
pub const VERSION: &str = "v1.36.3";
const LINKED: &str = "-X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

pub static KUBERNETES: Program =
    Program::new("kubernetes", "tests/kind/kubernetes", "go.mod", "").linked(LINKED);
