//! Who gets in, and what may stand at the socket's path.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::client::Client;
use crate::support::{KEKRING, Killed, PATIENCE, Plugin, ignored, shown, wait_until};

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Makes the socket's directory before the server does.
fn run_directory(plugin: &Plugin, mode: u32) {
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
    if !stopped.as_ref().is_ok_and(|it| it.status.code().is_none()) {
        ignored("strace, and the right to trace");
        return;
    }

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
fn a_directory_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        ignored("root, to give a directory away");
        return;
    }
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

#[test]
fn what_is_no_http_2_is_closed_without_an_answer() {
    let plugin = Plugin::start();

    for garbage in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(),
        &[
            0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0,
        ],
        &[0; 64],
    ] {
        let mut stream = UnixStream::connect(&plugin.socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(garbage).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);

        assert!(answer.is_empty(), "{answer:?}");
    }
    assert!(plugin.verb(&["probe"]).status.success());
}

#[test]
fn a_client_that_does_not_begin_is_closed_and_others_are_served_meanwhile() {
    let plugin = Plugin::start();
    let mut slow = UnixStream::connect(&plugin.socket).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(b"PRI * HT").unwrap();

    let probe = plugin.verb(&["probe", "--round-trip"]);

    assert!(probe.status.success(), "{}", shown(&probe));
    assert_eq!(slow.read(&mut [0; 1]).unwrap(), 0, "closed by the deadline");
}

/// An open connection that asks nothing: what HTTP/2 begins with, and an empty SETTINGS frame (RFC 9113 §3.4).
fn idle(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1, "the server's own SETTINGS");
    stream
}

#[test]
fn a_connection_over_the_cap_is_told_so_and_those_below_go_on() {
    let plugin = Plugin::start();
    let first = Client::connect(&plugin.socket);
    first.status().unwrap();
    let mut held: Vec<UnixStream> = Vec::new();
    while held.len() < kekring::server::MAX_CONNECTIONS - 1 {
        held.push(idle(&plugin.socket));
    }

    let over = Client::connect(&plugin.socket).status().unwrap_err();

    assert_eq!(over.code(), tonic::Code::ResourceExhausted, "{over:?}");
    assert!(over.message().contains("too many connections"), "{over:?}");
    assert!(plugin.log().contains("too many connections"));
    first.status().unwrap();
    held.clear();
    wait_until("a place to be free", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });
}

#[test]
fn connections_far_over_the_cap_are_closed_without_a_word() {
    let plugin = Plugin::start();
    let _held: Vec<UnixStream> = (0..kekring::server::MAX_CONNECTIONS)
        .map(|_| idle(&plugin.socket))
        .collect();
    let told: Vec<UnixStream> = (0..kekring::server::MAX_TURNED_AWAY)
        .map(|_| UnixStream::connect(&plugin.socket).unwrap())
        .collect();

    let mut closed = UnixStream::connect(&plugin.socket).unwrap();
    closed.set_read_timeout(Some(PATIENCE)).unwrap();

    assert_eq!(closed.read(&mut [0; 1]).unwrap_or(0), 0);
    drop(told);
}

/// What systemd does: binds the socket, and passes it to the server as descriptor 3.
fn activate(plugin: &Plugin, listener: &UnixListener) -> Killed {
    let server = Command::new("/bin/sh")
        .arg("-c")
        .arg("exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve --config \"$1\"")
        .arg(KEKRING)
        .arg(&plugin.config)
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Killed(server.unwrap())
}

#[test]
fn a_socket_that_systemd_passes_in_is_served_and_left_in_place() {
    let mut plugin = Plugin::prepared("{}");
    run_directory(&plugin, 0o700);
    let listener = UnixListener::bind(&plugin.socket).unwrap();

    let first = activate(&plugin, &listener);
    wait_until("the first server", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });
    assert!(first.stop().success());
    assert!(plugin.socket.exists(), "the socket is systemd's");
    // Nobody serves now: a client waits in the socket's queue, and the next server answers it.
    let waiting = plugin
        .command(&["probe", "--timeout", "20s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let second = activate(&plugin, &listener);

    assert!(waiting.wait_with_output().unwrap().status.success());
    assert!(second.stop().success());
    drop(listener);
    // Without systemd the same path is bound by kekring itself.
    plugin.serve();
}

#[test]
fn an_activated_socket_that_was_removed_gets_a_second_one() {
    let plugin = Plugin::prepared("{}");
    run_directory(&plugin, 0o700);
    let listener = UnixListener::bind(&plugin.socket).unwrap();
    let _server = activate(&plugin, &listener);
    wait_until("the server", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });

    fs::remove_file(&plugin.socket).unwrap();

    wait_until("the socket to be back", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });
}

/// Lets every user reach the socket, as far as modes go; says how `probe` ends for a user.
fn probe_as_any_user(plugin: &Plugin) -> impl Fn(u32) -> Output {
    for (path, mode) in [
        (plugin.dir.as_path(), 0o755),
        (plugin.socket.parent().unwrap(), 0o755),
        (&plugin.socket, 0o777),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let binary = plugin.dir.join("kekring");
    fs::copy(KEKRING, &binary).unwrap();
    let socket = plugin.socket.clone();
    move |uid| {
        let mut command = Command::new(&binary);
        command
            .args(["probe", "--socket"])
            .arg(&socket)
            .uid(uid)
            .gid(uid)
            .env_clear()
            .current_dir("/");
        command.output().unwrap()
    }
}

#[test]
fn a_peer_of_another_user_is_refused_though_the_mode_would_let_it_in() {
    if !rustix::process::geteuid().is_root() {
        ignored("root, to become another user");
        return;
    }
    let plugin = Plugin::start();
    let probe_as = probe_as_any_user(&plugin);

    let stranger = probe_as(4711);

    assert!(!stranger.status.success());
    assert!(plugin.verb(&["probe"]).status.success());
    wait_until("the refusal to be logged", PATIENCE, || {
        plugin.log().contains("peer refused")
    });
    assert!(plugin.log().contains("uid=4711"), "{}", plugin.log());
    // It was closed before a byte was exchanged, not after.
    assert!(!plugin.log().contains("Status"), "{}", plugin.log());
}

#[test]
fn a_user_that_is_listed_gets_in_and_the_overflow_user_never_does() {
    if !rustix::process::geteuid().is_root() {
        ignored("root, to become another user");
        return;
    }
    let plugin = Plugin::with("{socket: {allowUsers: [0, 4711, 65534], allowGroups: [65534]}}");
    let probe_as = probe_as_any_user(&plugin);

    let (listed, overflow) = (probe_as(4711), probe_as(65534));

    assert!(listed.status.success(), "{}", shown(&listed));
    assert!(!overflow.status.success(), "{}", shown(&overflow));
}

#[test]
fn an_allow_list_is_the_whole_list() {
    let mut plugin = Plugin::prepared("{socket: {allowUsers: [4711]}}");
    plugin.spawn();
    wait_until("the socket", PATIENCE, || plugin.socket.exists());

    let probe = plugin.verb(&["probe", "--timeout", "5s"]);

    assert_eq!(probe.status.code(), Some(1), "{}", shown(&probe));
    assert!(plugin.log().contains("peer refused"));
}
