//! The setups that a golden file may name after `given:`. Each is one small change of the world before it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use kekring_kit::{Lacking, Missing, needs};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::forged::{asking_for_64_gib, of_a_newer_kekring};
use crate::support::immutable::Immutable;
use crate::support::{PATIENCE, Plugin, in_repository, shown, wait_until};

/// What a session runs in.
pub struct World {
    pub plugin: Plugin,
    /// Whether `--config` is put behind each command.
    pub configured: bool,
    /// The user that commands run as, if not this one.
    pub user: Option<u32>,
    tweaks: Value,
    held: Vec<Held>,
}

/// What lasts until the end of the session.
#[allow(dead_code)]
enum Held {
    Immutable(Immutable),
    File(fs::File),
    Listener(std::os::unix::net::UnixListener),
}

/// Every setup, with what it means.
type Setup = fn(&mut World) -> Result<(), Missing>;
pub const SETUPS: &[(&str, &str, Setup)] = &[
    ("nothing", "an empty directory, and no --config", |world| {
        fs::remove_file(&world.plugin.config).unwrap();
        world.configured = false;
        let none = !Path::new(kekring::config::DEFAULT_PATH).exists();
        none.or_needs(&format!("a machine without {}", kekring::config::DEFAULT_PATH))
    }),
    ("a configuration", "no ring, no root; --config names it", |_| {
        Ok(())
    }),
    ("a ring", "made by `init --no-recovery`", |world| {
        world.must(&["init", "--no-recovery"])
    }),
    (
        "a ring with a recovery code",
        "made by `init`, the code in <DIR>/code",
        |world| world.must(&["init", "--recovery-code-file", "code"]),
    ),
    ("a rotation", "`rotate` has been run", |world| {
        world.must(&["rotate"])
    }),
    (
        "a prepared rotation",
        "`rotate --prepare` has been run",
        |world| world.must(&["rotate", "--prepare"]),
    ),
    ("a server", "`serve` answers, and has said so", |world| {
        world.plugin.serve();
        let status = world.path("run/status.json");
        wait_until("a status without connections", PATIENCE, || {
            let text = fs::read(&status).unwrap_or_default();
            let status: Value = serde_json::from_slice(&text).unwrap_or_default();
            status["generation"].as_u64() > Some(0) && status["connections"] == json!([])
        });
        Ok(())
    }),
    (
        "a server without a ring to serve",
        "`serve` listens, and Status errs",
        |world| {
            world.plugin.spawn();
            let (socket, status) = (world.plugin.socket.clone(), world.path("run/status.json"));
            wait_until("the socket", PATIENCE, || {
                std::os::unix::net::UnixStream::connect(&socket).is_ok() && status.exists()
            });
            Ok(())
        },
    ),
    ("the server hangs", "it has got SIGSTOP", |world| {
        world.plugin.signal(Signal::STOP);
        Ok(())
    }),
    ("the server was killed", "its socket is still there", |world| {
        world.plugin.kill();
        Ok(())
    }),
    (
        "a foreign socket",
        "something listens at the socket's path",
        |world| {
            fs::create_dir_all(world.path("run")).unwrap();
            let listener = std::os::unix::net::UnixListener::bind(&world.plugin.socket).unwrap();
            world.held.push(Held::Listener(listener));
            Ok(())
        },
    ),
    ("a wrong root", "the root file holds other bytes", |world| {
        fs::write(world.path("root.key"), [9; 32]).unwrap();
        Ok(())
    }),
    ("no root", "the root file is gone", |world| {
        fs::remove_file(world.path("root.key")).unwrap();
        Ok(())
    }),
    ("an open root", "others can read the root file", |world| {
        chmod(&world.path("root.key"), 0o644);
        Ok(())
    }),
    (
        "another kind of root",
        "the configuration names a passphrase alone",
        |world| {
            by_passphrase(world);
            Ok(())
        },
    ),
    ("a suspended next key", "key 2 of a new ring", |world| {
        let next = world.plugin.json(&["status"])["next"]
            .as_str()
            .unwrap()
            .to_owned();
        world.must(&["keys", "suspend", &next])
    }),
    (
        "below mark",
        "rotated, and the newest generation is gone",
        |world| {
            world.must(&["rotate"])?;
            fs::remove_file(world.plugin.newest()).unwrap();
            Ok(())
        },
    ),
    ("ring gone", "the mark alone is there", |world| {
        fs::remove_file(world.plugin.newest()).unwrap();
        Ok(())
    }),
    (
        "a damaged newest",
        "one byte of the newest generation is another",
        |world| {
            let path = world.plugin.newest();
            let mut bytes = fs::read(&path).unwrap();
            bytes[60] ^= 1;
            fs::write(path, bytes).unwrap();
            Ok(())
        },
    ),
    (
        "another machine",
        "the machine id is another one than at `init`",
        |world| {
            fs::write(world.path("machine-id"), "another\n").unwrap();
            Ok(())
        },
    ),
    (
        "a read-only ring",
        "nobody can write in the ring's directory",
        |world| {
            let dir = world.path("ring");
            let immutable = Immutable::new(&dir)?;
            world.held.push(Held::Immutable(immutable));
            Ok(())
        },
    ),
    ("an open ring", "others can read the ring's directory", |world| {
        chmod(&world.path("ring"), 0o755);
        Ok(())
    }),
    (
        "a mirror that is away",
        "ring.mirror names a directory that is not there",
        |world| {
            world.tweaks["ring"]["mirror"] = json!(world.path("mirror"));
            world.plugin.configure(&world.tweaks.to_string());
            Ok(())
        },
    ),
    (
        "a second root",
        "second.key has a slot, and is configured",
        |world| {
            let roots = ["root.key", "second.key"].map(|name| json!({"file": {"path": world.path(name)}}));
            world.tweaks["ring"]["roots"] = json!(roots);
            world.plugin.configure(&world.tweaks.to_string());
            world.must(&["root", "add"])
        },
    ),
    ("a removed root", "the slot of root.key was removed", |world| {
        let slot = world.plugin.json(&["root", "list"])["slots"][0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        world.must(&["root", "remove", &slot])
    }),
    ("a third root", "third.key is configured and not there", |world| {
        let roots = ["root.key", "third.key"].map(|name| json!({"file": {"path": world.path(name)}}));
        world.tweaks["ring"]["roots"] = json!(roots);
        world.plugin.configure(&world.tweaks.to_string());
        Ok(())
    }),
    ("the second root is away", "its file is gone", |world| {
        fs::remove_file(world.path("second.key")).unwrap();
        Ok(())
    }),
    ("a mirror", "ring.mirror is there and up to date", |world| {
        let mirror = world.path("mirror");
        fs::create_dir(&mirror).unwrap();
        chmod(&mirror, 0o700);
        world.tweaks["ring"]["mirror"] = json!(mirror);
        world.plugin.configure(&world.tweaks.to_string());
        world.must(&["rotate"])
    }),
    ("a backup", "in <DIR>/backup, noted", |world| {
        world.must(&["backup", "backup"])
    }),
    (
        "a backup by hand",
        "in <DIR>/backup, a copy of the newest generation",
        |world| {
            fs::copy(world.plugin.newest(), world.path("backup")).unwrap();
            Ok(())
        },
    ),
    ("a damaged backup", "one byte of it is another", |world| {
        let mut bytes = fs::read(world.path("backup")).unwrap();
        bytes[60] ^= 1;
        fs::write(world.path("backup"), bytes).unwrap();
        Ok(())
    }),
    (
        "a fresh machine",
        "no ring, no mark; the root is there",
        |world| {
            fs::remove_dir_all(world.path("ring")).unwrap();
            Ok(())
        },
    ),
    (
        "the newest is lost",
        "the newest generation is gone, its mark is not",
        |world| {
            fs::remove_file(world.plugin.newest()).unwrap();
            Ok(())
        },
    ),
    (
        "another ring",
        "its backup is <DIR>/backup, under the same root",
        |world| {
            fs::rename(world.path("ring"), world.path("elsewhere")).unwrap();
            world.must(&["init", "--no-recovery"])?;
            world.must(&["backup", "backup"])?;
            fs::remove_dir_all(world.path("ring")).unwrap();
            fs::rename(world.path("elsewhere"), world.path("ring")).unwrap();
            Ok(())
        },
    ),
    ("a file in the way", "<DIR>/backup is something else", |world| {
        fs::write(world.path("backup"), "precious").unwrap();
        Ok(())
    }),
    (
        "a credential",
        "made by systemd-creds, and configured beside the root",
        |world| {
            let (plain, sealed) = (world.path("plain"), world.path("sealed"));
            fs::write(&plain, [3; 32]).unwrap();
            let mut command = std::process::Command::new("systemd-creds");
            command
                .args(["encrypt", "--with-key=host", "--name=kekring-root"])
                .arg(&plain)
                .arg(&sealed);
            let sealed_it = command.output().is_ok_and(|output| output.status.success());
            sealed_it.or_needs("systemd-creds, and root")?;
            world.tweaks["ring"]["roots"] = json!([
                {"file": {"path": world.path("root.key")}},
                {"credential": {"name": "kekring-root", "encryptedFile": sealed}},
            ]);
            world.plugin.configure(&world.tweaks.to_string());
            Ok(())
        },
    ),
    (
        "a systemd-creds that fails",
        "<DIR>/bin has one that cannot decrypt",
        |world| systemd_creds(world, "echo warming up >&2; echo no TPM here >&2; exit 1"),
    ),
    (
        "a systemd-creds that prints other things",
        "<DIR>/bin has one that prints 33 bytes",
        |world| systemd_creds(world, "echo 01234567890123456789012345678901"),
    ),
    (
        "the credential is another's",
        "its name is another one",
        |world| {
            world.tweaks["ring"]["roots"][1]["credential"]["name"] = json!("other");
            world.plugin.configure(&world.tweaks.to_string());
            Ok(())
        },
    ),
    ("a busy ring", "another process holds the ring's lock", |world| {
        let file = fs::File::open(world.path("ring/lock")).unwrap();
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        world.held.push(Held::File(file));
        Ok(())
    }),
    (
        "a newer kekring",
        "it has written a generation that this one must not read",
        |world| {
            let newer = of_a_newer_kekring(&fs::read(world.plugin.newest()).unwrap());
            let path = world.path("ring/gen-2-00112233.ring");
            fs::write(&path, newer).unwrap();
            chmod(&path, 0o600);
            Ok(())
        },
    ),
    (
        "nothing older",
        "the first generation is gone, its mark is not",
        |world| {
            for entry in fs::read_dir(world.path("ring")).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name().unwrap().to_string_lossy().starts_with("gen-1-") {
                    fs::remove_file(path).unwrap();
                }
            }
            Ok(())
        },
    ),
    (
        "the record of a backup alone",
        "generations and mark are gone",
        |world| {
            fs::remove_file(world.plugin.newest()).unwrap();
            fs::remove_file(world.path("ring/mark")).unwrap();
            Ok(())
        },
    ),
    (
        "a root that others can read",
        "32 bytes, made by hand, 0644",
        |world| {
            fs::write(world.path("root.key"), [9; 32]).unwrap();
            chmod(&world.path("root.key"), 0o644);
            Ok(())
        },
    ),
    (
        "a root with a line feed",
        "an editor has saved the root file",
        |world| {
            let mut bytes = fs::read(world.path("root.key")).unwrap();
            bytes.push(b'\n');
            fs::write(world.path("root.key"), bytes).unwrap();
            Ok(())
        },
    ),
    (
        "a dozen rotations",
        "`rotate` has been run twelve times",
        |world| (0..12).try_for_each(|_| world.must(&["rotate"])),
    ),
    (
        "a ring by passphrase",
        "made by `init --no-recovery`, a passphrase its only root",
        |world| {
            by_passphrase(world);
            world.must(&["init", "--no-recovery"])
        },
    ),
    ("another passphrase", "the file holds another one", |world| {
        fs::write(world.path("passphrase"), "correct horse battery stable").unwrap();
        Ok(())
    }),
    (
        "a slot that asks for 64 GiB",
        "somebody has raised the cost in it, and made the checksum fit",
        |world| {
            let path = world.plugin.newest();
            let bytes = asking_for_64_gib(&fs::read(&path).unwrap());
            fs::write(path, bytes).unwrap();
            Ok(())
        },
    ),
    (
        "another user",
        "commands run as user 65533, who may look into <DIR>",
        |world| {
            needs::root()?;
            chmod(&world.plugin.dir, 0o755);
            world.user = Some(65533);
            Ok(())
        },
    ),
];

