//! Programs in Go that a suite runs: built once for each state of their sources and each Go, and kept in the user's
//! cache, so that a fresh clone need not build them again.
//!
//! Included by `#[path = "../support/golang.rs"] mod golang;`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use data_encoding::HEXLOWER;
use kekring_kit::Missing;
use sha2::{Digest, Sha256};

/// A program of this repository.
pub struct Program {
    /// Its name in the cache.
    name: &'static str,
    /// Its directory in this repository.
    dir: &'static str,
    /// The file of its requirements; where it is not `go.mod`, `go.mod` only marks the directory.
    requirements: &'static str,
    /// Of the build.
    tags: &'static str,
    /// What the linker sets, as `-X package.variable=value`.
    linked: &'static str,
    built: OnceLock<Result<PathBuf, Missing>>,
}

impl Program {
    pub const fn new(
        name: &'static str,
        dir: &'static str,
        requirements: &'static str,
        tags: &'static str,
    ) -> Self {
        Self {
            name,
            dir,
            requirements,
            tags,
            linked: "",
            built: OnceLock::new(),
        }
    }

    /// The same with variables that the linker sets.
    #[allow(dead_code)] // one suite needs it
    pub const fn linked(mut self, variables: &'static str) -> Self {
        self.linked = variables;
        self
    }

    /// Where it is; built by the first trial that asks, while the others wait.
    pub fn path(&self) -> Result<&Path, Missing> {
        let built = self.built.get_or_init(|| self.find_or_build());
        built.as_deref().map_err(Clone::clone)
    }

    fn find_or_build(&self) -> Result<PathBuf, Missing> {
        let cache = cache_dir();
        let stem = format!("{}-{}", self.name, self.sources_hash());
        let Some(go) = self.go_version()? else {
            return cached(&cache, &stem).ok_or_else(|| Missing::Tool("go".into()));
        };
        let path = cache.join(format!("{stem}-{go}"));
        if path.is_file() {
            return Ok(path);
        }
        self.build(&path).map_err(Missing::Broken)?;
        Ok(path)
    }

    /// To a name of its own first, so that what has the final name is complete.
    fn build(&self, path: &Path) -> Result<(), String> {
        let dir = path.parent().ok_or("the cache has no directory")?;
        fs::create_dir_all(dir).map_err(|why| format!("cannot make {}: {why}", dir.display()))?;
        let unfinished = tempfile::Builder::new()
            .prefix(&format!(".{}-", self.name))
            .tempfile_in(dir)
            .map_err(|why| format!("cannot write to {}: {why}", dir.display()))?
            .into_temp_path();
        eprintln!(
            "\nbuilding {} into {}; minutes, the first time",
            self.dir,
            dir.display()
        );
        let started = Instant::now();
        let built = self
            .go()
            // Static, and independent of a C compiler: then the suites also share what Go has compiled for one of them.
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-buildvcs=false"])
            .arg(format!("-ldflags=-s -w {}", self.linked))
            .arg(format!("-modfile={}", self.requirements))
            .arg(format!("-tags={}", self.tags))
            .arg("-o")
            .arg(&*unfinished)
            .arg(".")
            .stdin(Stdio::null())
            .status()
            .map_err(|why| format!("cannot run go: {why}"))?;
        if !built.success() {
            return Err(format!(
                "`go build` of {} with {}: {built}",
                self.dir, self.requirements
            ));
        }
        unfinished
            .persist(path)
            .map_err(|why| format!("cannot rename to {}: {why}", path.display()))?;
        eprintln!("{} built in {:.0} s", self.name, started.elapsed().as_secs_f32());
        Ok(())
    }

    /// As part of a file name, such as `go1.26.8-linux-amd64`; nothing where there is no Go.
    fn go_version(&self) -> Result<Option<String>, Missing> {
        let output = match self.go().arg("version").output() {
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(Missing::Broken(format!("cannot run go: {why}"))),
            Ok(output) => output,
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.trim().strip_prefix("go version ").ok_or_else(|| {
            let why = String::from_utf8_lossy(&output.stderr);
            Missing::Broken(format!("`go version` says {text:?} {why:?}"))
        })?;
        Ok(Some(version.replace([' ', '/'], "-")))
    }

    /// Go takes its toolchain from the module that it is run in.
    fn go(&self) -> Command {
        let mut command = Command::new("go");
        command.current_dir(self.sources());
        command
    }

    fn sources(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.dir)
    }

    /// Stands for everything that the program is built from, except Go.
    pub fn sources_hash(&self) -> String {
        let mut files = vec![
            self.sources().join(self.requirements),
            self.sources().join(self.requirements).with_extension("sum"),
        ];
        let entries = fs::read_dir(self.sources()).unwrap();
        let mut code: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "go"))
            .collect();
        code.sort();
        files.extend(code);
        let mut hash = Sha256::new();
        for file in files {
            hash.update(fs::read(file).unwrap());
        }
        hash.update(self.tags);
        hash.update(self.linked);
        HEXLOWER.encode(&hash.finalize()[..8])
    }
}

/// Any program of these sources: without Go, its version does not matter.
fn cached(cache: &Path, stem: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(cache).ok()?;
    entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(stem))
    })
}

/// Where what takes long to make is kept.
pub fn cache_dir() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let user = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")));
    user.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into())
        .join("kekring")
}
