//! The packages of two versions, made by `deploy/release/packages.sh`: the first from this repository, the second from a
//! copy of it in which program and configuration are others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kekring_kit::{Missing, needs};

use crate::support::{KEKRING, in_repository, shown};

pub const OLD: &str = "0.1.0";
pub const NEW: &str = "0.2.0";
/// What the second version's configuration says more.
pub const NEWER: &str = "# A line of the new version.\n";
/// 2026-01-01.
pub const TIME: &str = "1767225600";

/// What packs: Go builds it once, and the user's cache keeps it.
pub fn packer() -> Result<(), Missing> {
    static THERE: OnceLock<Result<(), Missing>> = OnceLock::new();
    let find = || {
        let tools = in_repository("deploy/release/tools.sh");
        let script = format!("source {}; test -x \"$CACHE/bin/nfpm\"", tools.display());
        let there = Command::new("bash").args(["-euc", &script]).status();
        if there.is_ok_and(|status| status.success()) {
            return Ok(());
        }
        needs::programs(&["bash", "go"])
    };
    THERE.get_or_init(find).clone()
}

/// The packages of the version that stands here, in a directory.
pub fn old() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let out = place("old");
        pack(&in_repository(""), &program(), OLD, &out);
        out
    })
}

/// Those of the version after.
pub fn new() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let (sources, out) = (place("sources"), place("new"));
        copy(&sources);
        let config = sources.join("deploy/systemd/config.yaml");
        fs::write(&config, fs::read_to_string(&config).unwrap() + NEWER).unwrap();
        // The same program as far as it runs, and another file.
        let mut bytes = fs::read(program()).unwrap();
        bytes.extend(b"newer");
        let newer = sources.join("kekring");
        fs::copy(program(), &newer).unwrap();
        fs::write(&newer, bytes).unwrap();
        pack(&sources, &newer, NEW, &out);
        out
    })
}

/// The program under test without what a debugger reads, which would be most of the packages.
pub fn program() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let strip = || {
        let out = place("program").join("kekring");
        let output = Command::new("strip")
            .arg("-o")
            .arg(&out)
            .arg(KEKRING)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        out
    };
    MADE.get_or_init(strip).clone()
}

/// Runs the `packages.sh` of these sources.
pub fn pack(sources: &Path, program: &Path, version: &str, out: &Path) {
    let mut command = packages_sh(sources);
    command.args(["--version", version]).arg(program).arg(out);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
}

pub fn packages_sh(sources: &Path) -> Command {
    let mut command = Command::new(sources.join("deploy/release/packages.sh"));
    command.env("SOURCE_DATE_EPOCH", TIME);
    command
}

/// The file of a directory that ends like this.
pub fn file(dir: &Path, end: &str) -> PathBuf {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = entries
        .into_iter()
        .find(|path| path.to_str().unwrap().ends_with(end));
    found.unwrap_or_else(|| panic!("nothing in {} ends with {end}", dir.display()))
}

/// What packages are made of, in another place.
pub fn copy(to: &Path) {
    let mut places = vec![PathBuf::from("deploy")];
    places.extend(
        [
            "README.md",
            "SECURITY.md",
            "CHANGELOG.md",
            "LICENSE",
            "Cargo.toml",
        ]
        .map(PathBuf::from),
    );
    while let Some(place) = places.pop() {
        let from = in_repository(place.to_str().unwrap());
        if from.is_dir() {
            fs::create_dir_all(to.join(&place)).unwrap();
            let entries = fs::read_dir(from).unwrap().flatten();
            places.extend(entries.map(|entry| place.join(entry.file_name())));
        } else {
            fs::copy(from, to.join(&place)).unwrap();
        }
    }
}

/// A directory below `target`, empty.
fn place(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages").join(name);
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    place
}
