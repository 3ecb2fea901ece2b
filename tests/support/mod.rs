//! What several suites need: a plugin in a directory of its own, its verbs, and waiting for a condition.
//!
//! Included by `#[path = "../support/mod.rs"] mod support;`. No suite needs all of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

pub(crate) mod immutable;
pub(crate) mod leaks;
pub(crate) mod notify;
pub(crate) mod open_files;
pub(crate) mod page;
pub(crate) mod scrape;
pub(crate) mod strace;
pub(crate) mod terminal;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The binary under test.
pub(crate) const KEKRING: &str = env!("CARGO_BIN_EXE_kekring");
/// How long anything may take that takes no time on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// `kekring serve` on a ring of its own; killed and removed when dropped.
pub(crate) struct Plugin {
    /// Holds everything: `config.yaml`, `ring/`, `root.key`, `run/kms.sock`, `serve.log`.
    pub(crate) dir: PathBuf,
    /// The socket.
    pub(crate) socket: PathBuf,
    /// The configuration.
    pub(crate) config: PathBuf,
    server: Option<Child>,
    _removed_at_the_end: TempDir,
}

impl Plugin {
    /// A fresh ring without a recovery slot, served.
    pub(crate) fn start() -> Self {
        Self::with("{}")
    }

    /// The same with other settings: YAML that is laid over the configuration, such as
    /// `{rotation: {period: 2s, allowShort: true}, socket: {mode: "0660"}}`. Mappings are merged, null takes a key away, all else is replaced.
    pub(crate) fn with(config_tweaks: &str) -> Self {
        let mut plugin = Self::prepared(config_tweaks);
        plugin.serve();
        plugin
    }

    /// A fresh ring that nobody serves yet.
    pub(crate) fn prepared(config_tweaks: &str) -> Self {
        let plugin = Self::unmade(config_tweaks);
        let made = plugin.verb(&["init", "--no-recovery"]);
        assert!(made.status.success(), "init: {}", shown(&made));
        plugin
    }

    /// A configuration alone: no ring, no root.
    pub(crate) fn unmade(config_tweaks: &str) -> Self {
        let scratch = scratch();
        let dir = scratch.path().to_owned();
        let plugin = Self {
            socket: dir.join("run/kms.sock"),
            config: dir.join("config.yaml"),
            dir,
            server: None,
            _removed_at_the_end: scratch,
        };
        plugin.configure(config_tweaks);
        plugin
    }

    /// Writes the configuration anew; a running server keeps the one that it was started with.
    pub(crate) fn configure(&self, config_tweaks: &str) {
        let mut config = json!({
            "apiVersion": "kekring/v1alpha1",
            "kind": "Configuration",
            "node": {"name": "node-under-test"},
            "socket": {"path": self.socket},
            "ring": {
                "store": {"file": {"dir": self.dir.join("ring")}},
                "roots": [{"file": {"path": self.dir.join("root.key")}}],
            },
            // A port is the machine's: those that need one say so.
            "telemetry": {"listen": ""},
        });
        merge(&mut config, serde_saphyr::from_str(config_tweaks).unwrap());
        fs::write(&self.config, config.to_string()).unwrap();
    }

    /// Starts the server, and returns when it answers `kekring probe`.
    pub(crate) fn serve(&mut self) {
        self.spawn();
        self.wait_until_it_answers();
    }

