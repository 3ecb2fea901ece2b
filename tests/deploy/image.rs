//! The container image, as image.sh makes it. Its program is a stand-in here, linked as kekring's own is; a release,
//! of which `release.rs` makes two, has kekring's own.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use data_encoding::HEXLOWER;
use kekring_kit::{Lacking, Missing};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::archive::{Entry, Kind, entries};
use crate::support::{in_repository, scratch, shown};

/// The image's own user.
const USER: u64 = 65532;

#[test]
fn the_image_holds_one_program_and_nothing_else_that_runs() -> Result<(), Missing> {
    let scratch = scratch();
    let program = stand_in(scratch.path())?;

    let image = Image::made(&program, scratch.path());

    let layer = entries(image.layer());
    let names: Vec<&str> = layer.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "etc",
            "etc/group",
            "etc/kekring",
            "etc/passwd",
            "run",
            "usr",
            "usr/bin",
            "usr/bin/kekring",
            "usr/share",
            "usr/share/licenses",
            "usr/share/licenses/kekring",
            "usr/share/licenses/kekring/LICENSE",
            "var",
            "var/lib",
            "run/kekring",
            "var/lib/kekring",
        ]
    );
    for entry in &layer {
        assert_eq!(entry.modified, 0, "{}", entry.name);
        assert_eq!((entry.mode, entry.owner), rights(entry), "{}", entry.name);
    }
    let found = layer
        .iter()
        .find(|entry| entry.name == "usr/bin/kekring")
        .unwrap();
    assert_eq!(found.bytes, fs::read(program).unwrap());
    Ok(())
}

#[test]
fn the_image_says_what_to_run_as_whom_and_which_version_it_is() -> Result<(), Missing> {
    let scratch = scratch();
    let program = stand_in(scratch.path())?;

    let image = Image::made(&program, scratch.path());

    let config = image.config();
    let run = &config["config"];
    assert_eq!(run["User"], format!("{USER}:{USER}"));
    assert_eq!(run["Entrypoint"], serde_json::json!(["/usr/bin/kekring"]));
    assert_eq!(run["Cmd"], serde_json::json!(["serve"]));
    // `kubectl exec` and the probes of the manifest say `kekring`.
    assert_eq!(run["Env"], serde_json::json!(["PATH=/usr/bin"]));
    let labels = &run["Labels"];
    assert_eq!(
        labels["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(labels["org.opencontainers.image.title"], "kekring");
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
    let expected = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    assert_eq!(config["architecture"], expected);
    assert_eq!(config["os"], "linux");
    Ok(())
}

#[test]
fn every_digest_in_the_archive_is_the_digest_of_what_it_names() -> Result<(), Missing> {
    let scratch = scratch();
    let program = stand_in(scratch.path())?;

    let image = Image::made(&program, scratch.path());

    let index = image.json("index.json");
    let manifest = image.blob(&index["manifests"][0]);
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layer = digest(image.blob(&manifest["layers"][0]));
    let config: Value = serde_json::from_slice(image.blob(&manifest["config"])).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], layer);
    for (name, entry) in &image.files {
        if let Some(hash) = name.strip_prefix("blobs/sha256/") {
            assert_eq!(digest(&entry.bytes), format!("sha256:{hash}"));
        }
    }
    let name = &index["manifests"][0]["annotations"]["io.containerd.image.name"];
    assert_eq!(name, "docker.io/library/kekring:test");
    let docker = &image.json("manifest.json")[0];
    assert_eq!(docker["RepoTags"][0], "kekring:test");
    assert_eq!(docker["Config"], blob_name(&manifest["config"]));
    assert_eq!(docker["Layers"][0], blob_name(&manifest["layers"][0]));
    assert_eq!(image.json("oci-layout")["imageLayoutVersion"], "1.0.0");
    Ok(())
}

#[test]
fn one_program_gives_one_image_wherever_and_whenever_it_is_made() -> Result<(), Missing> {
    let scratch = scratch();
    let program = stand_in(scratch.path())?;
    let (here, there) = (scratch.path().join("here.tar"), scratch.path().join("there.tar"));
    let elsewhere = scratch.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let touched = elsewhere.join("another-name");
    fs::copy(&program, &touched).unwrap();

    let first = image_sh(&["--binary", text(&program), "--tag", "kekring:test", text(&here)]);
    let mut second = Command::new("sh");
    second
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(in_repository("deploy/container/image.sh"))
        .args(["--tag", "kekring:test", "--binary"])
        .arg(&touched)
        .arg(&there)
        .current_dir(&elsewhere)
        .env("TMPDIR", &elsewhere)
        .env("TZ", "Asia/Tokyo")
        .env("LANG", "tr_TR.UTF-8");
    let second = second.output().unwrap();

    assert!(first.status.success(), "{}", shown(&first));
    assert!(second.status.success(), "{}", shown(&second));
    assert_eq!(fs::read(&here).unwrap(), fs::read(&there).unwrap());
    assert_eq!(last_word(&first), last_word(&second));
    let image = Image::read(&here);
    assert_eq!(
        last_word(&first),
        image.json("index.json")["manifests"][0]["digest"]
    );
    Ok(())
}

