//! A kernel whose random bytes cannot be trusted: none, always the same, or those of a cloned machine.

use std::fs;
use std::process::{Command, Output};

use crate::support::{KEKRING, Plugin, shown};
use crate::tree::{assert_says, tree};

/// A verb under strace, with every getrandom(2) from the third on made to end like this: the first two seed hash maps,
/// and what else a library does at its start.
fn with_getrandom(plugin: &Plugin, fault: &str, verb: &[&str]) -> Output {
    let log = plugin.dir.join("run-strace.log");
    let inject = format!("inject=getrandom:{fault}");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=getrandom", "-e", &inject, "-o"])
        .arg(&log)
        .arg(KEKRING)
        .args(verb)
        .arg("--config")
        .arg(&plugin.config)
        .output();
    let traced = fs::read_to_string(&log).unwrap_or_default();
    let _ = fs::remove_file(log);
    let output = output.unwrap();
    assert!(traced.contains("(INJECTED)"), "{}", shown(&output));
    output
}

/// Each call claims one byte and writes none, so all that is asked for stays zero.
const ZEROS: &str = "retval=1";

#[test]
#[needs(strace)]
fn a_generator_that_always_gives_the_same_bytes_makes_no_ring() {
    let plugin = Plugin::unmade("{}");

    let output = with_getrandom(&plugin, ZEROS, &["init", "--no-recovery"]);

    assert_says("zeros", &output, 3, "the same random bytes twice");
    assert!(
        !plugin.dir.join("root.key").exists(),
        "a root of zeros is no root"
    );
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());
}

#[test]
#[needs(strace)]
fn a_generator_that_fails_makes_no_key_and_changes_nothing() {
    let plugin = Plugin::prepared("{}");
    let before = tree(&plugin.dir);

    let output = with_getrandom(&plugin, "error=EIO:when=3+", &["rotate"]);

    assert_says("EIO", &output, 1, "random");
    assert_eq!(tree(&plugin.dir), before);
}

#[test]
#[needs(strace)]
fn two_clones_that_draw_the_same_bytes_never_have_two_keys_of_one_name_and_join_without_a_loss() {
    let plugin = Plugin::prepared("{}");
    let ring = plugin.dir.join("ring");
    let before = generations(&plugin);
    // One machine and its clone rotate from one state, each by bytes that the other draws, too.
    let one = with_getrandom(&plugin, ZEROS, &["rotate"]);
    assert!(one.status.success(), "{}", shown(&one));
    let ours = generations(&plugin);
    for (name, _) in ours.iter().filter(|it| !before.contains(it)) {
        fs::remove_file(ring.join(name)).unwrap();
    }
    fs::remove_file(ring.join("mark")).unwrap();
    let other = with_getrandom(&plugin, ZEROS, &["rotate"]);
    assert!(other.status.success(), "{}", shown(&other));
    let theirs = plugin.json(&["keys", "list"]);

    for (name, bytes) in &ours {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = fs::File::options();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(ring.join(name))
            .unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    }

    let joined = plugin.json(&["keys", "list"]);
    assert_eq!(ids(&joined), ids(&theirs), "one name is one key");
    assert_eq!(ids(&joined).len(), 3);
    assert!(plugin.verb(&["rotate"]).status.success());
    let after = ids(&plugin.json(&["keys", "list"]));
    assert_eq!(after[..3], ids(&joined)[..]);
}

fn ids(keys: &serde_json::Value) -> Vec<String> {
    let keys = keys["keys"].as_array().unwrap().iter();
    keys.map(|key| key["id"].as_str().unwrap().to_owned()).collect()
}

fn generations(plugin: &Plugin) -> Vec<(String, Vec<u8>)> {
    let paths = crate::bench::generations(&plugin.dir.join("ring"));
    let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    paths
        .iter()
        .map(|path| (name(path), fs::read(path).unwrap()))
        .collect()
}
