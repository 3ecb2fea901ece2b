//! The two Go programs: built once for each state of their sources and each Go, and kept in the user's cache.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::support::in_repository;

/// The programs.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Runs one server and measures it.
    pub load: PathBuf,
    /// The plugin that kekring is compared with.
    pub reference: PathBuf,
}

/// Why there are none.
#[derive(Clone, Debug)]
pub enum Missing {
    /// No Go on this machine.
    Go,
    /// There is a Go, and it did not build.
    Build(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Go => f.write_str("needs go"),
            Self::Build(why) => f.write_str(why),
        }
    }
}

/// As for a release, stripped.
const BUILD: [&str; 5] = ["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"];

static PROGRAMS: LazyLock<Result<Programs, Missing>> = LazyLock::new(find_or_build);

/// The programs, built by the first who asks.
pub fn built() -> Result<&'static Programs, Missing> {
    PROGRAMS.as_ref().map_err(Clone::clone)
}

fn find_or_build() -> Result<Programs, Missing> {
    let version = go_version()?;
    let dir = cache_dir().join(format!("compare-{}-{version}", sources_hash()));
    let programs = Programs {
        load: dir.join("load"),
        reference: dir.join("reference"),
    };
    if !dir.is_dir() {
        build(&dir).map_err(Missing::Build)?;
    }
    Ok(programs)
}

/// To a directory of its own first, so that what has the final name is complete.
fn build(dir: &Path) -> Result<(), String> {
    let cache = dir.parent().ok_or("the cache has no directory")?;
    let failed = |why| format!("cannot write to {}: {why}", cache.display());
    fs::create_dir_all(cache).map_err(failed)?;
    let unfinished = tempfile::Builder::new()
        .prefix(".compare-")
        .tempdir_in(cache)
        .map_err(failed)?;
    eprintln!("building the Go programs into {}", cache.display());
    let built = go()
        .args(BUILD)
        .arg(unfinished.path())
        .args(["./load", "./reference"])
        .stdin(Stdio::null())
        .status()
        .map_err(|why| format!("cannot run go: {why}"))?;
    if !built.success() {
        return Err(format!("`go build` of benches/compare/go: {built}"));
    }
    match fs::rename(unfinished.path(), dir) {
        // Somebody else was faster.
        Err(_) if dir.is_dir() => Ok(()),
        result => result.map_err(failed),
    }
}

/// As part of a file name, such as `go1.26.8-linux-amd64`.
fn go_version() -> Result<String, Missing> {
    let output = match go().arg("version").output() {
        Err(why) if why.kind() == ErrorKind::NotFound => return Err(Missing::Go),
        Err(why) => return Err(Missing::Build(format!("cannot run go: {why}"))),
        Ok(output) => output,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .strip_prefix("go version ")
        .map(|version| version.replace([' ', '/'], "-"))
        .ok_or_else(|| Missing::Build(format!("`go version` says {text:?}")))
}

fn go() -> Command {
    let mut command = Command::new("go");
    command.current_dir(sources());
    command
}

fn cache_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let user = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    user.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into())
        .join("kekring")
}

fn sources() -> PathBuf {
    in_repository("benches/compare/go")
}

fn sources_hash() -> String {
    let mut files: Vec<PathBuf> = ["", "load", "reference"]
        .iter()
        .flat_map(|dir| fs::read_dir(sources().join(dir)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    hash.update(BUILD.concat());
    for file in files {
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update(fs::read(file).unwrap());
    }
    HEXLOWER.encode(&hash.finalize()[..8])
}
