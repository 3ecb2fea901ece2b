//! Who gets in.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::client::Client;
use crate::path::run_directory;
use crate::support::{KEKRING, Killed, PATIENCE, Plugin, from_nowhere, shown, wait_until};

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

/// What HTTP/2 begins with, and an empty SETTINGS frame (RFC 9113 §3.4).
fn connect_by_hand(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    stream
}

/// An open connection that asks nothing.
pub fn idle(socket: &Path) -> UnixStream {
    let mut stream = connect_by_hand(socket);
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1, "the server's own SETTINGS");
    stream
}

/// A request for Status with another authority (RFC 9113 §6.2, RFC 7541 §6.2.1 without Huffman codes).
fn status_request(stream: u8, authority: &str) -> Vec<u8> {
    let path = "/v2.KeyManagementService/Status";
    let literal = |name: u8, value: &str| {
        let length = u8::try_from(value.len()).unwrap();
        [&[0x40 | name, length], value.as_bytes()].concat()
    };
    // Of the static table: `:method: POST`, `:scheme: http`; the names `:path` and `:authority`.
    let block = [vec![0x83, 0x86], literal(4, path), literal(1, authority)].concat();
    let length = u8::try_from(block.len()).unwrap();
    [&[0, 0, length, 1, 5, 0, 0, 0, stream], block.as_slice()].concat()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];

/// Reads frames until one is of this type; its payload.
fn frame(stream: &mut UnixStream, kind: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).unwrap();
        if head[3] == kind {
            return payload;
        }
    }
}

#[test]
fn a_client_that_http_2_refuses_is_named_once_and_others_are_served() {
    let plugin = Plugin::start();
    let said = "HTTP/2 refuses this client's requests (PROTOCOL_ERROR)";
    let authority = plugin.socket.to_str().unwrap();

    let mut old = connect_by_hand(&plugin.socket);
    for number in [1, 3, 5] {
        old.write_all(&status_request(number, authority)).unwrap();
        assert_eq!(frame(&mut old, RST_STREAM), PROTOCOL_ERROR);
    }
    let mut another = connect_by_hand(&plugin.socket);
    another.write_all(&status_request(1, authority)).unwrap();
    assert_eq!(frame(&mut another, RST_STREAM), PROTOCOL_ERROR);

    Client::connect(&plugin.socket).status().unwrap();
    wait_until("the cause to be logged", PATIENCE, || plugin.log().contains(said));
    assert!(plugin.log().contains("Kubernetes before 1.32"));
    // At most one line in ten seconds.
    assert_eq!(plugin.log().matches(said).count(), 1, "{}", plugin.log());
}

#[test]
fn a_client_that_is_served_is_not_called_old() {
    let mut plugin = Plugin::start();

    let mut stream = connect_by_hand(&plugin.socket);
    stream.write_all(&status_request(1, "localhost")).unwrap();
    let answer = frame(&mut stream, HEADERS);
    stream.write_all(&status_request(3, "/a/path")).unwrap();

    assert_eq!(frame(&mut stream, RST_STREAM), PROTOCOL_ERROR);
    assert!(!answer.is_empty());
    drop(stream);
    assert!(plugin.stop().success());
    assert!(!plugin.log().contains("HTTP/2 refuses"), "{}", plugin.log());
}

#[test]
fn a_connection_over_the_cap_takes_the_place_of_one_that_never_asked() {
    let plugin = Plugin::start();
    let first = Client::connect(&plugin.socket);
    first.status().unwrap();
    let mut held: Vec<UnixStream> = Vec::new();
    while held.len() < kekring::server::MAX_CONNECTIONS - 1 {
        held.push(idle(&plugin.socket));
    }

    Client::connect(&plugin.socket).status().unwrap();

    // The oldest of those, and not the one that has asked and is older.
    assert!(is_closed(&mut held[0]));
    let probe = plugin.verb(&["probe", "--round-trip"]);
    assert!(probe.status.success(), "another process: {}", shown(&probe));
    first.status().unwrap();
    wait_until("the log to name the process", PATIENCE, || {
        let who = format!(
            "closed for a newcomer peer=uid={},pid={} ",
            rustix::process::geteuid().as_raw(),
            std::process::id()
        );
        plugin.log().contains(&who)
    });
}

/// Whether the server closes it; it has said all else before.
fn is_closed(stream: &mut UnixStream) -> bool {
    stream.read_to_end(&mut Vec::new()).is_ok()
}

#[test]
fn a_process_that_asks_on_every_connection_there_is_keeps_no_other_out() {
    let plugin = Plugin::start();
    let _held = asking(&plugin.socket);

    for _ in 0..5 {
        let probe = plugin.verb(&["probe", "--round-trip"]);

        assert!(probe.status.success(), "{}", shown(&probe));
    }
}

/// As many connections as there can be, each of which has asked for Status just now.
fn asking(socket: &Path) -> Vec<UnixStream> {
    let ask = |_| {
        let mut stream = connect_by_hand(socket);
        stream.write_all(&status_request(1, "localhost")).unwrap();
        frame(&mut stream, HEADERS);
        stream
    };
    (0..kekring::server::MAX_CONNECTIONS).map(ask).collect()
}

