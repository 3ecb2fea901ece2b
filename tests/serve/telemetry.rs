//! The telemetry listener: what it answers, and that nothing which happens to it disturbs the socket.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::Instant;

use kekring::server::web::MAX_SCRAPES;
use rustix::net::{AddressFamily, SocketType};
use serde_json::Value;

use crate::client::Client;
use crate::path::run_directory;
use crate::support::scrape::{self, Scrape};
use crate::support::{Killed, PATIENCE, Plugin, kekring, scratch, shown, wait_until};

/// Some free port, which the log and status.json name.
pub const ON: &str = "{telemetry: {listen: '127.0.0.1:0'}}";

fn code(address: &str, path: &str) -> Option<u16> {
    scrape::get(address, path).ok().map(|page| page.status)
}

/// A connection that has sent these bytes and waits.
fn open(address: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.write_all(bytes);
    stream
}

/// What comes until the other side closes, which it must; how it closes does not count.
fn rest_of(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(why) = stream.read_to_end(&mut answer) {
        assert!(!is_timeout(&why), "it stays open: {why}");
    }
    String::from_utf8(answer).unwrap()
}

fn is_timeout(why: &io::Error) -> bool {
    matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[test]
fn it_answers_three_paths_to_get_and_head_and_nothing_else() {
    let plugin = Plugin::with(ON);
    let address = plugin.telemetry();

    for path in ["/livez", "/readyz", "/readyz?verbose", "/metrics", "/metrics?x=y"] {
        let (page, head) = (
            scrape::get(&address, path).unwrap(),
            scrape::request("HEAD", &address, path).unwrap(),
        );
        assert_eq!((page.status, head.status), (200, 200), "{path}");
        assert!(!page.body.is_empty() && head.body.is_empty(), "{path}");
    }
    for path in [
        "/",
        "/metrics/",
        "/readyz/ring",
        "/debug/pprof",
        "//livez",
        "/LIVEZ",
    ] {
        assert_eq!(code(&address, path), Some(404), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "RELOAD"] {
        let page = scrape::request(method, &address, "/metrics").unwrap();
        assert_eq!(page.status, 405, "{method}");
    }
}

#[test]
fn what_is_no_http_1_and_a_head_over_8_kib_get_no_page() {
    let plugin = Plugin::with(ON);
    let address = plugin.telemetry();
    let huge = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
        "x".repeat(20_000)
    );
    let many = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        "X: y\r\n".repeat(65)
    );

    for bytes in [
        huge.as_bytes(),
        many.as_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0],
        &[0; 64],
    ] {
        let answer = rest_of(open(&address, bytes));

        assert!(!answer.contains("200 OK"), "{answer}");
    }
    assert_eq!(code(&address, "/livez"), Some(200));
}

#[test]
fn readiness_is_that_of_status_and_names_the_cause() {
    let mut plugin = Plugin::prepared(ON);
    let (root, away) = (plugin.dir.join("root.key"), plugin.dir.join("away"));
    fs::rename(&root, &away).unwrap();
    plugin.spawn();
    let address = plugin.telemetry();
    let client = Client::connect(&plugin.socket);

    let cause = client.status().unwrap_err().message().to_owned();
    let ready = scrape::get(&address, "/readyz").unwrap();
    let verbose = scrape::get(&address, "/readyz?verbose").unwrap();

    assert!(cause.contains("root.key"), "{cause}");
    assert_eq!((ready.status, ready.body), (503, format!("{cause}\n")));
    assert_eq!(verbose.status, 503);
    assert!(
        verbose.body.contains("\nproblem: cannot open the ring"),
        "{verbose:?}"
    );
    assert_eq!(code(&address, "/livez"), Some(200), "it lives all the same");
    assert!(Scrape::of(&address).value("kekring_ready", &[]) < 0.5);

    fs::rename(&away, &root).unwrap();
    wait_until("it to be ready", PATIENCE, || {
        code(&address, "/readyz") == Some(200)
    });
    assert!(client.status().is_ok());
    assert!(Scrape::of(&address).value("kekring_ready", &[]) > 0.5);
}

#[test]
fn a_port_that_is_taken_is_a_warning_and_is_tried_again() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();

    let plugin = Plugin::with(&format!("{{telemetry: {{listen: '{address}'}}}}"));

    let probe = plugin.verb(&["probe", "--round-trip"]);
    assert!(probe.status.success(), "{}", shown(&probe));
    let warns = || {
        let warnings = plugin.json(&["status"])["warnings"].to_string();
        warnings.contains(&format!("telemetry cannot listen on {address}"))
    };
    wait_until("status to warn", PATIENCE, warns);
    assert_eq!(plugin.log().matches("telemetry cannot listen").count(), 1);

    drop(taken);
    assert_eq!(plugin.telemetry(), address);
    assert_eq!(code(&address, "/livez"), Some(200));
    wait_until("the warning to go", PATIENCE, || !warns());
}

#[test]
fn hundreds_of_connections_to_it_do_not_disturb_the_socket() {
    let plugin = Plugin::with(ON);
    let address = plugin.telemetry();
    let client = Client::connect(&plugin.socket);

    let idle: Vec<TcpStream> = (0..300).map(|_| open(&address, b"")).collect();
    for _ in 0..50 {
        let sealed = client.encrypt(&[7; 32]).unwrap();
        assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
    }

    // Those beyond the cap are closed at once, those below it when their time is over.
    for stream in idle {
        assert_eq!(rest_of(stream), "");
    }
    wait_until("a place to be free", PATIENCE, || {
        code(&address, "/livez") == Some(200)
    });
    let refused = Scrape::of(&address).value("kekring_telemetry_refused_total", &[]);
    assert!(
        refused > 300.5 - f64::from(u8::try_from(MAX_SCRAPES).unwrap()) - 1.0,
        "{refused}"
    );
}

