//! Runs commands as an operator would: a shell, `kekring` and `cargo run` on the path, and the machine's directories,
//! except that those lie in a scratch directory.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::page::with_the_code;
use crate::support::{KEKRING, PATIENCE, from_nowhere, scratch, shown, wait_until};

/// What `init` wrote, and the operator keeps.
const CODE: &str = "/root/kekring-recovery-code";
/// Directories of the machine that commands name; each is replaced by one of the scratch directory.
const PLACES: [&str; 8] = [
    "/etc/credstore.encrypted",
    "/etc/kekring",
    "/etc/kubernetes",
    "/mnt/",
    "/root/",
    "/run/kekring",
    "/usr/local/bin",
    "/var/lib/kekring",
];

pub(crate) struct Shell {
    scratch: TempDir,
    server: Option<Child>,
}

impl Shell {
    /// `configuration` is what `/etc/kekring/config.yaml` holds.
    pub(crate) fn new(configuration: &str) -> Self {
        let shell = Self {
            scratch: scratch(),
            server: None,
        };
        for dir in [
            "bin",
            "work",
            "etc/kekring",
            "etc/kubernetes",
            "mnt",
            "root",
            "run",
            "usr/local/bin",
            "var/lib",
        ] {
            fs::create_dir_all(shell.path(dir)).unwrap();
        }
        shell.write("/etc/kekring/config.yaml", configuration);
        shell.write("/etc/kekring/machine-id", &shell.path("").display().to_string());
        let default = shell.path("etc/kekring/config.yaml").display().to_string();
        // Either path may have a space in it.
        let (program, default) = (quoted(KEKRING), quoted(&default));
        shell.program(
            "kekring",
            &format!(
                "case \" $* \" in *' --dev '*) exec {program} \"$@\";; esac\nexec {program} --config {default} \"$@\"",
            ),
        );
        // What `cargo run` would build is the binary under test.
        shell.program(
            "cargo",
            "[ \"$1 $2 $3\" = 'run --release --' ] || exit 97\nshift 3\nexec kekring \"$@\"",
        );
        shell
    }

    /// Puts a text into a file of the machine; the directories that the text names are moved too.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.at(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, self.moved(text)).unwrap();
    }

    /// Where a file of the machine lies.
    pub(crate) fn at(&self, file: &str) -> PathBuf {
        self.path(file.trim_start_matches('/'))
    }

    /// Runs a command to its end, which must be a good one. `serve` is left running instead, once it answers.
    pub(crate) fn run(&mut self, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        if !words.contains(&"serve") {
            let output = self.command(command).output().unwrap();
            assert!(
                output.status.success(),
                "{command}: {}",
                self.told(&shown(&output))
            );
            return;
        }
        self.stop();
        let log = File::create(self.path("serve.log")).unwrap();
        let server = self
            .command(&format!("exec {command}"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.server = Some(server.unwrap());
        let probe = command.replace("serve", "probe");
        wait_until(command, PATIENCE, || {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().unwrap());
            assert!(ended.is_none(), "{command}: {}", self.told("it ended"));
            self.command(&probe).output().unwrap().status.success()
        });
    }

    /// The same with a command that may fail.
    pub(crate) fn tried(&self, command: &str) -> Output {
        self.command(command).output().unwrap()
    }

    /// Ends the server, if one runs; that must end well too.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
            let status = server.wait().unwrap();
            assert!(status.success(), "{}", self.told(&status.to_string()));
        }
    }

    fn command(&self, line: &str) -> Command {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        from_nowhere(&mut command);
        command
            .args(["-euc", &self.moved(&with_the_code(line, CODE))])
            .current_dir(self.path("work"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            // The defaults that the configuration does not name.
            .env("KEKRING_SOCKET_PATH", self.path("run/kekring/kms.sock"))
            .env("KEKRING_RING_STORE_FILE_DIR", self.path("var/lib/kekring"))
            // Each shell is a machine of its own.
            .env(
                "KEKRING_NODE_MACHINE_ID_FILE",
                self.path("etc/kekring/machine-id"),
            )
            // A port is the machine's, and another program may have it.
            .env("KEKRING_TELEMETRY_LISTEN", "");
        command
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The text with the machine's directories replaced.
    fn moved(&self, text: &str) -> String {
        // The scratch directory may itself lie in one of the places: no replacement is replaced again.
        let mark = |number: usize| format!("\0{number}\0");
        let text = PLACES
            .iter()
            .enumerate()
            .fold(text.to_owned(), |text, (number, place)| {
                text.replace(place, &mark(number))
            });
        PLACES.iter().enumerate().fold(text, |text, (number, place)| {
            let here = self.path(place.trim_start_matches('/'));
            text.replace(&mark(number), &here.display().to_string())
        })
    }

    fn told(&self, what: &str) -> String {
        let log = fs::read_to_string(self.path("serve.log")).unwrap_or_default();
        format!("{what}\n--- log of serve\n{log}")
    }

    fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.scratch.path().join(below)
    }
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

impl Drop for Shell {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
