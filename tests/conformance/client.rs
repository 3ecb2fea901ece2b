//! kube-apiserver's side: the Go program, told what to do line by line.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::golang::Program;
use crate::support::{PATIENCE, wait_until};

/// One process; in it any number of kube-apiservers, by name.
pub struct Client {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    log: NamedTempFile,
}

/// An object in etcd.
#[derive(Clone, Debug)]
pub struct Stored {
    pub key: String,
    pub value: Vec<u8>,
}

/// What kube-apiserver makes of one.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    pub data: Vec<u8>,
    pub stale: bool,
}

/// Why a call failed: its text, and gRPC's code where it was one.
#[derive(Debug)]
pub struct Failure {
    pub text: String,
    pub code: String,
}

/// What a plugin's Encrypt or Status said.
#[derive(Debug)]
pub struct Told {
    pub version: String,
    pub healthz: String,
    pub key_id: String,
    pub ciphertext: Vec<u8>,
    pub annotations: u64,
}

/// What the calls without a pause met.
#[derive(Debug)]
pub struct Blows {
    pub rounds: u64,
    /// Of the worker that did least.
    pub least: u64,
    pub mismatches: Vec<String>,
    pub failures: Vec<String>,
    pub key_ids: Vec<String>,
}

impl Client {
    pub fn start(program: &'static Program) -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut child = Command::new(program.path().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log.path()).unwrap())
            .spawn()
            .unwrap();
        Self {
            requests: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
            log,
        }
    }

    /// A kube-apiserver starts, or starts again: nothing is cached.
    pub fn load(&mut self, server: &str, config: &Path) {
        self.must(&json!({"do": "load", "server": server, "config": config}));
    }

    pub fn close(&mut self, server: &str) {
        self.must(&json!({"do": "close", "server": server}));
    }

    /// What `/readyz` says of the providers.
    pub fn health(&mut self, server: &str) -> Result<(), Failure> {
        self.ask(&json!({"do": "health", "server": server})).map(|_| ())
    }

    pub fn write(&mut self, server: &str, key: &str, data: &str) -> Result<Stored, Failure> {
        let data = BASE64.encode(data.as_bytes());
        let answer = self.ask(&json!({"do": "write", "server": server, "key": key, "data": data}))?;
        Ok(Stored {
            key: key.to_owned(),
            value: bytes(&answer["value"]),
        })
    }

    pub fn read(&mut self, server: &str, object: &Stored) -> Result<Opened, Failure> {
        let (key, value) = (&object.key, BASE64.encode(&object.value));
        let answer = self.ask(&json!({"do": "read", "server": server, "key": key, "value": value}))?;
        Ok(opened(&answer))
    }

    /// All at once; and how many milliseconds that took.
    pub fn read_all(&mut self, server: &str, objects: &[Stored]) -> (Vec<Result<Opened, Failure>>, u64) {
        let reads: Vec<Value> = objects
            .iter()
            .map(|object| json!({"key": object.key, "value": BASE64.encode(&object.value)}))
            .collect();
        let answer = self.must(&json!({"do": "reads", "server": server, "reads": reads}));
        let all = answer["reads"].as_array().unwrap();
        let results = all.iter().map(|one| check(one).map(|()| opened(one))).collect();
        (results, answer["millis"].as_u64().unwrap_or(0))
    }

    /// What stands behind the provider's prefix, where the plugin of its cluster would answer with `seed`.
    pub fn read_foreign(&mut self, key: &str, value: &[u8], seed: &[u8]) -> Result<Opened, Failure> {
        let (value, seed) = (BASE64.encode(value), BASE64.encode(seed));
        let answer = self.ask(&json!({"do": "read-foreign", "key": key, "value": value, "seed": seed}))?;
        Ok(opened(&answer))
    }

    pub fn status(&mut self, socket: &Path) -> Result<Told, Failure> {
        self.ask(&json!({"do": "status", "socket": socket}))
            .map(|answer| told(&answer))
    }

