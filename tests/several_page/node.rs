//! One control-plane node: a shell in which the machine's directories lie in a scratch directory, `kekring` finds its
//! configuration there, `ssh` goes to the first node, and `systemctl` starts and stops `kekring serve`.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::page::with_the_code;
use crate::support::{KEKRING, PATIENCE, from_nowhere, shown, wait_until};

/// Directories of the machine that commands name.
const PLACES: [&str; 5] = [
    "/etc/kekring",
    "/etc/kubernetes",
    "/mnt/",
    "/root/",
    "/var/lib/kekring",
];
/// What the page calls an etcd.
const ENDPOINTS: [&str; 2] = ["https://127.0.0.1:2379", "https://10.0.0.11:2379"];
/// Where the page finds the metrics.
const TELEMETRY: &str = "127.0.0.1:9476";
/// From the repository, as an operator's clone has them.
const SAMPLES: [&str; 2] = ["deploy/kubeadm/config.yaml", "deploy/static-pod/config.yaml"];

pub struct Node {
    pub name: String,
    dir: PathBuf,
    etcd: String,
    telemetry: u16,
    variables: Vec<(String, String)>,
    server: Option<Child>,
}

impl Node {
    /// A machine with a clone of this repository, and nothing else.
    pub fn new(world: &Path, number: usize, etcd: &str, telemetry: u16) -> Self {
        let name = format!("cp-{number}");
        let node = Self {
            dir: world.join(&name),
            name,
            etcd: etcd.to_owned(),
            telemetry,
            variables: Vec::new(),
            server: None,
        };
        for place in [
            "bin",
            "etc/kubernetes/pki/etcd",
            "mnt/roots",
            "root",
            "run",
            "var/lib",
        ] {
            fs::create_dir_all(node.dir.join(place)).unwrap();
        }
        node.fresh();
        for sample in SAMPLES {
            let text = fs::read_to_string(crate::support::in_repository(sample)).unwrap();
            let path = node.dir.join("clone").join(sample);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, node.moved(&text)).unwrap();
        }
        node.programs(world);
        node
    }

    /// Another machine of the same name: kekring has never been there.
    pub fn fresh(&self) {
        for place in ["etc/kekring", "var/lib/kekring"] {
            let _ = fs::remove_dir_all(self.dir.join(place));
        }
        fs::create_dir_all(self.dir.join("etc/kekring")).unwrap();
        let random: [u8; 16] = kekring::crypto::random().unwrap();
        fs::write(
            self.dir.join("machine-id"),
            data_encoding::HEXLOWER.encode(&random),
        )
        .unwrap();
    }

    fn programs(&self, world: &Path) {
        let dir = self.dir.display();
        self.program(
            "kekring",
            &format!(
                "config={dir}/etc/kekring/config.yaml\nnext=\n\
                 for it; do [ \"$next\" ] && config=$it; next=; [ \"$it\" = --config ] && next=1; done\n\
                 if grep -q '^    etcd:' $config; then export KEKRING_RING_STORE_ETCD_LOCAL_COPY={dir}/var/lib/kekring\n\
                 else export KEKRING_RING_STORE_FILE_DIR={dir}/var/lib/kekring; fi\n\
                 case \" $* \" in *' --config '*) exec {KEKRING} \"$@\";; esac\n\
                 exec {KEKRING} --config $config \"$@\""
            ),
        );
        let first = world.join("cp-1");
        self.program(
            "ssh",
            &format!(
                "[ \"$1\" = root@cp-1 ] || exit 97\nshift\n\
                 exec sh -euc \"$(printf '%s' \"$*\" | sed 's#{dir}/#{}/#g')\"",
                first.display()
            ),
        );
    }

    /// Puts a program on the path.
    pub fn program(&self, name: &str, script: &str) {
        let path = self.dir.join("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Sets a variable for every command.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Where a file of the machine lies.
    pub fn at(&self, file: &str) -> PathBuf {
        self.dir.join(file.trim_start_matches('/'))
    }

    /// Runs a line to its end.
    pub fn line(&mut self, line: &str) -> Output {
        match line.strip_prefix("systemctl ") {
            None => {
                let line = with_the_code(line, "/root/kekring-recovery-code");
                self.shell(&line).output().unwrap()
            }
            Some(what) => {
                self.systemctl(what);
                Command::new("true").output().unwrap()
            }
        }
    }

    fn systemctl(&mut self, what: &str) {
        self.stop();
        match what {
            "stop kekring.service" | "disable --now kekring.service" => {}
            "restart kekring.service" | "enable --now kekring.service" => self.serve(),
            _ => panic!("systemctl {what} is in the page, and this suite does not know it"),
        }
    }

    fn serve(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut command = self.shell("exec kekring serve");
        let server = command.stdout(log.try_clone().unwrap()).stderr(log).spawn();
        self.server = Some(server.unwrap());
        wait_until("kekring to answer", PATIENCE, || {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().unwrap());
            assert!(ended.is_none(), "kekring ended on {}", self.name);
            self.line("kekring probe --alive").status.success()
        });
    }

    /// Ends the server, if one runs, as systemd does.
    pub fn stop(&mut self) {
        if self.server.is_some() {
            self.signal(Signal::TERM);
            let status = self.server.take().unwrap().wait().unwrap();
            assert!(status.success(), "kekring on {} ended with {status}", self.name);
        }
    }

    /// Ends the server as the loss of the machine does.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    /// Sends the server a signal.
    pub fn signal(&self, signal: Signal) {
        let server = self.server.as_ref().expect("a server that runs");
        kill_process(Pid::from_child(server), signal).unwrap();
    }

    /// What `kekring status` prints and warns of.
    pub fn status(&mut self) -> String {
        shown(&self.line("kekring status"))
    }

    fn shell(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        from_nowhere(&mut command);
        command
            .args(["-euc", &self.moved(line)])
            .current_dir(self.dir.join("clone"))
            .env("PATH", format!("{}:{path}", self.dir.join("bin").display()))
            .env("KEKRING_NODE_NAME", &self.name)
            .env("KEKRING_NODE_MACHINE_ID_FILE", self.dir.join("machine-id"))
            .env("KEKRING_SOCKET_PATH", self.dir.join("run/kms.sock"))
            .env(
                "KEKRING_TELEMETRY_LISTEN",
                format!("127.0.0.1:{}", self.telemetry),
            )
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The text with the machine's directories and addresses replaced.
    fn moved(&self, text: &str) -> String {
        // The scratch directory may itself lie in one of the places: no replacement is replaced again.
        let places = PLACES.iter().enumerate();
        let marked = places.fold(text.to_owned(), |text, (number, place)| {
            text.replace(place, &format!("\0{number}\0"))
        });
        let places = PLACES.iter().enumerate();
        let text = places.fold(marked, |text, (number, place)| {
            let here = self.dir.display();
            text.replace(&format!("\0{number}\0"), &format!("{here}{place}"))
        });
        let endpoints = ENDPOINTS.iter();
        let text = endpoints.fold(text, |text, it| text.replace(it, &self.etcd));
        text.replace(TELEMETRY, &format!("127.0.0.1:{}", self.telemetry))
    }

    fn log(&self) -> PathBuf {
        self.dir.join("serve.log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            eprintln!("--- log of kekring on {}\n{log}", self.name);
        }
    }
}
