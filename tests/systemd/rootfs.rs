//! The files of a container: a small system of this machine's own release, made once by debootstrap and kept in the
//! user's cache. Containers lay their own files over it and never change it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::cgroup;
use crate::golang::cache_dir;

/// Beyond what a minimal system has: systemd as process 1, what the README's commands call, and the other packages' tool.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,curl,iproute2,procps,rpm";
/// What the trials call on this machine.
const TOOLS: [&str; 6] = [
    "systemd-nspawn",
    "debootstrap",
    "unshare",
    "nsenter",
    "setpriv",
    "systemd-analyze",
];

/// Where it is; made by the first trial that asks, while the others wait. Otherwise what is missing for it.
pub fn path() -> Result<&'static Path, String> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(find_or_make).as_deref().map_err(Clone::clone)
}

/// Whether a program is on the path.
pub fn tool(name: &str) -> Result<(), String> {
    let known = Command::new(name)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    known.map(|_| ()).map_err(|_| name.to_owned())
}

fn find_or_make() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("root".to_owned());
    }
    TOOLS.into_iter().try_for_each(tool)?;
    cgroup::hierarchies()?;
    let (release, components) = release()?;
    let mut hash = Sha256::new();
    hash.update(format!("{release} {} {PACKAGES}", std::env::consts::ARCH));
    let stem = format!("systemd-rootfs-{}", HEXLOWER.encode(&hash.finalize()[..8]));
    let path = cache_dir().join(stem);
    if !path.is_dir() {
        make(&release, components, &path)?;
    }
    Ok(path)
}

/// The container runs the program that was linked here, and so with the C library of the same release. And where that
/// release has the packages.
fn release() -> Result<(String, &'static str), String> {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    match (field("ID").as_str(), field("VERSION_CODENAME")) {
        ("debian", release) if !release.is_empty() => Ok((release, "main")),
        ("ubuntu", release) if !release.is_empty() => Ok((release, "main,universe")),
        _ => Err("Debian or Ubuntu".to_owned()),
    }
}

/// To a name of its own first, so that what has the final name is complete.
fn make(release: &str, components: &str, path: &Path) -> Result<(), String> {
    let cache = path.parent().unwrap();
    let failed = |why: std::io::Error| format!("{}, which cannot be made: {why}", path.display());
    fs::create_dir_all(cache).map_err(failed)?;
    let unfinished = tempfile::Builder::new()
        .prefix(".systemd-rootfs-")
        .tempdir_in(cache)
        .map_err(failed)?;
    let root = unfinished.path().join("root");
    eprintln!(
        "\nmaking {} by debootstrap; a minute, the first time",
        path.display()
    );
    let started = Instant::now();
    let output = Command::new("debootstrap")
        .args(["--variant=minbase", &format!("--include={PACKAGES}")])
        .args([&format!("--components={components}"), release])
        .arg(&root)
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = said.lines().next_back().unwrap_or_default();
        return Err(format!(
            "the files of {release} from debootstrap, which said {last:?}"
        ));
    }
    // Each machine makes its own.
    fs::write(root.join("etc/machine-id"), "").map_err(failed)?;
    let _ = fs::remove_file(root.join("etc/hostname"));
    for entry in fs::read_dir(root.join("var/cache/apt/archives"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let _ = fs::remove_file(entry.path());
    }
    fs::rename(&root, path).map_err(failed)?;
    eprintln!("made in {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}
