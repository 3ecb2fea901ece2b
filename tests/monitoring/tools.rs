//! Prometheus and promtool: the machine's, or those of Debian's package, unpacked and not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use kekring_kit::Missing;
use kekring_kit::needs::programs;

use crate::golang::cache_dir;

const TOOLS: [&str; 2] = ["prometheus", "promtool"];

/// The directory that both are in; fetched by the first trial that asks, while the others wait.
pub fn tools() -> Result<&'static Path, Missing> {
    static FOUND: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    FOUND.get_or_init(find_or_fetch).as_deref().map_err(Clone::clone)
}

/// One of them, not started yet.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(tools().unwrap().join(name));
    command.stdin(Stdio::null());
    command
}

fn find_or_fetch() -> Result<PathBuf, Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).find(|dir| has_both(dir));
    let unpacked = || {
        let entries = fs::read_dir(cache_dir()).ok()?;
        let dirs = entries.filter_map(|entry| Some(entry.ok()?.path().join("usr/bin")));
        dirs.into_iter()
            .find(|dir| dir.to_string_lossy().contains("/prometheus_") && has_both(dir))
    };
    if let Some(dir) = installed.or_else(unpacked) {
        return Ok(dir);
    }
    programs(&["apt-get", "dpkg"]).map_err(|_| Missing::Tool("prometheus and promtool".into()))?;
    fetch().map_err(|why| Missing::Tool(format!("prometheus and promtool, which apt does not give: {why}")))
}

fn has_both(dir: &Path) -> bool {
    TOOLS.iter().all(|name| dir.join(name).is_file())
}

/// Into a directory of the package's name and version; to another name first, so that what has this one is complete.
fn fetch() -> Result<PathBuf, String> {
    let cache = cache_dir();
    fs::create_dir_all(&cache).map_err(|why| format!("cannot make {}: {why}", cache.display()))?;
    let unfinished = tempfile::Builder::new()
        .prefix(".prometheus-")
        .tempdir_in(&cache)
        .map_err(|why| format!("cannot write to {}: {why}", cache.display()))?;
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program)
            .args(args)
            .current_dir(unfinished.path())
            .output();
        let output = output.map_err(|why| format!("cannot run {program}: {why}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        output
            .status
            .success()
            .then_some(())
            .ok_or(format!("{program} {args:?}: {said}"))
    };
    run("apt-get", &["download", "prometheus"])?;
    let mut files = fs::read_dir(unfinished.path()).map_err(|why| why.to_string())?;
    let package = files.find_map(|entry| entry.ok()?.file_name().into_string().ok());
    let package = package.ok_or("apt-get download left no file")?;
    let name = package
        .strip_suffix(".deb")
        .ok_or(format!("{package} is no package"))?;
    run("dpkg", &["-x", &package, "unpacked"])?;
    let dir = cache.join(name);
    fs::rename(unfinished.path().join("unpacked"), &dir).map_err(|why| why.to_string())?;
    let dir = dir.join("usr/bin");
    has_both(&dir)
        .then_some(dir)
        .ok_or(format!("{package} has no {TOOLS:?}"))
}