#[test]
fn scrapes_from_all_sides_do_not_disturb_the_socket() {
    let plugin = Plugin::with(ON);
    let address = plugin.telemetry();
    let client = Client::connect(&plugin.socket);

    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..40 {
                    // Some are beyond the cap.
                    let _ = scrape::get(&address, "/metrics");
                }
            });
        }
        let started = Instant::now();
        for _ in 0..100 {
            let sealed = client.encrypt(&[7; 32]).unwrap();
            assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
            assert!(started.elapsed() < PATIENCE, "calls wait for scrapes");
        }
    });

    assert_eq!(code(&address, "/readyz"), Some(200));
}

#[test]
fn a_client_that_sends_its_request_slowly_is_closed() {
    let plugin = Plugin::with(ON);
    let address = plugin.telemetry();

    let slow = open(&address, b"GET /metrics HTTP/1.1\r\nHost: ");
    assert_eq!(code(&address, "/livez"), Some(200), "others are served meanwhile");

    assert!(!rest_of(slow).contains("kekring_"), "closed by the deadline");
}

#[test]
fn a_client_that_drips_bytes_is_closed_all_the_same() {
    let plugin = Plugin::with(ON);
    let mut drip = open(&plugin.telemetry(), b"GET /metrics HTTP/1.1\r\nX: ");
    drip.set_read_timeout(Some(std::time::Duration::from_millis(100)))
        .unwrap();

    // One byte at a time, and never a line feed: the deadline is that of the whole head.
    wait_until("the connection to be closed", PATIENCE, || {
        let _ = drip.write_all(b"x");
        match drip.read(&mut [0; 256]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(why) => !is_timeout(&why),
        }
    });
}

#[test]
fn a_second_request_needs_a_second_connection() {
    let plugin = Plugin::with(ON);
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

    let answer = rest_of(open(&plugin.telemetry(), &[&request[..], &request[..]].concat()));

    assert_eq!(answer.matches("200 OK").count(), 1, "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[test]
fn both_sockets_are_taken_from_systemd_in_any_order() {
    for tcp_first in [false, true] {
        let plugin = Plugin::prepared("{}");
        run_directory(&plugin, 0o700);
        let unix = UnixListener::bind(&plugin.socket).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap().to_string();

        let (unix, tcp) = (OwnedFd::from(unix), OwnedFd::from(tcp));
        let server = match tcp_first {
            false => plugin.activate_two(unix, tcp),
            true => plugin.activate_two(tcp, unix),
        };

        wait_until("the server", PATIENCE, || {
            plugin.verb(&["probe"]).status.success()
        });
        assert_eq!(plugin.telemetry(), address);
        assert_eq!(code(&address, "/readyz"), Some(200));
        assert!(server.stop().success());
        assert!(plugin.socket.exists(), "the socket is systemd's");
    }
}

#[test]
fn a_passed_socket_that_other_machines_could_reach_is_not_used() {
    let plugin = Plugin::prepared("{}");
    run_directory(&plugin, 0o700);
    let unix = UnixListener::bind(&plugin.socket).unwrap();
    // Bound to every address and not listening, so that nothing reaches it here either.
    let tcp = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&tcp, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).unwrap();

    let _server = plugin.activate_two(OwnedFd::from(unix), tcp);

    wait_until("the warning", PATIENCE, || {
        let warnings = plugin.json(&["status"])["warnings"].to_string();
        warnings.contains("telemetry does not use the socket that was passed in: 0.0.0.0:")
    });
    assert!(plugin.verb(&["probe"]).status.success());
}

#[test]
fn an_address_that_other_machines_could_reach_is_a_mistake_of_the_configuration() {
    for listen in ["0.0.0.0:9476", "localhost:9476", "192.0.2.1:1"] {
        let mut plugin = Plugin::unmade(&format!("{{telemetry: {{listen: '{listen}'}}}}"));

        plugin.spawn();

        let status = plugin.ended();
        assert_eq!(status.code(), Some(2), "{}", plugin.log());
        assert!(plugin.log().contains("telemetry.listen is"), "{}", plugin.log());
    }
}

#[test]
fn a_development_ring_listens_only_where_it_is_told_to() {
    for listen in [None, Some("127.0.0.1:0")] {
        let scratch = scratch();
        let dir = scratch.path().join("dev");
        let mut command = kekring(&["serve", "--dev", dir.to_str().unwrap()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(listen) = listen {
            command.env("KEKRING_TELEMETRY_LISTEN", listen);
        }
        let _server = Killed(command.spawn().unwrap());

        let mut telemetry = None;
        wait_until("its account of itself", PATIENCE, || {
            let status = fs::read(dir.join("status.json")).unwrap_or_default();
            let status: Value = serde_json::from_slice(&status).unwrap_or_default();
            telemetry = status["telemetry"].as_str().map(str::to_owned);
            telemetry.is_some()
        });

        let told = telemetry.unwrap();
        assert_eq!(listen.is_some(), !told.is_empty(), "{told:?}");
        assert!(listen.is_none() || code(&told, "/livez") == Some(200));
    }
}
