//! What may stand at the socket's path, and around it.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::client::Client;
use crate::support::{KEKRING, Killed, PATIENCE, Plugin, shown, wait_until};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Makes the socket's directory before the server does.
pub(crate) fn run_directory(plugin: &Plugin, mode: u32) {
    let dir = plugin.socket.parent().unwrap();
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(mode)).unwrap();
}

/// Runs `serve` to its end, which comes at once where it refuses.
fn refusal(plugin: &Plugin) -> (Option<i32>, String) {
    let said = plugin.dir.join("refusal");
    let server = plugin
        .command(&["serve"])
        .stderr(fs::File::create(&said).unwrap())
        .spawn();
    let mut server = Killed(server.unwrap());
    let mut ended = None;
    wait_until("the refusal", PATIENCE, || {
        ended = server.0.try_wait().unwrap();
        ended.is_some()
    });
    (ended.unwrap().code(), fs::read_to_string(said).unwrap())
}

#[test]
fn the_socket_has_its_final_mode_and_the_umask_does_not_matter() {
    for (configured, expected) in [("\"0600\"", 0o600), ("\"0660\"", 0o660)] {
        let plugin = Plugin::with(&format!("{{socket: {{mode: {configured}}}}}"));

        assert_eq!(mode(&plugin.socket), expected);
        assert_eq!(mode(plugin.socket.parent().unwrap()), 0o700);
    }
}

#[test]
#[needs(strace)]
fn the_socket_is_born_with_its_mode() {
    let plugin = Plugin::prepared("{}");
    // A signal that arrives during bind ends the server right after that call.
    let stopped = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=bind"])
        .args(["-e", "inject=bind:signal=SIGTERM:when=1"])
        .arg(KEKRING)
        .args(["serve", "--config"])
        .arg(&plugin.config)
        .output();
    let stopped = stopped.unwrap();
    assert!(stopped.status.code().is_none(), "{}", shown(&stopped));

    assert!(
        fs::symlink_metadata(&plugin.socket)
            .unwrap()
            .file_type()
            .is_socket()
    );
    assert_eq!(mode(&plugin.socket), 0o600);
}

#[test]
fn a_stale_socket_is_replaced() {
    let mut plugin = Plugin::start();
    plugin.kill();
    assert!(
        fs::symlink_metadata(&plugin.socket)
            .unwrap()
            .file_type()
            .is_socket()
    );

    plugin.serve();

    assert!(plugin.verb(&["probe", "--round-trip"]).status.success());
}

#[test]
fn a_live_server_is_never_displaced() {
    let plugin = Plugin::start();
    let before = fs::symlink_metadata(&plugin.socket).unwrap().ino();

    let (code, text) = refusal(&plugin);

    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("it was left alone") && text.contains("hint: "),
        "{text}"
    );
    assert_eq!(fs::symlink_metadata(&plugin.socket).unwrap().ino(), before);
    assert!(plugin.verb(&["probe"]).status.success());
}

#[test]
fn the_lock_keeps_a_second_start_out_before_there_is_a_socket_and_as_long_as_it_serves() {
    let mut plugin = Plugin::prepared("{}");
    run_directory(&plugin, 0o700);
    let lock = fs::File::create(plugin.socket.with_file_name("kms.sock.lock")).unwrap();
    lock.lock().unwrap();

    let (code, text) = refusal(&plugin);
    let bound = plugin.socket.exists();
    lock.unlock().unwrap();
    plugin.serve();
    let while_it_serves = lock.try_lock();

    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("another kekring holds"), "{text}");
    assert!(!bound);
    assert!(while_it_serves.is_err());
}

#[test]
fn somebody_elses_live_socket_is_left_alone_even_when_it_accepts_nothing() {
    let plugin = Plugin::prepared("{}");
    run_directory(&plugin, 0o700);
    let other = UnixListener::bind(&plugin.socket).unwrap();

    let (code, text) = refusal(&plugin);

    assert_eq!(code, Some(3));
    assert!(text.contains("another server is listening there"), "{text}");
    other.set_nonblocking(true).unwrap();
    assert!(plugin.socket.exists());
}

