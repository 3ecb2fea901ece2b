//! What lies below a directory, to be compared before and after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::process::Output;

use crate::support::{Plugin, shown};

/// Kind, mode and content of everything below `dir`, by its path. Without what a running server keeps in `run`, the log,
/// and the lock, which holds nothing.
pub fn tree(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    collect(dir, "", &mut found);
    found
}

fn collect(dir: &Path, below: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_string_lossy());
        if ["run", "serve.log", "ring/lock", "mirror/lock"].contains(&&*name) {
            continue;
        }
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_dir() => "a directory".to_owned(),
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
            kind if kind.is_fifo() || kind.is_socket() => format!("{kind:?}"),
            _ => data_encoding::HEXLOWER.encode(&fs::read(&path).unwrap()),
        };
        let mode = metadata.mode();
        found.insert(name.clone(), format!("{mode:o} {content}"));
        if metadata.is_dir() {
            collect(&path, &format!("{name}/"), found);
        }
    }
}

/// A verb that ends with `code`, says `says`, and leaves everything as it is.
#[track_caller]
pub fn refuses(what: &str, plugin: &Plugin, verb: &[&str], code: i32, says: &str) {
    let before = tree(&plugin.dir);

    let output = plugin.verb(verb);

    assert_says(what, &output, code, says);
    assert_eq!(tree(&plugin.dir), before, "{what}: {verb:?} changed something");
}

/// One line of error that says `says`, and one hint.
#[track_caller]
pub fn assert_says(what: &str, output: &Output, code: i32, says: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{what}: {}", shown(output));
    let lines: Vec<&str> = error.lines().collect();
    assert!(
        matches!(lines.as_slice(), [error, hint] if error.starts_with("error: ") && hint.starts_with("hint: ")),
        "{what}: {error}"
    );
    assert!(error.contains(says), "{what}: {says:?} is not in {error}");
}
