//! `init`: once, with a recovery code, and never over anything.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use crate::assert_error;
use crate::support::Plugin;

#[test]
fn makes_a_ring_a_root_and_a_recovery_code() {
    let plugin = Plugin::unmade("{}");
    let code = plugin.dir.join("code");

    let made = plugin.json(&["init", "--recovery-code-file", code.to_str().unwrap()]);

    assert_eq!(made["generation"], 1);
    assert!(made["active"].as_str().unwrap().starts_with("k1-"));
    assert!(made["next"].as_str().unwrap().starts_with("k2-"));
    assert_eq!(made["slots"].as_array().unwrap().len(), 2);
    assert_eq!(made["warnings"].as_array().unwrap().len(), 0);
    for (path, mode) in [("code", 0o600), ("root.key", 0o600), ("ring", 0o700)] {
        assert_eq!(
            fs::metadata(plugin.dir.join(path)).unwrap().mode() & 0o777,
            mode,
            "{path}"
        );
    }
    assert_eq!(fs::read(plugin.dir.join("root.key")).unwrap().len(), 32);
}

#[test]
fn the_recovery_code_opens_the_ring_when_the_root_is_lost() {
    let mut plugin = Plugin::unmade("{}");
    let code = plugin.dir.join("code");
    assert!(
        plugin
            .verb(&["init", "--recovery-code-file", code.to_str().unwrap()])
            .status
            .success()
    );
    let active = plugin.json(&["status"])["active"].clone();
    fs::remove_file(plugin.dir.join("root.key")).unwrap();
    assert_error(&plugin.verb(&["keys", "list"]), 1, "root.key");

    let typed = fs::read_to_string(&code)
        .unwrap()
        .to_lowercase()
        .replace('-', " ");
    fs::write(&code, typed).unwrap();
    plugin.configure(&format!(
        "{{ring: {{roots: [{{passphrase: {{path: {}}}}}]}}}}",
        code.display()
    ));
    plugin.serve();

    assert_eq!(plugin.json(&["status"])["nodes"][0]["active"], active);
    assert!(plugin.verb(&["rotate"]).status.success());
}

#[test]
fn without_a_terminal_it_wants_to_be_told_where_the_code_goes() {
    let plugin = Plugin::unmade("{}");

    assert_error(&plugin.verb(&["init"]), 2, "this is no terminal");
    assert!(!plugin.dir.join("ring").exists() && !plugin.dir.join("root.key").exists());
}

#[test]
fn an_existing_recovery_file_is_left_alone_and_nothing_else_is_made() {
    let plugin = Plugin::unmade("{}");
    let code = plugin.dir.join("code");
    fs::write(&code, "precious").unwrap();

    assert_error(
        &plugin.verb(&["init", "--recovery-code-file", code.to_str().unwrap()]),
        1,
        "exists already",
    );
    assert_eq!(fs::read_to_string(&code).unwrap(), "precious");
    assert!(!plugin.dir.join("root.key").exists(), "what it made, it removes");
}

#[test]
fn refuses_where_anything_suggests_that_a_ring_exists() {
    let ring = Plugin::prepared("{}");
    assert_error(&ring.verb(&["init", "--no-recovery"]), 3, "there is already");

    let mark = Plugin::prepared("{}");
    for entry in fs::read_dir(mark.dir.join("ring")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some() {
            fs::remove_file(path).unwrap();
        }
    }
    assert_error(&mark.verb(&["init", "--no-recovery"]), 3, "mark");

    let mirror = Plugin::unmade("{}");
    mirror.configure(&format!(
        "{{ring: {{mirror: {}}}}}",
        ring.dir.join("ring").display()
    ));
    assert_error(&mirror.verb(&["init", "--no-recovery"]), 3, "there is already");

    let socket = Plugin::unmade("{}");
    fs::create_dir(socket.socket.parent().unwrap()).unwrap();
    let _server = UnixListener::bind(&socket.socket).unwrap();
    assert_error(
        &socket.verb(&["init", "--no-recovery"]),
        3,
        "a server that answers",
    );
    assert!(!socket.dir.join("root.key").exists());
}

#[test]
fn an_existing_root_is_used_and_not_changed() {
    let plugin = Plugin::unmade("{}");
    let root = plugin.dir.join("root.key");
    fs::write(&root, [7; 32]).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o600)).unwrap();

    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());

    assert_eq!(fs::read(&root).unwrap(), [7; 32]);
    assert!(plugin.verb(&["keys", "list"]).status.success());
}
