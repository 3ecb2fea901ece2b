//! The container engine: the one that is running, or else one of our own, which leaves nothing behind.

use std::fs::{self, File};
use std::io::Error;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kekring_kit::Missing;
use kekring_kit::needs::{programs, root_to};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::cluster::in_repository;
use crate::place::Place;
use crate::run::run;
use crate::wait::{SOON, wait_for};

/// An engine that does not answer a client in this time is not running.
const ANSWER: &str = "20";
/// From SIGTERM, without a container; then it is killed.
const END: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// `capabilities(7)`: CAP_SYS_RESOURCE.
const SYS_RESOURCE: u64 = 1 << 24;

pub struct Engine {
    /// None where one was running already.
    private: Option<Private>,
}

impl Engine {
    pub fn find_or_start() -> Result<Self, Missing> {
        programs(&["docker", "timeout"])?;
        let mut running = Self { private: None };
        if !running.answers() {
            running.private = Some(Private::start()?);
        }
        Ok(running)
    }

    /// `docker`, as a client of this engine.
    pub fn docker(&self, args: &[&str]) -> Command {
        let mut command = self.command("docker");
        command.args(args);
        command
    }

    /// A program that is to find this engine.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Some(private) = &self.private {
            command.env("DOCKER_HOST", private.host());
        }
        command
    }

    /// Takes this thread, and what it starts from now on, to where the containers can be reached: ours has no network but
    /// the one between itself and its containers.
    pub fn enter_network(&self) -> Result<(), String> {
        let Some(private) = &self.private else {
            return Ok(());
        };
        let entered = File::open(format!("/proc/{}/ns/net", private.unshare.id())).and_then(|network| {
            Ok(move_into_link_name_space(
                network.as_fd(),
                Some(LinkNameSpaceType::Network),
            )?)
        });
        entered.map_err(|why| format!("cannot enter the engine's network: {why}"))
    }

    /// Ours cannot: it has no way out of its network.
    pub fn reaches_registries(&self) -> bool {
        self.private.is_none()
    }

    fn answers(&self) -> bool {
        let mut command = self.command("timeout");
        run(command.args([ANSWER, "docker", "version"])).is_ok()
    }
}

/// An engine in name spaces of its own: its network, its mounts and its processes end with it, and it ends with us.
struct Private {
    /// `unshare`, which waits for the engine.
    unshare: Child,
    place: Place,
    /// Held while the place is in use.
    _lock: File,
}

impl Private {
    fn start() -> Result<Self, Missing> {
        programs(&[
            "dockerd",
            "containerd",
            "runc",
            "unshare",
            "setpriv",
            "ip",
            "iptables",
        ])?;
        root_to("or an engine that is running")?;
        let broken = |why: Error| Missing::Broken(format!("cannot start an engine: {why}"));
        let place = Place::ours();
        let lock = File::create(place.data.with_extension("lock")).map_err(broken)?;
        lock.try_lock()
            .map_err(|_| Missing::Broken(format!("another run uses {}", place.data.display())))?;
        // What a run left that was killed.
        place.clear();
        fs::create_dir(&place.run).map_err(broken)?;
        let engine = Self {
            unshare: spawn(&place)?,
            place,
            _lock: lock,
        };
        engine.wait_until_it_answers();
        Ok(engine)
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.place.run.display())
    }

    fn wait_until_it_answers(&self) {
        let mut version = Command::new("docker");
        version.arg("version").env("DOCKER_HOST", self.host());
        wait_for("the engine to answer", SOON, || {
            let log = fs::read_to_string(self.place.run.join("log")).unwrap_or_default();
            let process = format!("/proc/{}/exe", self.unshare.id());
            assert!(Path::new(&process).exists(), "the engine ended:\n{log}");
            run(&mut version).ok()
        });
    }

    /// The engine itself, as we see it.
    fn pid(&self) -> Option<Pid> {
        let id = self.unshare.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        Pid::from_raw(children.trim().parse().ok()?)
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, Signal::TERM);
            let deadline = Instant::now() + END;
            while self.pid().is_some() && Instant::now() < deadline {
                #[allow(clippy::disallowed_methods)]
                std::thread::sleep(PAUSE);
            }
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        self.place.clear();
    }
}

fn spawn(place: &Place) -> Result<Child, Missing> {
    let (run, shown) = (&place.run, place.run.display());
    fs::write(run.join("daemon.json"), "{}").unwrap();
    let log = File::create(run.join("log")).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--net",
            "--mount",
            "--pid",
            "--fork",
        ])
        .args(["--kill-child", "--mount-proc", "--propagation", "private"])
        .args(["sh", "-c", "ip link set lo up && exec dockerd \"$@\"", "sh"])
        .args([
            "--bridge",
            "none",
            "--cgroup-parent",
            &format!("/{}", place.group),
        ])
        .arg(format!("--host=unix://{shown}/docker.sock"))
        .arg(format!("--config-file={shown}/daemon.json"))
        .arg(format!("--exec-root={shown}/exec"))
        .arg(format!("--pidfile={shown}/pid"))
        .arg(format!("--data-root={}", place.data.display()));
    if !granted_everything() {
        programs(&["jq"])?;
        let wrapper = in_repository("tests/kind/engine/runc");
        command
            .arg(format!("--add-runtime=without={}", wrapper.display()))
            .arg("--default-runtime=without");
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .map_err(|why| Missing::Broken(format!("cannot run {command:?}: {why}")))
}

/// Some virtual machines withhold CAP_SYS_RESOURCE, which an engine gives to every privileged container.
fn granted_everything() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounding = u64::from_str_radix(bounding.unwrap().trim(), 16).unwrap();
    bounding & SYS_RESOURCE != 0
}
