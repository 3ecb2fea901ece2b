//! What packages install beside the binary: completions that complete, pages that a formatter reads.

use std::fs;
use std::process::Command;

use kekring_kit::{Missing, needs};

use crate::support::{kekring, scratch, shown};

/// What bash offers for a line that ends where the cursor is.
fn completed(words: &[&str]) -> Vec<String> {
    let script = kekring(&["completions", "bash"]).output().unwrap();
    let dir = scratch();
    fs::write(dir.path().join("kekring.bash"), &script.stdout).unwrap();
    let shell = "set -eu; source ./kekring.bash; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _kekring kekring \
        \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-c", shell, "bash"])
        .args(words)
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
#[needs("bash")]
fn bash_completes_verbs_flags_and_values() {
    assert_eq!(completed(&["kekring", "ro"]), ["rotate", "root"]);
    assert_eq!(completed(&["kekring", "keys", "su"]), ["suspend"]);
    assert_eq!(completed(&["kekring", "rotate", "--fr"]), ["--fresh"]);
    assert_eq!(
        completed(&["kekring", "config", "encryption", "--phase", ""]),
        ["read", "write", "exit"]
    );
}

#[test]
fn every_verb_has_a_page_that_a_formatter_reads_without_a_word() -> Result<(), Missing> {
    let dir = scratch();
    let pages = dir.path().join("share/man");
    let output = kekring(&["man", pages.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));

    for page in [
        "kekring.1",
        "kekring-keys-suspend.1",
        "kekring-config-encryption.1",
        "kekring-serve.1",
    ] {
        let text = fs::read_to_string(pages.join(page)).unwrap();
        assert!(
            text.contains(".SH NAME") && text.contains(".SH OPTIONS"),
            "{page}"
        );
    }
    let rotate = fs::read_to_string(pages.join("kekring-rotate.1")).unwrap();
    assert!(
        rotate.contains(".SH EXAMPLES\n.nf\n  # now\n  kekring rotate\n"),
        "{rotate}"
    );
    needs::program("groff")?;
    for entry in fs::read_dir(&pages).unwrap() {
        let page = entry.unwrap().path();
        let groff = Command::new("groff")
            .args(["-man", "-ww", "-z", "-Tutf8"])
            .arg(&page)
            .output();
        let read = groff.unwrap();
        assert!(
            read.status.success() && read.stderr.is_empty(),
            "{}: {}",
            page.display(),
            shown(&read)
        );
    }
    Ok(())
}
