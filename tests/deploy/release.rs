//! kekring's own image, built twice from its sources: one digest, and a program that works.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::image::{Image, interpreter};
use crate::support::{Killed, PATIENCE, from_nowhere, in_repository, scratch, shown, wait_until};

#[test]
#[ignore = "two optimised builds take minutes: cargo test --test deploy whole -- --ignored --nocapture"]
fn two_builds_in_two_places_give_one_digest_and_a_program_that_works() {
    let scratch = scratch();
    let there = scratch.path().join("another place/kekring");
    copy(&in_repository(""), &there);
    let (first, second) = (
        scratch.path().join("first.tar"),
        scratch.path().join("second.tar"),
    );

    let here = built(Command::new(in_repository("deploy/container/image.sh")).arg(&first));
    let elsewhere = built(
        Command::new(there.join("deploy/container/image.sh"))
            .arg(&second)
            .env_remove("CARGO_TARGET_DIR"),
    );

    println!("{here}\n{elsewhere}");
    let digest = |said: &str| said.rsplit_once(' ').unwrap().1.to_owned();
    assert_eq!(digest(&here), digest(&elsewhere));
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap());
    let program = Image::read(&first).program();
    assert_eq!(interpreter(&program), None);
    let cargo = std::env::home_dir().unwrap().join(".cargo");
    for place in [in_repository(""), there, cargo] {
        assert!(!holds(&program, &place), "the program names {}", place.display());
    }
    let path = scratch.path().join("kekring");
    fs::write(&path, &program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    println!("the program has {} bytes", program.len());
    works(&path, scratch.path());
}

/// The sources, without what was built of them.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (name, place) = (entry.file_name(), entry.path());
        if name == "target" || name == ".git" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy(&place, &to.join(name));
        } else {
            fs::copy(&place, to.join(name)).unwrap();
        }
    }
}

/// What image.sh says.
fn built(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn holds(program: &[u8], place: &Path) -> bool {
    let place = place.to_str().unwrap().trim_end_matches('/').as_bytes();
    program.windows(place.len()).any(|window| window == place)
}

/// What a first look does.
fn works(program: &Path, dir: &Path) {
    let dev = dir.join("dev");
    let verb = |words: &[&str]| -> Output {
        let mut command = Command::new(program);
        from_nowhere(&mut command);
        command.args(words).arg("--dev").arg(&dev).output().unwrap()
    };
    let log: PathBuf = dir.join("serve.log");
    let mut serve = Command::new(program);
    from_nowhere(&mut serve);
    serve
        .args(["serve", "--dev"])
        .arg(&dev)
        .env("KEKRING_TELEMETRY_LISTEN", "");
    let server = serve
        .stdout(File::create(&log).unwrap())
        .stderr(File::options().append(true).open(&log).unwrap());
    let server = Killed(server.spawn().unwrap());
    wait_until("the plugin to answer", PATIENCE, || {
        verb(&["probe"]).status.success()
    });

    for words in [
        &["probe", "--round-trip"][..],
        &["probe", "--alive"],
        &["rotate"],
        &["status"],
        &["backup", dir.join("backup").to_str().unwrap()],
    ] {
        let output = verb(words);
        assert!(
            output.status.success(),
            "{words:?}: {}{}",
            shown(&output),
            fs::read_to_string(&log).unwrap()
        );
    }

    assert!(server.stop().success());
}