#[test]
fn a_foreign_file_at_the_path_is_left_alone() {
    for kind in ["file", "directory", "link"] {
        let plugin = Plugin::prepared("{}");
        run_directory(&plugin, 0o700);
        match kind {
            "file" => fs::write(&plugin.socket, "precious").unwrap(),
            "directory" => fs::create_dir(&plugin.socket).unwrap(),
            _ => std::os::unix::fs::symlink("/nowhere", &plugin.socket).unwrap(),
        }

        let (code, text) = refusal(&plugin);

        assert_eq!(code, Some(3), "{kind}: {text}");
        assert!(
            text.contains("no socket is there; it was left alone"),
            "{kind}: {text}"
        );
        assert!(fs::symlink_metadata(&plugin.socket).is_ok(), "{kind}");
    }
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    for mode in [0o777, 0o770, 0o702, 0o1777] {
        let plugin = Plugin::prepared("{}");
        run_directory(&plugin, mode);

        let (code, text) = refusal(&plugin);

        assert_eq!(code, Some(3), "{mode:o}: {text}");
        assert!(
            text.contains("could put another socket in its place"),
            "{mode:o}: {text}"
        );
    }
}

#[test]
fn a_parent_directory_that_others_can_write_is_refused() {
    let plugin = Plugin::prepared("{}");
    fs::set_permissions(&plugin.dir, fs::Permissions::from_mode(0o777)).unwrap();

    let (code, text) = refusal(&plugin);

    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("others can write"), "{text}");
}

#[test]
#[needs(root)]
fn a_directory_of_another_user_is_refused() {
    let plugin = Plugin::prepared("{}");
    run_directory(&plugin, 0o700);
    std::os::unix::fs::chown(plugin.socket.parent().unwrap(), Some(4711), None).unwrap();

    let (code, text) = refusal(&plugin);

    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("belongs to uid 4711"), "{text}");
}

#[test]
fn a_path_over_107_bytes_is_a_configuration_error() {
    let long = format!("/tmp/{}", "x".repeat(103));
    assert_eq!(long.len(), 108);
    let plugin = Plugin::unmade(&format!("{{socket: {{path: {long}}}}}"));

    let (code, text) = refusal(&plugin);

    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("108 bytes") && text.contains("at most 107"),
        "{text}"
    );
}

#[test]
fn a_socket_of_107_bytes_works() {
    let plugin = Plugin::prepared("{}");
    let dir = plugin.dir.join("run");
    let room = 107 - dir.as_os_str().len() - 1;
    let path = dir.join("s".repeat(room));
    plugin.configure(&format!("{{socket: {{path: {}}}}}", path.display()));
    let mut plugin = plugin;

    plugin.serve();

    assert!(path.exists());
}

#[test]
fn an_abstract_socket_is_a_configuration_error() {
    let plugin = Plugin::unmade("{socket: {path: \"@kekring\"}}");

    let (code, text) = refusal(&plugin);

    assert_eq!(code, Some(2));
    assert!(text.contains("abstract socket"), "{text}");
}

#[test]
fn a_removed_socket_is_bound_again_and_old_connections_go_on() {
    let plugin = Plugin::start();
    let before = Client::connect(&plugin.socket);
    before.status().unwrap();

    fs::remove_file(&plugin.socket).unwrap();

    wait_until("the socket to be back", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });
    assert_eq!(mode(&plugin.socket), 0o600);
    before.status().unwrap();
}

#[test]
fn a_removed_socket_directory_is_made_again() {
    let plugin = Plugin::start();

    fs::remove_dir_all(plugin.socket.parent().unwrap()).unwrap();

    wait_until("the socket to be back", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });
    assert_eq!(mode(plugin.socket.parent().unwrap()), 0o700);
}

#[test]
fn a_removed_socket_is_not_bound_again_where_others_could_replace_it() {
    let plugin = Plugin::start();
    let dir = plugin.socket.parent().unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    fs::remove_file(&plugin.socket).unwrap();

    wait_until("the refusal to be logged", PATIENCE, || {
        plugin.log().contains("others can write")
    });
    assert!(!plugin.socket.exists());

    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    wait_until("the socket to be back", PATIENCE, || plugin.socket.exists());
}
