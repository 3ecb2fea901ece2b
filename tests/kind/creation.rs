//! How the cluster is made and deleted: by the script that a user types.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::client::Api;
use crate::cluster::{NAME, NODE, in_repository, kubectl};
use crate::engine::Engine;
use crate::ground::Ground;
use crate::node_image::NodeImage;
use crate::run::{run, text};

const SCRIPT: &str = "deploy/kind/first-look.sh";
/// A node image that is built here has no network for Pods.
const WITHOUT_NETWORK: &str = "- |
  kind: InitConfiguration
  skipPhases: [preflight, addon/kube-proxy, addon/coredns]
networking: {disableDefaultCNI: true, kubeProxyMode: none}
";

/// What a run left that was killed is deleted first.
pub fn up(ground: &Ground, scratch: &Path) -> Result<String, String> {
    run(&mut down(&ground.engine))?;
    let mut command = ground.engine.command(&script());
    command
        .args([
            "up",
            "--name",
            NAME,
            "--node-image",
            &ground.image.name(),
            "--binary",
        ])
        .arg(&ground.binary);
    if let NodeImage::Built = ground.image {
        let own = fs::read_to_string(in_repository("deploy/kind/cluster.yaml")).unwrap();
        let cluster = scratch.join("cluster.yaml");
        fs::write(&cluster, own + WITHOUT_NETWORK).unwrap();
        command.arg("--cluster").arg(cluster);
    }
    run(&mut command).map(|output| text(&output))
}

pub fn down(engine: &Engine) -> Command {
    let mut command = engine.command(&script());
    command.args(["down", "--name", NAME]);
    command
}

/// A client that may do everything, in a namespace of the suite's own.
pub fn administrator(engine: &Engine) -> Result<Api, String> {
    let created = |args: &[&str]| run(&mut kubectl(engine, args));
    created(&["create", "namespace", "suite"])?;
    created(&["create", "serviceaccount", "suite", "--namespace", "suite"])?;
    created(&[
        "create",
        "clusterrolebinding",
        "suite",
        "--clusterrole=cluster-admin",
        "--serviceaccount=suite:suite",
    ])?;
    let token = created(&[
        "create",
        "token",
        "suite",
        "--namespace",
        "suite",
        "--duration=8h",
    ])?;
    let port = run(&mut engine.docker(&["port", NODE, "6443/tcp"]))?;
    let url = format!("https://{}", text(&port).lines().next().unwrap_or_default());
    Ok(Api::new(&url, text(&token).trim()))
}

fn script() -> String {
    in_repository(SCRIPT).to_str().unwrap().to_owned()
}