impl World {
    pub fn new(config: &str) -> Self {
        let plugin = Plugin::unmade("{}");
        fs::write(plugin.dir.join("machine-id"), "one\n").unwrap();
        let mut tweaks = json!({"node": {"machineIdFile": plugin.dir.join("machine-id")}});
        let config = config.replace("<DIR>", plugin.dir.to_str().unwrap());
        let over = if config.is_empty() { "{}" } else { &config };
        crate::support::merge(&mut tweaks, serde_saphyr::from_str(over).unwrap());
        plugin.configure(&tweaks.to_string());
        Self {
            plugin,
            configured: true,
            user: None,
            tweaks,
            held: Vec::new(),
        }
    }

    /// Runs a setup; says what is missing where it cannot be had.
    pub fn give(&mut self, step: &str) -> Result<(), Missing> {
        let (_, _, setup) = SETUPS
            .iter()
            .find(|(name, _, _)| *name == step)
            .unwrap_or_else(|| panic!("there is no setup {step:?}; tests/cli/world.rs has them"));
        setup(self)
    }

    /// The places that commands and outcomes name.
    pub fn places(&self) -> [(&'static str, String); 2] {
        [
            ("<FILES>", in_repository("tests/cli/files").display().to_string()),
            ("<DIR>", self.plugin.dir.display().to_string()),
        ]
    }

    /// Every key of the ring, as long as it can be opened.
    pub fn keys(&self) -> String {
        let output = self.plugin.verb(&["keys", "list"]);
        String::from_utf8(output.stdout).unwrap()
    }

    /// Every root slot, as long as a header can be read.
    pub fn slots(&self) -> String {
        let output = self.plugin.verb(&["root", "list"]);
        String::from_utf8(output.stdout).unwrap()
    }

    fn must(&self, args: &[&str]) -> Result<(), Missing> {
        let mut command = self.plugin.command(args);
        let output = command.current_dir(&self.plugin.dir).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", shown(&output));
        Ok(())
    }

    fn path(&self, below: &str) -> PathBuf {
        self.plugin.dir.join(below)
    }
}

/// A credential beside the root, and something in the place of systemd-creds.
fn systemd_creds(world: &mut World, script: &str) -> Result<(), Missing> {
    let (bin, sealed) = (world.path("bin"), world.path("sealed"));
    fs::create_dir(&bin).unwrap();
    fs::write(&sealed, "sealed").unwrap();
    fs::write(bin.join("systemd-creds"), format!("#!/bin/sh\n{script}\n")).unwrap();
    chmod(&bin.join("systemd-creds"), 0o755);
    world.tweaks["ring"]["roots"] = json!([
        {"file": {"path": world.path("root.key")}},
        {"credential": {"name": "kekring-root", "encryptedFile": sealed}},
    ]);
    world.plugin.configure(&world.tweaks.to_string());
    Ok(())
}

/// Makes a passphrase the only root of the configuration.
fn by_passphrase(world: &mut World) {
    let path = world.path("passphrase");
    fs::write(&path, "correct horse battery staple").unwrap();
    chmod(&path, 0o600);
    world.tweaks["ring"] = json!({"roots": [{"passphrase": {"path": path}}]});
    world.plugin.configure(&world.tweaks.to_string());
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
