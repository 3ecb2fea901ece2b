//! The image of a node: kind's own where it can be had, and otherwise one that is built here, and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use data_encoding::HEXLOWER;
use kekring_kit::Missing;
use kekring_kit::needs::{programs, root_to};
use sha2::{Digest, Sha256};

use crate::cluster::in_repository;
use crate::engine::Engine;
use crate::golang::cache_dir;
use crate::kubernetes::{KUBERNETES, VERSION};
use crate::run::run;

/// The default of kind 0.33.0.
const PUBLISHED: &str =
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5";
/// How long a registry may take, in seconds.
const PULL: &str = "600";

pub enum NodeImage {
    Published,
    /// Without a Pod network, kube-proxy and DNS.
    Built,
}

impl NodeImage {
    /// An image that this engine has when this returns.
    pub fn find(engine: &Engine) -> Result<Self, Missing> {
        let there = engine.docker(&["image", "inspect", PUBLISHED]);
        if { there }.output().is_ok_and(|output| output.status.success()) {
            return Ok(Self::Published);
        }
        let archive = archive();
        if !archive.is_file() {
            if engine.reaches_registries() && pull(engine) {
                return Ok(Self::Published);
            }
            build(&archive)?;
        }
        load(engine, &archive).map_err(Missing::Broken)?;
        Ok(Self::Built)
    }

    pub fn name(&self) -> String {
        match self {
            Self::Published => PUBLISHED.into(),
            Self::Built => format!("kekring.test/node:{VERSION}"),
        }
    }
}

fn pull(engine: &Engine) -> bool {
    let mut command = engine.command("timeout");
    let pulled = run(command.args([PULL, "docker", "pull", "--quiet", PUBLISHED]));
    if let Err(why) = &pulled {
        eprintln!("no published node image, so one is built: {why}");
    }
    pulled.is_ok()
}

/// Where the image lies once it is built: a file for each state of what it is built from.
fn archive() -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(sources())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(file).unwrap());
    }
    hash.update(KUBERNETES.sources_hash());
    hash.update(std::env::consts::ARCH);
    let hash = HEXLOWER.encode(&hash.finalize()[..8]);
    cache_dir().join(format!("kind-node-{hash}.tar.zst"))
}

fn sources() -> PathBuf {
    in_repository("tests/kind/node")
}

/// Under another name first, so that what has the final name is complete.
fn build(archive: &Path) -> Result<(), Missing> {
    programs(&["debootstrap", "zstd"])?;
    root_to("to build a node image")?;
    let kubernetes = KUBERNETES.path()?;
    let started = Instant::now();
    let broken = |why: String| Missing::Broken(format!("cannot build a node image: {why}"));
    let work = tempfile::Builder::new()
        .prefix(".kind-node-")
        .tempdir_in(cache_dir())
        .map_err(|why| broken(why.to_string()))?;
    let unfinished = work.path().join("out.tar.zst");
    eprintln!("\nbuilding a node image into {}", archive.display());
    let mut command = Command::new(sources().join("build.sh"));
    run(command
        .arg(kubernetes)
        .arg(VERSION)
        .arg(work.path())
        .arg(&unfinished))
    .map_err(broken)?;
    fs::rename(&unfinished, archive).map_err(|why| broken(why.to_string()))?;
    eprintln!(
        "the node image was built in {:.0} s",
        started.elapsed().as_secs_f32()
    );
    Ok(())
}

fn load(engine: &Engine, archive: &Path) -> Result<(), String> {
    programs(&["zstd"]).map_err(|missing| format!("{missing:?}"))?;
    let mut unpack = Command::new("zstd")
        .arg("-dcq")
        .arg(archive)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|why| format!("cannot run zstd: {why}"))?;
    let output = engine
        .docker(&["load", "--quiet"])
        .stdin(unpack.stdout.take().unwrap())
        .output()
        .map_err(|why| format!("cannot run docker: {why}"))?;
    let unpacked = unpack.wait().map_err(|why| why.to_string())?;
    if output.status.success() && unpacked.success() {
        return Ok(());
    }
    Err(format!(
        "cannot load {}: {unpacked}, {}",
        archive.display(),
        String::from_utf8_lossy(&output.stderr)
    ))
}
