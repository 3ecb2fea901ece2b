//! The servers: how each is made ready and started.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::programs::Programs;
use crate::support::{from_nowhere, shown};

/// Something that serves KMS v2 on a socket.
pub trait Server {
    /// What it is called in the table.
    fn name(&self) -> &'static str;

    /// The program, for its size.
    fn program(&self) -> &Path;

    /// Makes everything that one fresh run needs in an empty directory: the socket, and the command that serves it.
    fn prepare(&self, dir: &Path) -> Result<(PathBuf, Vec<String>), String>;
}

/// The Go plugin on `k8s.io/kms`.
pub struct Reference {
    program: &'static Path,
    fault: &'static str,
    name: &'static str,
}

impl Reference {
    pub fn new(programs: &Programs) -> Self {
        Self {
            program: programs.reference,
            fault: "",
            name: "reference",
        }
    }

    /// The same as something that is measured, doing one thing badly: `wrong` or `slow`.
    pub fn faulty(programs: &Programs, fault: &'static str) -> Self {
        Self {
            fault,
            name: fault,
            ..Self::new(programs)
        }
    }
}

impl Server for Reference {
    fn name(&self) -> &'static str {
        self.name
    }

    fn program(&self) -> &Path {
        self.program
    }

    fn prepare(&self, dir: &Path) -> Result<(PathBuf, Vec<String>), String> {
        let socket = dir.join("kms.sock");
        let arguments = [shown_path(self.program), "-socket".into(), shown_path(&socket)];
        let fault = ["-fault".into(), self.fault.to_owned()];
        Ok((socket, [arguments.as_slice(), &fault].concat()))
    }
}

/// The whole product: a ring behind a key file, the check of peers, telemetry, the log at its default level.
pub struct Kekring {
    pub program: PathBuf,
}

impl Server for Kekring {
    fn name(&self) -> &'static str {
        "kekring"
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn prepare(&self, dir: &Path) -> Result<(PathBuf, Vec<String>), String> {
        let socket = dir.join("run/kms.sock");
        let config = dir.join("config.yaml");
        let text = json!({
            "apiVersion": "kekring/v1alpha1",
            "kind": "Configuration",
            "socket": {"path": socket},
            "ring": {
                "store": {"file": {"dir": dir.join("ring")}},
                "roots": [{"file": {"path": dir.join("root.key")}}],
            },
            "telemetry": {"listen": free_address()?},
        });
        fs::write(&config, text.to_string()).map_err(|why| why.to_string())?;
        let (program, config) = (shown_path(&self.program), shown_path(&config));
        let command = |verb: &[&str]| -> Vec<String> {
            let words = [&[program.as_str()], verb, &["--config", &config]].concat();
            words.into_iter().map(str::to_owned).collect()
        };
        run(&command(&["init", "--no-recovery"]))?;
        Ok((socket, command(&["serve"])))
    }
}

/// Runs a command to its end.
fn run(words: &[String]) -> Result<(), String> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    from_nowhere(&mut command);
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{words:?}: {}", shown(&output))),
        Err(why) => Err(format!("cannot run {}: {why}", words[0])),
    }
}

/// A port of the loopback that nobody has at this moment.
fn free_address() -> Result<String, String> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.to_string())
        .map_err(|why| format!("no free port: {why}"))
}

fn shown_path(path: &Path) -> String {
    path.display().to_string()
}
