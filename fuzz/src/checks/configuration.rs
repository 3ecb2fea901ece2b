//! kekring's configuration, and the EncryptionConfiguration that `config encryption --merge` changes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::LazyLock;

use kekring::config::Config;

use super::choice;
use crate::cli::encryption;

/// A file without a name, so that none is left behind.
static FILE: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().unwrap());

const RESOURCES: [&[&str]; 4] = [
    &["secrets"],
    &["secrets", "configmaps"],
    &["*.apps", "secrets"],
    &["*.*"],
];

/// The first byte chooses: kekring's own, or a phase of the merge and its resources.
pub fn check(data: &[u8]) {
    let Some((mode, rest)) = choice(data, 16) else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match mode.checked_sub(4) {
        None => own(text),
        Some(mode) => merge(text, mode % 3, RESOURCES[usize::from(mode / 3)]),
    }
}

fn own(text: &str) {
    FILE.set_len(0).unwrap();
    FILE.write_all_at(text.as_bytes(), 0).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", FILE.as_raw_fd()));
    match (Config::load(&path), Config::load(&path)) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string());
            let one = one.to_string();
            assert!(
                !one.chars().any(char::is_control),
                "an error is one line, and plain: {one:?}"
            );
        }
        _ => panic!("two readings of one text differ"),
    }
}

fn merge(text: &str, phase: u8, resources: &[&str]) {
    let resources: Vec<String> = resources.iter().map(|it| (*it).to_owned()).collect();
    if let Ok(yaml) = encryption::rewritten(text) {
        let again = encryption::rewritten(&yaml).expect("what was written can be read");
        assert_eq!(again, yaml, "what was written says something else");
    }
    let Ok(merged) = encryption::merged(text, phase, &resources) else {
        return;
    };
    assert_eq!(
        merged.before, merged.after,
        "the keys of other providers pass through"
    );
    let secrets = merged.before.iter().filter_map(|key| key.rsplit(' ').next());
    for secret in secrets.filter(|it| it.len() >= 16) {
        assert!(
            merged.notes.iter().all(|note| !note.contains(secret)),
            "a note tells a key"
        );
    }
    let again = encryption::merged(&merged.yaml, phase, &resources).expect("what was merged can be merged");
    assert_eq!(
        again.yaml, merged.yaml,
        "the same step once more changes something"
    );
}
