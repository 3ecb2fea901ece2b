//! The Go program that is etcd and kube-apiserver: built once for each state of its sources and each Go, and kept in the
//! user's cache, so that a fresh clone need not build it again.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Instant;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Why there is no program.
#[derive(Clone, Debug)]
pub enum Missing {
    /// No Go on this machine, and nothing in the cache.
    Go,
    /// There is a Go, and it did not build.
    Build(String),
}

static PROGRAM: LazyLock<Result<PathBuf, Missing>> = LazyLock::new(find_or_build);

/// The program, built by the first trial that asks.
pub fn program() -> Result<&'static Path, Missing> {
    PROGRAM.as_deref().map_err(Clone::clone)
}

fn find_or_build() -> Result<PathBuf, Missing> {
    let cache = cache_dir();
    let stem = format!("controlplane-{}", sources_hash());
    let Some(go) = go_version()? else {
        return cached(&cache, &stem).ok_or(Missing::Go);
    };
    let path = cache.join(format!("{stem}-{go}"));
    if path.is_file() {
        return Ok(path);
    }
    build(&path).map_err(Missing::Build)?;
    Ok(path)
}

/// To a name of its own first, so that what has the final name is complete.
fn build(path: &Path) -> Result<(), String> {
    let dir = path.parent().ok_or("the cache has no directory")?;
    fs::create_dir_all(dir).map_err(|why| format!("cannot make {}: {why}", dir.display()))?;
    let unfinished = tempfile::Builder::new()
        .prefix(".controlplane-")
        .tempfile_in(dir)
        .map_err(|why| format!("cannot write to {}: {why}", dir.display()))?
        .into_temp_path();
    eprintln!(
        "\nbuilding etcd and kube-apiserver into {}; minutes, the first time",
        dir.display()
    );
    let started = Instant::now();
    let built = go()
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&*unfinished)
        .arg(".")
        .stdin(Stdio::null())
        .status()
        .map_err(|why| format!("cannot run go: {why}"))?;
    if !built.success() {
        return Err(format!("`go build` of tests/apiserver/controlplane: {built}"));
    }
    unfinished
        .persist(path)
        .map_err(|why| format!("cannot rename to {}: {why}", path.display()))?;
    eprintln!("built in {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}

/// As part of a file name, such as `go1.26.8-linux-amd64`; nothing where there is no Go.
fn go_version() -> Result<Option<String>, Missing> {
    let output = match go().arg("version").output() {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(Missing::Build(format!("cannot run go: {why}"))),
        Ok(output) => output,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.trim().strip_prefix("go version ").ok_or_else(|| {
        let why = String::from_utf8_lossy(&output.stderr);
        Missing::Build(format!("`go version` says {text:?} {why:?}"))
    })?;
    Ok(Some(version.replace([' ', '/'], "-")))
}

/// Go takes its toolchain from the module that it is run in.
fn go() -> Command {
    let mut command = Command::new("go");
    command.current_dir(sources());
    command
}

/// Any program of these sources: without Go, its version does not matter.
fn cached(cache: &Path, stem: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(cache).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(stem))
    })
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
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apiserver/controlplane")
}

fn sources_hash() -> String {
    let mut hash = Sha256::new();
    for name in ["go.mod", "go.sum", "main.go"] {
        hash.update(fs::read(sources().join(name)).unwrap());
    }
    HEXLOWER.encode(&hash.finalize()[..8])
}
