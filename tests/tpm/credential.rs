//! What a ring's operator meets whose root is sealed to the TPM.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{PATIENCE, Plugin, scrape, shown, wait_until};
use crate::tpm::Tpm;

const NAME: &str = "kekring-root";

/// A ring that the TPM opens, and a recovery code.
struct Node {
    plugin: Plugin,
    tpm: Tpm,
}

impl Node {
    fn made() -> Self {
        let plugin = Plugin::unmade("{}");
        let tpm = Tpm::start(&plugin.dir);
        let sealed = plugin.dir.join("sealed");
        tpm.seal(NAME, &sealed);
        let root = json!({"credential": {"name": NAME, "encryptedFile": sealed}});
        let telemetry = json!({"listen": "127.0.0.1:0"});
        plugin.configure(&json!({"ring": {"roots": [root]}, "telemetry": telemetry}).to_string());
        fs::create_dir(plugin.dir.join("bin")).unwrap();
        fs::create_dir(plugin.dir.join("run")).unwrap();
        let node = Self { plugin, tpm };
        node.count_calls();
        let code = node.plugin.dir.join("code");
        let made = node.verb(&["init", "--recovery-code-file", code.to_str().unwrap()]);
        assert!(made.status.success(), "{}", shown(&made));
        node
    }

    /// In front of systemd-creds: it notes each call beside the socket, where a confined server's child may write.
    fn count_calls(&self) {
        let program = self.plugin.dir.join("bin/systemd-creds");
        let calls = self.plugin.dir.join("run/calls");
        let script = format!(
            "#!/bin/sh\necho call >>{}\nexec /usr/bin/systemd-creds \"$@\"\n",
            calls.display()
        );
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn calls(&self) -> usize {
        let calls = fs::read_to_string(self.plugin.dir.join("run/calls")).unwrap_or_default();
        calls.lines().count()
    }

    fn path(&self) -> String {
        let bin = self.plugin.dir.join("bin");
        format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default())
    }

    fn verb(&self, args: &[&str]) -> Output {
        let mut command = self.plugin.command(args);
        let command = self.tpm.reached_by(&mut command);
        command.env("PATH", self.path()).output().unwrap()
    }

    fn spawn(&mut self) {
        let mut serve = self.plugin.command(&["serve"]);
        self.tpm.reached_by(&mut serve).env("PATH", self.path());
        self.plugin.spawn_as(serve);
    }

    fn status_says(&self, what: &str) -> bool {
        let probe = self.plugin.verb(&["probe"]);
        String::from_utf8_lossy(&probe.stderr).contains(what)
    }
}

pub fn a_credential_that_the_tpm_sealed_opens_the_ring() {
    let mut node = Node::made();

    let verified = node.verb(&["root", "verify"]);
    let began = Instant::now();
    node.spawn();
    node.plugin.wait_until_it_answers();
    let took = began.elapsed();

    assert!(verified.status.success(), "{}", shown(&verified));
    eprintln!(
        "a credential that the TPM sealed: Status after {} ms",
        took.as_millis()
    );
    assert!(took < Duration::from_secs(15), "{took:?}");
    let log = node.plugin.log();
    assert!(log.contains("credential kekring-root: opened it after"), "{log}");
}

pub fn a_tpm_that_measures_something_else_is_asked_once_and_the_recovery_code_leads_out() {
    let mut node = Node::made();
    node.tpm.measure_something_else();
    let denied = node.verb(&["root", "verify"]);
    let before = node.calls();

    node.spawn();
    let cause = "denied: the TPM does not open";
    wait_until("the cause in Status", PATIENCE, || node.status_says(cause));
    let address = node.plugin.telemetry();
    wait_until("three attempts", PATIENCE, || {
        let page = scrape::get(&address, "/metrics").unwrap();
        page.body.lines().any(|line| {
            let count = line.strip_prefix(r#"kekring_reloads_total{result="failure"} "#);
            count.is_some_and(|count| count.parse::<u32>().unwrap() >= 3)
        })
    });

    let told = shown(&denied);
    assert!(!denied.status.success() && told.contains(cause), "{told}");
    let log = node.plugin.log();
    assert!(
        log.contains("open the ring with the recovery code and seal the credential anew"),
        "{log}"
    );
    assert_eq!(node.calls(), before + 1, "asking again changes nothing");

    // By the hint.
    node.tpm.seal(NAME, &node.plugin.dir.join("sealed"));
    let code = node.plugin.dir.join("code");
    let added = node.verb(&["root", "add", "--open-with", code.to_str().unwrap()]);
    assert!(added.status.success(), "{}", shown(&added));
    wait_until("the ring to open by itself", PATIENCE, || {
        node.plugin.verb(&["probe"]).status.success()
    });
}