    pub fn encrypt(&mut self, socket: &Path, data: &[u8]) -> Result<Told, Failure> {
        self.ask(&json!({"do": "encrypt", "socket": socket, "data": BASE64.encode(data)}))
            .map(|answer| told(&answer))
    }

    pub fn decrypt(
        &mut self,
        socket: &Path,
        key_id: &str,
        ciphertext: &[u8],
        annotation: &str,
    ) -> Result<Vec<u8>, Failure> {
        let ciphertext = BASE64.encode(ciphertext);
        let request = json!({
            "do": "decrypt", "socket": socket, "keyID": key_id, "ciphertext": ciphertext,
            "annotation": annotation,
        });
        self.ask(&request).map(|answer| bytes(&answer["data"]))
    }

    /// Workers call Status, Encrypt and Decrypt without a pause, until they are halted.
    pub fn hammer(&mut self, socket: &Path, workers: usize) {
        self.must(&json!({"do": "hammer", "socket": socket, "workers": workers}));
    }

    /// Waits until each worker has done this many rounds more; none may fail.
    #[track_caller]
    pub fn wait_for_rounds(&mut self, more: u64) {
        let wanted = self.blows("blows").least + more;
        wait_until("every worker to go on", PATIENCE, || {
            let blows = self.blows("blows");
            assert_eq!(blows.failures, [""; 0]);
            blows.least >= wanted
        });
    }

    pub fn halt(&mut self) -> Blows {
        self.blows("halt")
    }

    fn blows(&mut self, what: &str) -> Blows {
        let answer = self.must(&json!({"do": what}));
        let texts = |name: &str| -> Vec<String> {
            serde_json::from_value(answer[name].clone())
                .ok()
                .unwrap_or_default()
        };
        Blows {
            rounds: answer["rounds"].as_u64().unwrap_or(0),
            least: answer["least"].as_u64().unwrap_or(0),
            mismatches: texts("mismatches"),
            failures: texts("failures"),
            key_ids: texts("keyIDs"),
        }
    }

    /// Asks for the Status as a Kubernetes before 1.32 does.
    pub fn old_client(&mut self, socket: &Path) -> Result<(), Failure> {
        self.ask(&json!({"do": "old-client", "socket": socket}))
            .map(|_| ())
    }

    /// The clock by which the write seeds of a provider expire is the test's; before the first load.
    pub fn own_clock(&mut self, provider: &str) {
        self.must(&json!({"do": "clock", "name": provider}));
    }

    pub fn advance(&mut self, seconds: u64) {
        self.must(&json!({"do": "advance", "seconds": seconds}));
    }

    /// The provider writes as up to Kubernetes 1.28; before the first load.
    pub fn write_as_before_1_29(&mut self, provider: &str) {
        self.must(&json!({"do": "legacy", "name": provider}));
    }

    #[track_caller]
    fn must(&mut self, request: &Value) -> Value {
        self.ask(request).unwrap()
    }

    fn ask(&mut self, request: &Value) -> Result<Value, Failure> {
        writeln!(self.requests, "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|why| panic!("{request}: {line:?}: {why}"));
        check(&answer).map(|()| answer)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = fs::read(self.log.path()).unwrap_or_default();
            eprintln!("log of the client:\n{}", String::from_utf8_lossy(&text));
        }
    }
}

fn check(answer: &Value) -> Result<(), Failure> {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    match text("error") {
        none if none.is_empty() => Ok(()),
        why => Err(Failure {
            text: why,
            code: text("code"),
        }),
    }
}

fn opened(answer: &Value) -> Opened {
    Opened {
        data: bytes(&answer["data"]),
        stale: answer["stale"].as_bool().unwrap(),
    }
}

fn told(answer: &Value) -> Told {
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    Told {
        version: text("version"),
        healthz: text("healthz"),
        key_id: text("keyID"),
        ciphertext: bytes(&answer["ciphertext"]),
        annotations: answer["annotations"].as_u64().unwrap(),
    }
}

fn bytes(encoded: &Value) -> Vec<u8> {
    BASE64
        .decode(encoded.as_str().unwrap_or_default().as_bytes())
        .unwrap()
}
