//! The cluster of the whole suite: its node, and what runs there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::client::Api;
use crate::creation::{administrator, down, up};
use crate::engine::Engine;
use crate::ground::Ground;
use crate::guide::Shell;
use crate::run::run;
use crate::wait::wait_for;

pub const NAME: &str = "kekring-suite";
pub const NODE: &str = "kekring-suite-control-plane";
/// Where static Pods come from, and where a manifest waits that was taken away.
const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// On the same file system, so that a file comes and goes whole; kubelet looks at no name that begins with a dot.
const AWAY: &str = "/etc/kubernetes/manifests/.away";
/// The static Pods that are taken away and put back.
pub const PODS: [&str; 3] = ["kube-apiserver", "kekring", "etcd"];
/// Generous for what kubelet or kube-apiserver does in its own time.
pub const MINUTES: Duration = Duration::from_secs(600);
pub struct Cluster {
    ground: Arc<Ground>,
    api: Api,
    /// What the script printed.
    pub first_look: String,
    pub took: Duration,
    deleted: AtomicBool,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.deleted.load(SeqCst)
            && let Err(why) = run(&mut down(&self.ground.engine))
        {
            eprintln!("cannot delete the cluster: {why}");
        }
    }
}

impl Cluster {
    pub fn create(ground: Arc<Ground>) -> Result<Self, String> {
        let scratch = tempfile::tempdir().unwrap();
        let started = Instant::now();
        let first_look = up(&ground, scratch.path())?;
        let took = started.elapsed();
        ground.engine.enter_network()?;
        let api = administrator(&ground.engine)?;
        Ok(Self {
            ground,
            api,
            first_look,
            took,
            deleted: AtomicBool::new(false),
        })
    }

    pub fn delete(&self) {
        self.deleted.store(true, SeqCst);
        run(&mut down(&self.ground.engine)).unwrap();
    }

    /// Where the script keeps the cluster's files.
    pub fn files(&self) -> PathBuf {
        in_repository("target/kind").join(NAME)
    }

    /// Undoes what an earlier scenario left that failed in its middle.
    pub fn heal(&self) {
        for pod in PODS {
            let away = format!("{AWAY}/{pod}.yaml");
            if self.tried_in_node(&["test", "-e", &away]).status.success() {
                self.put_back(pod);
            }
        }
        self.thaw();
        self.wait_for_the_api_server();
    }

    /// Until kube-apiserver says so, of kekring too.
    pub fn wait_for_the_api_server(&self) {
        wait_for("kube-apiserver to be ready", MINUTES, || {
            let health = self.api.health("/readyz").ok()?;
            (health.status == 200 && self.runs("kekring")).then_some(())
        });
    }

    /// The same, and until kekring's Pod can be named to kubectl: after a start without the API server, kubelet takes a
    /// minute or two to tell it of a static Pod that has been running all the while.
    pub fn wait_until_ready(&self) {
        wait_for("the control plane to be ready", MINUTES, || {
            let health = self.api.health("/readyz").ok()?;
            (health.status == 200 && self.answers()).then_some(())
        });
    }

    /// Whether a program of this name runs in the node.
    pub fn runs(&self, program: &str) -> bool {
        self.tried_in_node(&["pgrep", "-x", program]).status.success()
    }

    /// Replaces the EncryptionConfiguration.
    pub fn configure_encryption(&self, text: &str) {
        replace(&self.files().join("encryption/encryption.yaml"), text);
    }

    pub fn api(&self) -> Api {
        self.api.clone()
    }

    pub fn docker(&self, args: &[&str]) -> Command {
        self.ground.engine.docker(args)
    }

    /// A shell whose `docker` finds the engine.
    pub fn shell(&self) -> Command {
        self.ground.engine.command("sh")
    }

    /// The program in the image.
    pub fn binary(&self) -> &Path {
        &self.ground.binary
    }

    /// Runs a program in the node, which must succeed.
    pub fn in_node(&self, args: &[&str]) -> Vec<u8> {
        run(&mut in_node(&self.ground.engine, args)).unwrap()
    }

    /// Runs a program in the node, which may fail.
    pub fn tried_in_node(&self, args: &[&str]) -> Output {
        in_node(&self.ground.engine, args).output().unwrap()
    }

    pub fn tried_kubectl(&self, args: &[&str]) -> Output {
        kubectl(&self.ground.engine, args).output().unwrap()
    }

    pub fn kubectl(&self, args: &[&str]) -> Vec<u8> {
        run(&mut kubectl(&self.ground.engine, args)).unwrap()
    }

    /// Takes a static Pod's manifest away.
    pub fn take_away(&self, pod: &str) {
        self.in_node(&["mkdir", "-p", AWAY]);
        self.in_node(&["mv", &format!("{MANIFESTS}/{pod}.yaml"), AWAY]);
    }

    /// Puts it back.
    pub fn put_back(&self, pod: &str) {
        self.in_node(&["mv", &format!("{AWAY}/{pod}.yaml"), MANIFESTS]);
    }
}

impl Shell for Cluster {
    fn program(&self, args: &[&str]) -> Vec<u8> {
        self.in_node(args)
    }
}

/// `kubectl exec` into one of the control plane's Pods.
pub fn exec(pod: &str) -> [&str; 5] {
    ["exec", "--namespace", "kube-system", pod, "--"]
}

pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn in_node(engine: &Engine, args: &[&str]) -> Command {
    engine.docker(&[&["exec", NODE], args].concat())
}

pub fn kubectl(engine: &Engine, args: &[&str]) -> Command {
    in_node(engine, &[&["kubectl"], args].concat())
}

/// Puts a file in place of another, whole.
pub fn replace(path: &Path, text: &str) {
    let unfinished = path.with_file_name(".unfinished");
    fs::write(&unfinished, text).unwrap();
    fs::rename(&unfinished, path).unwrap();
}
