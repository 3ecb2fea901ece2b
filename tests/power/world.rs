//! A server whose ring lies on a disk of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kekring::proto::kms::EncryptResponse;
use serde_json::{Value, json};

use crate::disk::{Disk, Kind};
use crate::grpc::Client;
use crate::support::scrape::Scrape;
use crate::support::strace::Attached;
use crate::support::{Plugin, shown, wait_until};
use crate::witness::Site;

/// kube-apiserver waits no longer for an answer.
const IN_TIME: Duration = Duration::from_secs(3);
/// A server tries a rotation that failed again after half a minute.
pub const RETRIED: Duration = Duration::from_secs(120);
const SEED: &[u8] = b"a seed of thirty-two bytes, sealed";

pub struct World {
    pub plugin: Plugin,
    pub disk: Disk,
    /// What was sealed before the disk failed.
    old: Option<EncryptResponse>,
}

impl World {
    /// The ring on the disk, or only its mirror; a rotation is due after each `period`.
    pub fn served(mirror_only: bool, period: &str) -> Self {
        let disk = Disk::new(Kind::Ordered);
        let plugin = Plugin::unmade("{}");
        let place = disk.at.join("ring");
        let ring = if mirror_only {
            json!({"mirror": place})
        } else {
            json!({"store": {"file": {"dir": place}}})
        };
        let telemetry = json!({"listen": "127.0.0.1:0"});
        let tweaks =
            json!({"ring": ring, "rotation": {"period": period, "allowShort": true}, "telemetry": telemetry});
        plugin.configure(&tweaks.to_string());
        let made = plugin.verb(&["init", "--no-recovery"]);
        assert!(made.status.success(), "{}", shown(&made));
        let mut world = Self {
            plugin,
            disk,
            old: None,
        };
        world.plugin.serve();
        world.old = Some(world.client().encrypt(SEED).unwrap());
        world
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.plugin.socket)
    }

    pub fn site(&self) -> Site {
        let mut site = Site::within(&self.plugin.dir);
        let place = self.disk.at.join("ring");
        match site.ring.exists() {
            true => site.mirror = Some(place),
            false => site.ring = place,
        }
        site
    }

    /// What a directory holds.
    fn files(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(self.disk.at.join("ring")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    pub fn status(&self) -> Value {
        let text = fs::read(self.plugin.socket.with_file_name("status.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    pub fn complains(&self, of: &str) -> bool {
        self.status()["problems"].to_string().contains(of)
    }

    pub fn is_content(&self) -> bool {
        let status = self.status();
        status["problems"].as_array().is_some_and(Vec::is_empty)
    }

    /// Status, Encrypt and Decrypt, of what is sealed now and of what was sealed before, each in time.
    pub fn assert_serves(&self, client: &Client) {
        let begun = Instant::now();
        let key = client.key_id();
        assert!(begun.elapsed() < IN_TIME, "Status took {:?}", begun.elapsed());
        let begun = Instant::now();
        let sealed = client.encrypt(SEED).unwrap();
        assert!(begun.elapsed() < IN_TIME, "Encrypt took {:?}", begun.elapsed());
        assert!(!key.is_empty() && !sealed.key_id.is_empty());
        for sealed in [&sealed, self.old.as_ref().unwrap()] {
            let begun = Instant::now();
            assert_eq!(client.decrypt(sealed).unwrap(), SEED);
            assert!(begun.elapsed() < IN_TIME, "Decrypt took {:?}", begun.elapsed());
        }
    }

    pub fn assert_decrypts_what_is_old(&self, client: &Client) {
        assert_eq!(client.decrypt(self.old.as_ref().unwrap()).unwrap(), SEED);
    }

    /// A rotation that is due is refused with its reason wherever an operator looks, and nothing is left of it.
    pub fn assert_refuses(&self, reason: &str) {
        wait_until("the reason in the status", RETRIED, || {
            self.complains("rotation is due and is not done") && self.complains(reason)
        });
        let before = self.files();
        self.assert_verb_refuses(reason);
        let shown_status = self.plugin.verb(&["status"]);
        let text = String::from_utf8_lossy(&shown_status.stdout).into_owned();
        assert!(text.contains(reason), "{}", shown(&shown_status));
        assert!(self.plugin.log().contains(reason), "the log does not say why");
        let failed =
            Scrape::of(&self.plugin.telemetry()).value("kekring_rotations_total", &[("result", "failure")]);
        assert!(failed >= 1.0, "{failed}");
        assert_eq!(self.files(), before, "nothing is half-written");
        assert!(self.site().false_generations().is_empty());
        self.assert_serves(&self.client());
    }

    pub fn assert_verb_refuses(&self, reason: &str) {
        let refused = self.plugin.verb(&["rotate"]);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            refused.status.code() == Some(1) && text.contains(reason),
            "{}",
            shown(&refused)
        );
    }

    /// The next rotation succeeds, and nobody complains any more.
    pub fn assert_recovers(&self) {
        wait_until("a rotation", RETRIED, || {
            self.plugin.verb(&["rotate"]).status.success()
        });
        wait_until("the end of the complaint", RETRIED, || self.is_content());
        self.assert_serves(&self.client());
        let opened = self.site().open().unwrap();
        assert!(opened.frozen.is_none() && opened.refusing.is_none());
        assert!(self.site().false_generations().is_empty());
    }
}

/// strace at the server.
pub fn attached(world: &World, args: &[&str]) -> Attached {
    Attached::to(&world.plugin, Path::new("/dev/null"), args).expect("the right to trace")
}
