//! What a disk, an accident or an attacker may leave in a ring's directory: each its own error, nothing is changed, and an
//! older generation is used only where that does not go back in time. Prints how many inputs were tried, and of how many.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

#[macro_use]
extern crate kekring_kit;

#[allow(dead_code)]
#[path = "../store/bench.rs"]
mod bench;
#[path = "../../fuzz/src/checks/mod.rs"]
mod checks;
#[path = "../../fuzz/src/cli.rs"]
mod cli;
#[path = "../../fuzz/src/config.rs"]
mod config;
#[path = "../support/mod.rs"]
mod support;

mod bits;
mod corpus;
mod files;
mod rings;
mod whole;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bench::{Bench, NOW};
use kekring::custody::Opened;
use kekring::keyring::{KeyId, lifecycle};

fn main() -> ExitCode {
    kekring_kit::main("corrupt")
}

/// A ring of three generations: two rotations' keys, the oldest of them suspended. What its server has said is known.
struct Ring {
    bench: Bench,
    suspended: KeyId,
    reported: KeyId,
}

impl Ring {
    fn new() -> Self {
        let bench = Bench::new();
        bench.rotate();
        let opened = bench.open();
        let suspended = opened.ring.keys[0].id.clone();
        let next = lifecycle::suspend(&opened.ring, &suspended, true).unwrap();
        let opened = bench.custody().commit(&opened, next, NOW).unwrap();
        let reported = opened.ring.active().unwrap().id.clone();
        Self {
            bench,
            suspended,
            reported,
        }
    }

    fn dir(&self) -> PathBuf {
        self.bench.path("ring")
    }

    /// Opens what is there, and holds what must hold whatever is there. Returns the error where it does not open.
    fn judge(&self, what: &str) -> Result<Opened, String> {
        let before = content(&self.dir());
        let outcome = self
            .bench
            .custody()
            .open(None, NOW)
            .map_err(|why| why.to_string());
        assert_eq!(content(&self.dir()), before, "{what}: something was changed");
        if let Ok(opened) = &outcome {
            if let Ok(active) = opened.keyring().status() {
                assert!(active.sequence() >= self.reported.sequence(), "{what}: {active}");
            }
            let key = opened.ring.key(&self.suspended);
            assert!(
                key.is_none_or(|it| it.suspended),
                "{what}: a suspension is lifted"
            );
        }
        outcome
    }

    /// It serves from an older generation and is not changed.
    fn judge_older(&self, what: &str, class: &str) {
        let opened = self.judge(what).unwrap_or_else(|why| panic!("{what}: {why}"));
        assert!(opened.ring.generation < 3, "{what}");
        let frozen = opened
            .frozen
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(frozen.contains(class), "{what}: {frozen} instead of {class}");
        assert!(self.bench.try_rotate(&opened).is_err(), "{what}");
        assert!(opened.keyring().holds(&self.suspended), "{what}");
    }
}

/// The bytes and the mode of every regular file; the kind of what is none.
fn content(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let one = |path: PathBuf| {
        let metadata = fs::symlink_metadata(&path).unwrap();
        // Nobody reads a giant.
        let small = metadata.is_file() && metadata.len() < 1 << 24;
        let bytes = if small {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        (path, (metadata.permissions().mode(), bytes))
    };
    entries.map(one).collect()
}

/// A file for its owner alone, as a ring has them.
fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The long form is for once; CI has the short one.
fn full() -> bool {
    std::env::var_os("KEKRING_TESTS").is_some_and(|it| it == "full")
}

/// The figures are wanted in every log.
fn say(line: &str) {
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}
