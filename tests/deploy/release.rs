//! A release, made twice from its sources in two places: the same bytes, and a program that works.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::image::{Image, interpreter};
use crate::support::{Killed, PATIENCE, from_nowhere, in_repository, page, scratch, shown, wait_until};

/// The page, and where it makes a release.
const PAGE: &str = "deploy/release/README.md";
const PLACE: &str = "/tmp/kekring-release";
/// The list of libraries that lies in a program, as JSON.
const LIST: &str = "import subprocess, sys, zlib\n\
    section = subprocess.run(['objcopy', '-O', 'binary', '--only-section=.dep-v0', '--set-section-flags', '.dep-v0=alloc',\n\
    sys.argv[1], '/dev/stdout'], check=True, capture_output=True).stdout\n\
    sys.stdout.buffer.write(zlib.decompress(section))";

#[test]
#[ignore = "two optimised builds take minutes: cargo test --test deploy release -- --ignored --nocapture"]
fn two_releases_made_in_two_places_are_the_same_bytes_and_the_program_works() {
    let scratch = scratch();
    let there = scratch.path().join("another place/kekring");
    copy(&in_repository(""), &there);
    let (first, second) = (scratch.path().join("first"), scratch.path().join("second"));

    let block = typed("release").replace(PLACE, first.to_str().unwrap());
    let said = made(
        Command::new("sh")
            .args(["-euc", &block])
            .current_dir(in_repository("")),
    );
    let epoch = said.split("SOURCE_DATE_EPOCH=").nth(1).unwrap();
    let epoch = epoch.split_whitespace().next().unwrap();
    made(
        Command::new(there.join("deploy/release/release.sh"))
            .arg(&second)
            .env("SOURCE_DATE_EPOCH", epoch)
            .env_remove("CARGO_TARGET_DIR"),
    );

    let names = files(&first);
    assert_eq!(names.len(), 6, "{names:?}");
    assert_eq!(names, files(&second));
    let differ = |name: &&String| fs::read(first.join(name)).unwrap() != fs::read(second.join(name)).unwrap();
    let others: Vec<&String> = names.iter().filter(differ).collect();
    assert!(others.is_empty(), "of two releases these differ: {others:?}");
    println!("{}", fs::read_to_string(first.join("SHA256SUMS")).unwrap());
    made(
        Command::new("sh")
            .args(["-euc", &typed("verify")])
            .current_dir(&first),
    );

    let program = one_program(&first);
    assert_eq!(interpreter(&program), None);
    let cargo = std::env::home_dir().unwrap().join(".cargo");
    let places = [in_repository(""), there, cargo];
    let path = scratch.path().join("kekring");
    fs::write(&path, &program).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    println!("the program has {} bytes", program.len());
    let (list, sbom) = (list(&path), fs::read(named(&first, ".cdx.json")).unwrap());
    for place in places {
        for (what, bytes) in [("program", &program), ("list", &list), ("SBOM", &sbom)] {
            assert!(!holds(bytes, &place), "the {what} names {}", place.display());
        }
    }
    lists_what_is_linked(&list, &sbom);
    works(&path, scratch.path());
}

/// The only block of the page for a place.
fn typed(place: &str) -> String {
    let mut blocks = page::blocks(PAGE).into_iter();
    let found = blocks.find(|block| block.place.iter().any(|word| word == place));
    found.unwrap().text
}

fn files(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn named(dir: &Path, end: &str) -> PathBuf {
    let name = files(dir).into_iter().find(|name| name.ends_with(end));
    dir.join(name.unwrap_or_else(|| panic!("no file of the release ends with {end}")))
}

/// The program of the image, which is that of the tarball and of the package.
fn one_program(release: &Path) -> Vec<u8> {
    let image = files(release)
        .into_iter()
        .find(|name| name.contains("-image-"))
        .unwrap();
    let program = Image::read(&release.join(image)).program();
    for (end, script) in [
        (".tar.gz", "tar -xzOf \"$0\" --wildcards '*/kekring'"),
        (".deb", "ar p \"$0\" data.tar.gz | tar -xzO ./usr/bin/kekring"),
    ] {
        let output = Command::new("sh")
            .args(["-euc", script])
            .arg(named(release, end))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        assert!(output.stdout == program, "{end} has another program");
    }
    program
}

fn list(program: &Path) -> Vec<u8> {
    let output = Command::new("python3")
        .args(["-c", LIST])
        .arg(program)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    output.stdout
}

/// The SBOM and the list in the program name every library that cargo links. Both name a few more: what only the tests
/// want of a library is not told apart.
fn lists_what_is_linked(list: &[u8], sbom: &[u8]) {
    let (list, sbom): (Value, Value) = (
        serde_json::from_slice(list).unwrap(),
        serde_json::from_slice(sbom).unwrap(),
    );
    let pairs = |items: &Value| -> BTreeSet<String> {
        let items = items.as_array().unwrap().iter();
        let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
        items
            .map(|item| format!("{} {}", text(item, "name"), text(item, "version")))
            .collect()
    };
    let (linked, mut named) = (pairs(&list["packages"]), pairs(&sbom["components"]));
    named.insert(concat!("kekring ", env!("CARGO_PKG_VERSION")).to_owned());
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    assert_eq!(sbom["serialNumber"], Value::Null);

    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
            "--target",
            &target,
        ])
        .current_dir(in_repository(""))
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    let expected: BTreeSet<String> = tree
        .lines()
        .map(|line| {
            line.split(' ')
                .take(2)
                .collect::<Vec<_>>()
                .join(" ")
                .replace(" v", " ")
        })
        .collect();
    assert!(expected.len() > 100, "{expected:?}");
    let more: Vec<&String> = named.difference(&expected).collect();
    println!("the SBOM names {} libraries; not linked: {more:?}", named.len());
    assert!(expected.is_subset(&named), "{expected:?}");
    assert!(expected.is_subset(&linked), "{linked:?}");
    assert!(more.len() < 20, "{more:?}");
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

/// What a script says on its way.
fn made(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    String::from_utf8(output.stderr).unwrap()
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
