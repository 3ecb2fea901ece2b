//! What every node is made of: an engine, an image that it has, and the program under test.

use std::path::{Path, PathBuf};
use std::process::Command;

use kekring_kit::Missing;
use kekring_kit::needs::programs;

use crate::cluster::in_repository;
use crate::engine::Engine;
use crate::node_image::NodeImage;
use crate::run::run;

pub struct Ground {
    pub engine: Engine,
    pub image: NodeImage,
    pub binary: PathBuf,
}

impl Ground {
    pub fn find_or_make() -> Result<Self, Missing> {
        let engine = Engine::find_or_start()?;
        let image = NodeImage::find(&engine)?;
        let binary = static_program().map_err(Missing::Broken)?;
        Ok(Self {
            engine,
            image,
            binary,
        })
    }
}

/// The program under test, linked statically. Without what a debugger reads, which would be most of the image.
fn static_program() -> Result<PathBuf, String> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if programs(&["rustup"]).is_ok() {
        run(Command::new("rustup").args(["target", "add", &target]))?;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("");
    let name = target.replace('-', "_");
    // As `deploy/container/image.sh` does it: the C and the assembly of ring call no C library.
    run(Command::new(env!("CARGO"))
        .env(
            format!("CC_{name}"),
            std::env::var_os("CC").unwrap_or("cc".into()),
        )
        .env(format!("CFLAGS_{name}"), "-U_FORTIFY_SOURCE")
        .args(["build", "--locked", "--bin", "kekring", "--target", &target])
        .arg("--manifest-path")
        .arg(in_repository("Cargo.toml"))
        .arg("--target-dir")
        .arg(&dir)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols"))?;
    Ok(dir.join(target).join("debug/kekring"))
}