/// A server that sees of no client which process it is, as in a container.
fn serve_in_a_pid_namespace(plugin: &Plugin) -> Killed {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", KEKRING, "serve", "--config"]);
    from_nowhere(command.arg(&plugin.config));
    let log = fs::File::create(plugin.dir.join("serve.log")).unwrap();
    let mut server = Killed(command.stderr(log).stdout(Stdio::null()).spawn().unwrap());
    wait_until("the server", PATIENCE, || {
        assert!(server.0.try_wait().unwrap().is_none(), "{}", plugin.log());
        plugin.verb(&["probe"]).status.success()
    });
    server
}

#[test]
#[needs(process_namespace)]
fn a_connection_over_the_cap_is_told_so_where_nobody_can_be_spared() {
    let plugin = Plugin::prepared("{}");
    let _server = serve_in_a_pid_namespace(&plugin);
    let first = Client::connect(&plugin.socket);
    first.status().unwrap();
    let mut held = asking(&plugin.socket);

    let over = Client::connect(&plugin.socket).status().unwrap_err();

    assert_eq!(over.code(), tonic::Code::ResourceExhausted, "{over:?}");
    assert!(over.message().contains("too many connections"), "{over:?}");
    wait_until("the log to say so", PATIENCE, || {
        plugin.log().contains("too many connections")
    });
    first.status().unwrap();
    held.clear();
    wait_until("a place to be free", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });
}

#[test]
#[needs(process_namespace)]
fn connections_far_over_the_cap_are_closed_without_a_word() {
    let plugin = Plugin::prepared("{}");
    let _server = serve_in_a_pid_namespace(&plugin);
    let _held = asking(&plugin.socket);
    let told: Vec<UnixStream> = (0..kekring::server::MAX_TURNED_AWAY)
        .map(|_| UnixStream::connect(&plugin.socket).unwrap())
        .collect();

    let mut closed = UnixStream::connect(&plugin.socket).unwrap();
    closed.set_read_timeout(Some(PATIENCE)).unwrap();

    assert_eq!(closed.read(&mut [0; 1]).unwrap_or(0), 0);
    drop(told);
}

#[test]
fn a_socket_that_systemd_passes_in_is_served_and_left_in_place() {
    let mut plugin = Plugin::prepared("{}");
    run_directory(&plugin, 0o700);
    let listener = UnixListener::bind(&plugin.socket).unwrap();

    let first = plugin.activate(&listener);
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
    let second = plugin.activate(&listener);

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
    let _server = plugin.activate(&listener);
    wait_until("the server", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });

    fs::remove_file(&plugin.socket).unwrap();

    wait_until("the socket to be back", PATIENCE, || {
        plugin.verb(&["probe"]).status.success()
    });
}

#[test]
fn the_successor_of_an_activated_server_replaces_a_second_socket_that_nobody_serves() {
    let plugin = Plugin::prepared("{}");
    run_directory(&plugin, 0o700);
    let listener = UnixListener::bind(&plugin.socket).unwrap();
    let answers = || plugin.verb(&["probe"]).status.success();
    let first = plugin.activate(&listener);
    wait_until("the first server", PATIENCE, answers);
    fs::remove_file(&plugin.socket).unwrap();
    wait_until("the second socket", PATIENCE, answers);

    assert!(first.stop().success());
    let second = plugin.activate(&listener);
    wait_until("the second server", PATIENCE, answers);
    // This one cannot even say goodbye.
    drop(second);
    let _third = plugin.activate(&listener);

    wait_until("the third server", PATIENCE, answers);
}

/// Lets every user reach the socket, as far as modes go; says how `probe` ends for a user.
pub(crate) fn probe_as_any_user(plugin: &Plugin) -> impl Fn(u32) -> Output + use<> {
    for (path, mode) in [
        (plugin.dir.as_path(), 0o755),
        (plugin.socket.parent().unwrap(), 0o755),
        (&plugin.socket, 0o777),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let binary = plugin.dir.join("kekring");
    // By another process: one of ours that is forked meanwhile would hold it open for writing.
    let copied = Command::new("cp").arg(KEKRING).arg(&binary).status();
    assert!(copied.unwrap().success());
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
#[needs(root)]
fn a_peer_of_another_user_is_refused_though_the_mode_would_let_it_in() {
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
fn an_allow_list_is_the_whole_list() {
    let mut plugin = Plugin::prepared("{socket: {allowUsers: [4711]}}");
    plugin.spawn();
    wait_until("the socket", PATIENCE, || plugin.socket.exists());

    let probe = plugin.verb(&["probe", "--timeout", "5s"]);

    assert_eq!(probe.status.code(), Some(3), "{}", shown(&probe));
    wait_until("the refusal to be logged", PATIENCE, || {
        plugin.log().contains("peer refused")
    });
}