#[test]
fn a_program_that_needs_a_loader_is_refused() -> Result<(), Missing> {
    let scratch = scratch();
    let out = scratch.path().join("image.tar");
    let dynamic = interpreter(&fs::read("/bin/sh").unwrap()).is_some();
    dynamic.or_needs("a /bin/sh that is linked dynamically")?;

    let output = image_sh(&["--binary", "/bin/sh", text(&out)]);

    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("linked dynamically"),
        "{}",
        shown(&output)
    );
    assert!(!out.exists());
    Ok(())
}

#[test]
fn what_is_no_command_line_of_image_sh_is_told_the_right_one() {
    for wrong in [
        &[][..],
        &["--binary"],
        &["--colour", "out.tar"],
        &["a.tar", "b.tar"],
    ] {
        let output = image_sh(wrong);

        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", shown(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("image.sh [--binary FILE]"), "{said}");
    }
}

/// Who may do what with an entry of the layer.
fn rights(entry: &Entry) -> (u64, (u64, u64)) {
    match entry.name.as_str() {
        "run/kekring" | "var/lib/kekring" => (0o700, (USER, USER)),
        "usr/bin/kekring" => (0o755, (0, 0)),
        _ if entry.kind == Kind::Directory => (0o755, (0, 0)),
        _ => (0o644, (0, 0)),
    }
}

/// An archive, taken apart.
pub(crate) struct Image {
    files: HashMap<String, Entry>,
}

impl Image {
    /// The image of a program, made by image.sh.
    fn made(program: &Path, dir: &Path) -> Self {
        let out = dir.join("image.tar");
        let output = image_sh(&["--binary", text(program), "--tag", "kekring:test", text(&out)]);
        assert!(output.status.success(), "{}", shown(&output));
        Self::read(&out)
    }

    pub(crate) fn read(path: &Path) -> Self {
        let entries = entries(&fs::read(path).unwrap());
        let files = entries.into_iter().map(|entry| (entry.name.clone(), entry));
        Self {
            files: files.collect(),
        }
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.files[name].bytes).unwrap()
    }

    /// What a descriptor names; it has the size that it says.
    fn blob(&self, descriptor: &Value) -> &[u8] {
        let name = blob_name(descriptor);
        let bytes = &self.files[&name].bytes;
        assert_eq!(descriptor["size"], bytes.len(), "{name}");
        bytes
    }

    fn config(&self) -> Value {
        let docker = &self.json("manifest.json")[0];
        self.json(docker["Config"].as_str().unwrap())
    }

    pub(crate) fn layer(&self) -> &[u8] {
        let docker = &self.json("manifest.json")[0];
        &self.files[docker["Layers"][0].as_str().unwrap()].bytes
    }

    /// kekring's own program.
    pub(crate) fn program(&self) -> Vec<u8> {
        let layer = entries(self.layer());
        let found = layer.into_iter().find(|entry| entry.name == "usr/bin/kekring");
        found.unwrap().bytes
    }
}

/// Where the archive has what a descriptor names.
fn blob_name(descriptor: &Value) -> String {
    let digest = descriptor["digest"].as_str().unwrap();
    digest.replace("sha256:", "blobs/sha256/")
}

/// The path of a program's loader: where there is one, it cannot run alone.
pub(crate) fn interpreter(elf: &[u8]) -> Option<String> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| {
        let field = elf[at..at + bytes].iter().rev();
        field.fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let index = |value: u64| usize::try_from(value).unwrap();
    assert_eq!(&elf[..5], b"\x7fELF\x02", "no program of 64 bits");
    let (table, size, count) = (index(number(32, 8)), index(number(54, 2)), number(56, 2));
    (0..index(count))
        .map(|nth| table + nth * size)
        .find(|at| number(*at, 4) == PT_INTERP)
        .map(|at| {
            let (from, length) = (index(number(at + 8, 8)), index(number(at + 32, 8)));
            String::from_utf8_lossy(&elf[from..from + length]).into_owned()
        })
}

/// A program that is linked as kekring's own is.
fn stand_in(dir: &Path) -> Result<PathBuf, Missing> {
    let program = dir.join("program");
    fs::write(dir.join("program.rs"), "fn main() {}").unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc
        .args(["--target", &target(), "-Clinker=rust-lld", "-o"])
        .arg(&program)
        .arg(dir.join("program.rs"));
    let linked = rustc.output().is_ok_and(|output| output.status.success());
    linked.or_needs("rustc with the target for musl: rustup target add")?;
    Ok(program)
}

fn target() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

pub(crate) fn image_sh(args: &[&str]) -> Output {
    let mut command = Command::new(in_repository("deploy/container/image.sh"));
    command.args(args).output().unwrap()
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(bytes)))
}

fn last_word(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split_whitespace().last().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
