//! The service runs as a user of its own, and an operator runs the verbs as root: what root writes the service can read.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{KEKRING, Killed, PATIENCE, Plugin, from_nowhere, shown, wait_until};

/// Some user without a name; not 65534, which is refused as a peer.
const SERVICE: u32 = 64_999;

/// Directories of the service's own, as a package makes them, and nothing in them.
fn prepared() -> Plugin {
    let plugin = Plugin::unmade("{}");
    fs::set_permissions(&plugin.dir, fs::Permissions::from_mode(0o755)).unwrap();
    for dir in ["ring", "mirror", "run"] {
        let dir = plugin.dir.join(dir);
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&dir, Some(SERVICE), Some(SERVICE)).unwrap();
    }
    configure(&plugin, &["root.key"]);
    plugin
}

fn configure(plugin: &Plugin, roots: &[&str]) {
    plugin.configure_mirrored(roots);
    fs::set_permissions(&plugin.config, fs::Permissions::from_mode(0o644)).unwrap();
}

fn serve(plugin: &Plugin) -> Killed {
    let mut command = plugin.command(&["serve"]);
    command.uid(SERVICE).gid(SERVICE).stderr(Stdio::null());
    let server = Killed(command.spawn().unwrap());
    wait_until("the service to answer", PATIENCE, || {
        plugin.verb(&["probe", "--round-trip"]).status.success()
    });
    server
}

#[track_caller]
fn must(plugin: &Plugin, args: &[&str]) {
    let output = plugin.verb(args);
    assert!(output.status.success(), "{args:?}: {}", shown(&output));
}

fn of_the_service(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        assert_eq!(metadata.uid(), SERVICE, "{}", entry.path().display());
        assert_eq!(metadata.mode() & 0o777, 0o600, "{}", entry.path().display());
    }
}

#[test]
#[needs(root)]
fn whatever_root_does_to_the_ring_the_service_can_still_open_it() {
    let plugin = prepared();
    must(&plugin, &["init", "--no-recovery"]);
    let server = serve(&plugin);
    configure(&plugin, &["root.key", "second.key"]);
    let key = plugin.json(&["status"])["active"].as_str().unwrap().to_owned();
    let backup = plugin.dir.join("backup").display().to_string();
    let slot = |at: usize| {
        plugin.json(&["root", "list"])["slots"][at]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };

    must(&plugin, &["rotate"]);
    must(&plugin, &["rotate", "--fresh"]);
    must(&plugin, &["keys", "suspend", &key]);
    must(&plugin, &["keys", "resume", &key]);
    must(&plugin, &["root", "add"]);
    // It knows the roots that were configured when it started.
    assert!(server.stop().success());
    let server = serve(&plugin);
    must(&plugin, &["backup", &backup]);
    must(&plugin, &["root", "remove", &slot(0)]);
    must(&plugin, &["restore", &backup]);
    must(&plugin, &["restore", "--adopt"]);

    of_the_service(&plugin.dir.join("ring"));
    of_the_service(&plugin.dir.join("mirror"));
    for root in ["root.key", "second.key"] {
        assert_eq!(
            fs::metadata(plugin.dir.join(root)).unwrap().uid(),
            SERVICE,
            "{root}"
        );
    }
    must(&plugin, &["probe", "--round-trip"]);
    assert!(server.stop().success());
    drop(serve(&plugin));
}

#[test]
#[needs(root, "setpriv")]
fn root_that_cannot_give_files_away_refuses_to_write() {
    let plugin = prepared();
    must(&plugin, &["init", "--no-recovery"]);
    let before = fs::read_dir(plugin.dir.join("ring")).unwrap().count();
    let mut bound = Command::new("setpriv");
    from_nowhere(&mut bound);
    bound.args([
        "--bounding-set=-chown",
        "--inh-caps=-chown",
        KEKRING,
        "rotate",
        "--config",
    ]);
    let output = bound.arg(&plugin.config).output().unwrap();

    assert_eq!(output.status.code(), Some(3), "{}", shown(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cannot give files to others"), "{text}");
    assert_eq!(fs::read_dir(plugin.dir.join("ring")).unwrap().count(), before);
}
