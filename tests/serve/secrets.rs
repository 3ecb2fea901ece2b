//! No secret in a log, an error, a file beside the ring or a process's public parts; no forged log line.

use std::fs;
use std::path::Path;

use kekring::keyring::ring::UnixTime;
use kekring::proto::kms;

use crate::client::Client;
use crate::ring::custody;
use crate::support::leaks::leaks;
use crate::support::{PATIENCE, Plugin, scrape, wait_until};

/// The ring key, the root key and every KEK of a plugin.
fn secrets(plugin: &Plugin) -> Vec<Vec<u8>> {
    let opened = custody(plugin).open(None, UnixTime(1)).unwrap();
    let mut secrets = vec![
        fs::read(plugin.dir.join("root.key")).unwrap(),
        opened.ring_key.expose().to_vec(),
    ];
    secrets.extend(opened.ring.keys.iter().map(|key| key.material.expose().to_vec()));
    secrets
}

#[test]
#[needs(root)]
fn no_secret_in_logs_files_environment_or_command_line() {
    for format in ["text", "json"] {
        let plugin = Plugin::with(&format!(
            "{{telemetry: {{listen: '127.0.0.1:0', log: {{level: trace, format: {format}}}}}}}"
        ));
        let client = Client::connect(&plugin.socket);
        let seed: Vec<u8> = (0..32).map(|byte| byte * 7 + 1).collect();
        let mut sealed = client.encrypt(&seed).unwrap();
        assert_eq!(client.decrypt(&sealed).unwrap(), seed);
        assert!(plugin.verb(&["rotate"]).status.success());
        sealed.ciphertext[100] ^= 1;
        client.decrypt(&sealed).unwrap_err();
        wait_until("the log to be written", PATIENCE, || {
            plugin.log().contains("Decrypt refused")
        });

        // Libraries show the wire at this level; none of our own events has it.
        assert!(
            !plugin.log().contains("TRACE"),
            "a library's events: {}",
            plugin.log()
        );
        let mut secrets = secrets(&plugin);
        secrets.push(seed);
        let pid = plugin.pid().as_raw_nonzero();
        let mut places = vec![
            plugin.log().into_bytes(),
            fs::read(format!("/proc/{pid}/cmdline")).unwrap(),
            fs::read(format!("/proc/{pid}/environ")).unwrap(),
            fs::read(plugin.socket.with_file_name("status.json")).unwrap(),
        ];
        for page in ["/metrics", "/readyz?verbose", "/livez"] {
            let answer = scrape::get(&plugin.telemetry(), page).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            places.push(answer.body.into_bytes());
        }
        for verb in [
            &["status"][..],
            &["keys", "list"],
            &["probe", "--round-trip"],
            &["config", "check"],
        ] {
            let output = plugin.verb(&[verb, &["-o", "json"]].concat());
            places.push([output.stdout, output.stderr].concat());
        }
        places.extend(files(&plugin.dir.join("ring")));

        for (number, place) in places.iter().enumerate() {
            for secret in &secrets {
                assert!(!leaks(place, secret), "place {number} holds a secret");
            }
        }
        assert!(
            leaks(&fs::read(plugin.dir.join("root.key")).unwrap(), &secrets[0]),
            "the scanner sees"
        );
    }
}

#[test]
fn what_a_caller_writes_cannot_forge_or_flood_a_log_line() {
    for format in ["text", "json"] {
        let plugin = Plugin::with(&format!(
            "{{telemetry: {{log: {{level: trace, format: {format}}}}}}}"
        ));
        let client = Client::connect(&plugin.socket);
        let evil = "x\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\u{202e}\r\u{0}\" level=\"error";

        client
            .encrypt_with(kms::EncryptRequest {
                plaintext: vec![7; 32],
                uid: evil.into(),
            })
            .unwrap();
        let request = kms::DecryptRequest {
            ciphertext: vec![1; 142],
            uid: evil.into(),
            key_id: evil.repeat(10),
            annotations: std::collections::HashMap::from([(evil.into(), evil.into())]),
        };
        client.decrypt_with(request).unwrap_err();
        wait_until("both lines", PATIENCE, || {
            plugin.log().contains("Encrypt done") && plugin.log().contains("Decrypt refused")
        });

        let log = plugin.log();
        assert!(log.is_ascii(), "{log:?}");
        assert!(log.chars().all(|c| c == '\n' || !c.is_control()), "{log:?}");
        for line in log.lines() {
            assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line}");
            assert!(line.len() < 1000, "{line}");
            if format == "json" {
                let parsed: serde_json::Value = serde_json::from_str(line).expect(line);
                assert!(parsed["level"].is_string());
            }
        }
    }
}

fn files(dir: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect()
}
