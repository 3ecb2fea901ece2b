//! The file that `config encryption --out` replaces.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use crate::support::immutable::Immutable;
use crate::support::{Plugin, shown};
use kekring_kit::Missing;

/// `config encryption` with these options, under the umask that most shells have.
fn encryption(plugin: &Plugin, options: &[&Path]) -> Output {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "umask 022; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_kekring"),
        ])
        .arg("--config")
        .arg(&plugin.config)
        .args(["config", "encryption"])
        .args(options);
    command.output().unwrap()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().mode() & 0o7777
}

/// Whatever else lies beside it.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_written_to_a_file_is_what_would_be_printed_and_its_owners_alone() {
    let plugin = Plugin::unmade("{}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("encryption.yaml");
    let printed = encryption(&plugin, &[]);

    let new = encryption(&plugin, &["--out".as_ref(), &file]);
    assert!(new.status.success() && new.stdout.is_empty(), "{}", shown(&new));
    assert!(shown(&new).contains(&format!("note: wrote {}", file.display())));
    assert_eq!(fs::read(&file).unwrap(), printed.stdout);
    assert_eq!(mode(&file), 0o600);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(4711), Some(4712)).unwrap();
    }
    let owner = |metadata: fs::Metadata| (metadata.uid(), metadata.gid());
    let before = owner(fs::metadata(&file).unwrap());
    let again = encryption(&plugin, &["--out".as_ref(), &file]);
    assert!(
        shown(&again).contains("note: its mode was 0644, and is 0600"),
        "{}",
        shown(&again)
    );
    assert_eq!(mode(&file), 0o600);
    assert_eq!(owner(fs::metadata(&file).unwrap()), before, "its owner stays");
    assert_eq!(names(dir.path()), ["encryption.yaml"]);
}

#[test]
fn the_file_that_is_read_may_be_the_file_that_is_written() {
    let plugin = Plugin::unmade("{}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("encryption.yaml");
    let step = |phase: &str| {
        let options = [
            "--merge".as_ref(),
            file.as_path(),
            "--out".as_ref(),
            file.as_path(),
        ];
        let phase = ["--phase".as_ref(), Path::new(phase)];
        let output = encryption(&plugin, &[&options[..], &phase[..]].concat());
        assert!(output.status.success(), "{}", shown(&output));
        fs::read_to_string(&file).unwrap()
    };

    let read = encryption(
        &plugin,
        &["--phase".as_ref(), "read".as_ref(), "--out".as_ref(), &file],
    );
    assert!(read.status.success(), "{}", shown(&read));
    let first = |text: &str| text.find("identity").unwrap() < text.find("kekring").unwrap();

    assert!(first(&fs::read_to_string(&file).unwrap()));
    assert!(!first(&step("write")));
    assert!(first(&step("exit")));
}

#[test]
fn what_cannot_be_written_leaves_the_file_that_was_there() {
    let plugin = Plugin::unmade("{}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("encryption.yaml");
    fs::write(&file, "in use").unwrap();
    let refused = |path: &Path, code: i32, why: &str| {
        let output = encryption(&plugin, &["--out".as_ref(), path]);
        assert_eq!(output.status.code(), Some(code), "{}", shown(&output));
        assert!(shown(&output).contains(why), "{}", shown(&output));
    };

    let (link, broken) = (dir.path().join("link"), dir.path().join("broken"));
    symlink(&file, &link).unwrap();
    symlink(dir.path().join("nothing"), &broken).unwrap();
    refused(&link, 3, "it is a symbolic link");
    refused(&broken, 3, "it is a symbolic link");
    refused(dir.path(), 3, "something that is no file is there");
    refused("/dev/null".as_ref(), 3, "something that is no file is there");
    refused(&dir.path().join("no/where"), 1, "No such file or directory");
    let unusable = [
        "--merge".as_ref(),
        file.as_path(),
        "--out".as_ref(),
        file.as_path(),
    ];
    assert_eq!(encryption(&plugin, &unusable).status.code(), Some(2));

    assert_eq!(fs::read_to_string(&file).unwrap(), "in use");
    assert_eq!(names(dir.path()), ["broken", "encryption.yaml", "link"]);
}

#[test]
fn a_directory_that_takes_nothing_keeps_the_file_that_was_there() -> Result<(), Missing> {
    let plugin = Plugin::unmade("{}");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("encryption.yaml");
    fs::write(&file, "in use").unwrap();
    let _immutable = Immutable::new(dir.path())?;

    let output = encryption(&plugin, &["--out".as_ref(), &file]);

    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(shown(&output).contains("a file that was there is as it was"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "in use");
    Ok(())
}
