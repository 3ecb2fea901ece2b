//! How the cluster is made and deleted: by the script that a user types, on a program that is built here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::Api;
use crate::cluster::{NAME, NODE, in_repository, kubectl};
use crate::engine::Engine;
use crate::missing::require;
use crate::node_image::NodeImage;
use crate::run::{run, text};

const SCRIPT: &str = "deploy/kind/first-look.sh";
/// A node image that is built here has no network for Pods.
const WITHOUT_NETWORK: &str = "- |
  kind: InitConfiguration
  skipPhases: [preflight, addon/kube-proxy, addon/coredns]
networking: {disableDefaultCNI: true, kubeProxyMode: none}
";

/// The program under test, linked statically. Without what a debugger reads, which would be most of the image.
pub fn static_program() -> Result<PathBuf, String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if require(&["rustup"]).is_ok() {
        run(Command::new("rustup").args(["target", "add", &target]))?;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("");
    let name = target.replace('-', "_");
    // As `deploy/container/image.sh` does it: the C and the assembly of ring call no C library.
    run(Command::new(env!("CARGO"))
        .env(
            format!("CC_{name}"),
            std::env::var_os("CC").unwrap_or("cc".into()),
        )
        .env(format!("CFLAGS_{name}"), "-U_FORTIFY_SOURCE")
        .args(["build", "--locked", "--bin", "kekring", "--target", &target])
        .arg("--manifest-path")
        .arg(in_repository("Cargo.toml"))
        .arg("--target-dir")
        .arg(&dir)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols"))?;
    Ok(dir.join(target).join("debug/kekring"))
}

/// What a run left that was killed is deleted first.
pub fn up(engine: &Engine, image: &NodeImage, binary: &Path, scratch: &Path) -> Result<String, String> {
    run(&mut down(engine))?;
    let mut command = engine.command(&script());
    command
        .args(["up", "--name", NAME, "--node-image", &image.name(), "--binary"])
        .arg(binary);
    if let NodeImage::Built = image {
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
