//! Three machines on which kubeadm has not been yet: containers of the node's image, with a clone of this repository and what
//! an operator brings.

use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{MINUTES, in_repository};
use crate::engine::Engine;
use crate::ground::Ground;
use crate::guide::{self, Shell, type_in, type_text};
use crate::run::{run, text};
use crate::wait::wait_for;

/// The network of these machines, and what their containers' names begin with.
const NAME: &str = "kekring-three";
/// What leads to every API server.
const ALIAS: &str = "cp.example";

pub struct Machines {
    pub all: [Machine; 3],
    ground: Arc<Ground>,
    /// Where `ssh` finds cp-1.
    _pipes: TempDir,
}

pub struct Machine {
    /// Its host name.
    pub name: String,
    pub address: String,
    container: String,
    ground: Arc<Ground>,
}

impl Machines {
    /// What a run left that was killed is deleted first.
    pub fn start(ground: &Arc<Ground>) -> Self {
        let engine = &ground.engine;
        delete(engine);
        run(&mut engine.docker(&["network", "create", NAME])).unwrap();
        let pipes = tempfile::tempdir().unwrap();
        let machines = Self {
            all: [1, 2, 3].map(|number| Machine::start(ground, number, &pipes)),
            ground: Arc::clone(ground),
            _pipes: pipes,
        };
        engine.enter_network().unwrap();
        let files = guide::files_of(&ground.binary, env!("CARGO_PKG_VERSION"));
        for machine in &machines.all {
            machine.bring(&files);
        }
        type_text(
            &machines.all[0],
            "cd /mnt/cp-1; mkfifo -m 0600 command input output",
        );
        let sshd = [
            "exec",
            "--detach",
            &machines.all[0].container,
            "/root/machine/sshd",
        ];
        run(&mut engine.docker(&sshd)).unwrap();
        machines
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        delete(&self.ground.engine);
    }
}

fn delete(engine: &Engine) {
    for number in 1..=3 {
        let name = format!("{NAME}-cp-{number}");
        let _ = run(&mut engine.docker(&["rm", "--force", "--volumes", &name]));
    }
    let _ = run(&mut engine.docker(&["network", "rm", NAME]));
}

impl Machine {
    /// As kind starts a node.
    fn start(ground: &Arc<Ground>, number: usize, pipes: &TempDir) -> Self {
        let name = format!("cp-{number}");
        let container = format!("{NAME}-{name}");
        let pipes = format!("{}:/mnt/cp-1", pipes.path().display());
        let mut command = ground
            .engine
            .docker(&["run", "--detach", "--tty", "--privileged"]);
        command
            .args(["--name", &container, "--hostname", &name, "--network", NAME])
            .args(["--network-alias", &name, "--network-alias", ALIAS])
            .args(["--security-opt", "seccomp=unconfined"])
            .args(["--security-opt", "apparmor=unconfined"])
            .args(["--cgroupns", "private", "--tmpfs", "/tmp", "--tmpfs", "/run"])
            .args(["--volume", "/var", "--volume", "/lib/modules:/lib/modules:ro"])
            .args(["--volume", &pipes])
            .arg(ground.image.name());
        run(&mut command).unwrap();
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = run(&mut ground
            .engine
            .docker(&["inspect", "--format", address, &container]));
        Self {
            name,
            address: text(&address.unwrap()).trim().to_owned(),
            container,
            ground: Arc::clone(ground),
        }
    }

    /// Brings what the pages have an operator bring, and a clone; then loads the image, as the page of the static Pod says.
    fn bring(&self, files: &TempDir) {
        wait_for("containerd to have its images", MINUTES, || {
            let active = ["systemctl", "is-active", "--quiet", "containerd"];
            run(&mut self.command(&active)).ok()
        });
        type_text(self, "mkdir -p /root/deploy");
        let from = |path: &str| in_repository(path).display().to_string();
        for (from, to) in [
            (files.path().display().to_string(), "kekring"),
            (from("tests/kind/machine"), "machine"),
            (from("deploy/kubeadm"), "deploy/kubeadm"),
            (from("deploy/rewrite"), "deploy/rewrite"),
            (from("deploy/static-pod"), "deploy/static-pod"),
        ] {
            let to = format!("{}:/root/{to}", self.container);
            run(&mut self.ground.engine.docker(&["cp", &from, &to])).unwrap();
        }
        type_text(
            self,
            "install -m 0755 machine/ssh machine/systemctl /usr/local/bin",
        );
        let install = guide::blocks("Install");
        let [load, _ring, hand, _encryption] = &install[..] else {
            panic!("the page of the static Pod has other steps: {install:#?}");
        };
        type_in(self, load);
        self.write("/root/machine/enable", &hand.text);
    }

    pub fn write(&self, path: &str, content: &str) {
        type_text(self, &format!("cat > {path} <<'WRITTEN'\n{content}WRITTEN"));
    }

    /// What a verb prints in JSON.
    pub fn json(&self, verb: &str) -> Value {
        serde_json::from_str(&type_text(self, &format!("kekring {verb} -o json"))).unwrap()
    }

    /// The name of the key that encrypts.
    pub fn active_key(&self) -> String {
        self.json("status")["active"].as_str().unwrap().to_owned()
    }

    /// kube-apiserver's process, as long as there is one.
    pub fn api_server(&self) -> Option<String> {
        let found = run(&mut self.command(&["pgrep", "-x", "kube-apiserver"])).ok()?;
        Some(text(&found))
    }

    fn command(&self, args: &[&str]) -> Command {
        self.ground
            .engine
            .docker(&[&["exec", &self.container], args].concat())
    }
}

impl Shell for Machine {
    fn program(&self, args: &[&str]) -> Vec<u8> {
        run(&mut self.command(args)).unwrap_or_else(|why| panic!("on {}: {why}", self.name))
    }
}