    /// Until a server that was started answers `kekring probe`.
    pub(crate) fn wait_until_it_answers(&mut self) {
        wait_until("the plugin to answer", PATIENCE, || {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().unwrap());
            assert!(ended.is_none(), "serve ended with {ended:?}:\n{}", self.log());
            self.verb(&["probe"]).status.success()
        });
    }

    /// Starts the server and does not wait. Its log is appended to what earlier ones wrote.
    pub(crate) fn spawn(&mut self) {
        self.spawn_as(self.command(&["serve"]));
    }

    /// The same, by a command that was changed somehow.
    pub(crate) fn spawn_as(&mut self, mut serve: Command) {
        assert!(self.server.is_none(), "it is running already");
        let log = self.log_file();
        let server = serve.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.server = Some(server.unwrap());
    }

    /// Starts a server as systemd does: with the listening socket passed in as descriptor 3.
    pub(crate) fn activate(&self, listener: &UnixListener) -> Killed {
        let socket = OwnedFd::from(listener.try_clone().unwrap());
        let log = self.log_file();
        self.activate_by("exec 3<&0 </dev/null; LISTEN_FDS=1", socket.into(), log.into())
    }

    /// The same with two sockets, which become descriptors 3 and 4 in this order.
    pub(crate) fn activate_two(&self, first: OwnedFd, second: OwnedFd) -> Killed {
        let descriptors = "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_FDS=2";
        self.activate_by(descriptors, first.into(), second.into())
    }

    fn activate_by(&self, descriptors: &str, stdin: Stdio, stdout: Stdio) -> Killed {
        let server = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!(
                "{descriptors} LISTEN_PID=$$ exec \"$0\" serve --config \"$1\""
            ))
            .arg(KEKRING)
            .arg(&self.config)
            .stdin(stdin)
            .stdout(stdout)
            .stderr(self.log_file())
            .spawn();
        Killed(server.unwrap())
    }

    /// Runs a verb on this plugin's configuration to its end.
    pub(crate) fn verb(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// A verb on this plugin's configuration, not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = kekring(args);
        command.arg("--config").arg(&self.config);
        command
    }

    /// What a verb prints with `-o json`; it must end well.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.verb(&[args, &["-o", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", shown(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What every server of this plugin wrote to its standard streams so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Where telemetry listens, once it does; needs `telemetry: {listen: "127.0.0.1:0"}`.
    pub(crate) fn telemetry(&self) -> String {
        let mut address = String::new();
        wait_until("telemetry to listen", PATIENCE, || {
            let status = fs::read(self.socket.with_file_name("status.json")).unwrap_or_default();
            let status: Value = serde_json::from_slice(&status).unwrap_or_default();
            status["telemetry"]
                .as_str()
                .unwrap_or_default()
                .clone_into(&mut address);
            !address.is_empty()
        });
        address
    }

    /// The running server's process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.server.as_ref().expect("a running server"))
    }

    /// Sends a signal to the running server.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Ends the server by SIGTERM, and says how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Waits until the server has ended by itself, and says how.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let mut server = self.server.take().expect("a running server");
        let mut status = None;
        wait_until("the server to end", PATIENCE, || {
            status = server.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends the server by SIGKILL, as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    fn log_file(&self) -> File {
        let mut options = File::options();
        options.create(true).append(true).open(self.log_path()).unwrap()
    }

    /// The stored generation of the highest number.
    pub(crate) fn newest(&self) -> PathBuf {
        let number = |path: &PathBuf| -> Option<u64> {
            let name = path.file_name()?.to_str()?.strip_prefix("gen-")?;
            name.split('-').next()?.parse().ok()
        };
        let entries = fs::read_dir(self.dir.join("ring")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.max_by_key(number).expect("a generation")
    }

    /// Writes the configuration anew, with a mirror and these files as roots.
    pub(crate) fn configure_mirrored(&self, roots: &[&str]) {
        let roots = roots
            .iter()
            .map(|name| json!({"file": {"path": self.dir.join(name)}}));
        let ring = json!({"mirror": self.dir.join("mirror"), "roots": roots.collect::<Vec<_>>()});
        self.configure(&json!({"ring": ring}).to_string());
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("serve.log")
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("log of the plugin in {}:\n{}", self.dir.display(), self.log());
        }
    }
}

/// A process that ends with the test, however the test ends.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Killed {
    /// Ends it by SIGTERM, and says how it ended.
    pub(crate) fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap()
    }
}

/// Raises a flag when dropped: threads that loop until then end also where the test fails before it says so.
pub(crate) struct Raised<'a>(pub(crate) &'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// `kekring` with nothing from outside.
pub(crate) fn kekring(args: &[&str]) -> Command {
    let mut command = Command::new(KEKRING);
    command.args(args);
    from_nowhere(&mut command);
    command
}

/// Takes away what a command would inherit and this program would heed: standard input, variables, systemd.
pub(crate) fn from_nowhere(command: &mut Command) {
    command.stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if [
            "KEKRING_",
            "LISTEN_",
            "NOTIFY_",
            "WATCHDOG_",
            "JOURNAL_",
            "CREDENTIALS_",
            "NO_COLOR",
        ]
        .iter()
        .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
}

/// A directory of our own, 0700, under a path short enough for a socket. Always in /tmp: outcomes with a path in them have columns
/// that golden files count.
pub(crate) fn scratch() -> TempDir {
    tempfile::Builder::new()
        .prefix("kekring-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in("/tmp")
        .unwrap()
}

/// A file of this repository.
pub(crate) fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Every variable of the configuration and the key that it stands for, from the table in the source:
/// `KEKRING_SOCKET_MODE`, `socket.mode`.
pub(crate) fn configuration_keys() -> Vec<(String, String)> {
    let source = fs::read_to_string(in_repository("src/config/environment.rs")).unwrap();
    let table = source
        .split("const KEYS")
        .nth(1)
        .unwrap()
        .split("];")
        .next()
        .unwrap();
    let mut keys: Vec<(String, String)> = Vec::new();
    for literal in table.split('"').skip(1).step_by(2) {
        if literal.starts_with(char::is_uppercase) {
            keys.push((literal.to_owned(), String::new()));
            continue;
        }
        let (_, key) = keys.last_mut().expect("a variable before its path");
        if !key.is_empty() {
            key.push('.');
        }
        key.push_str(literal);
    }
    keys
}

/// What a verb printed, for the message of a failing assertion.
pub(crate) fn shown(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Polls until `condition` holds; panics, naming `what` it waited for, when it does not in time.
#[track_caller]
#[allow(clippy::disallowed_methods)]
pub(crate) fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < deadline, "waited {deadline:?} for {what}");
        std::thread::sleep(POLL);
    }
}

/// Lays one tree over another: mappings are merged, null takes a key away, all else is replaced.
pub(crate) fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                if value.is_null() {
                    base.remove(&name);
                    continue;
                }
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}
