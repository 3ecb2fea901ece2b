//! What others chose, a name, a path, stays a quotation: on one line, in every place where a server repeats it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::client::Client;
use crate::support::notify::Systemd;
use crate::support::{PATIENCE, Plugin, scrape, shown, wait_until};
use crate::telemetry::ON;

/// The name of a root that is not there: a line of a log, of sd_notify(3), a hint, and what a terminal would obey.
const NAME: &str = "x\n1999-01-01T00:00:00Z ERROR forged\nWATCHDOG=trigger\nMAINPID=1\nhint: forged\r\x1b[2J\u{9b}2J\u{202e}";

fn away() -> Plugin {
    let plugin = Plugin::prepared("{}");
    let root = json!({"file": {"path": plugin.dir.join("NAME")}});
    plugin.configure(&json!({"ring": {"roots": [root]}, "telemetry": {"listen": "127.0.0.1:0"}}).to_string());
    // YAML has these characters by their numbers alone.
    let name = serde_json::to_string(NAME).unwrap().replace('\u{9b}', "\\u009b");
    let config = fs::read_to_string(&plugin.config).unwrap();
    fs::write(&plugin.config, config.replace("NAME", name.trim_matches('"'))).unwrap();
    plugin
}

fn obeyed(it: char) -> bool {
    it != '\n' && it.is_control() || it == '\u{202e}'
}

#[test]
fn a_cause_that_quotes_line_feeds_is_one_line_of_the_log_of_status_and_of_readiness() {
    let mut plugin = away();
    plugin.spawn();
    let address = plugin.telemetry();
    wait_until("the cause", PATIENCE, || plugin.log().contains("WATCHDOG"));

    let log = plugin.log();
    let page = scrape::get(&address, "/readyz?verbose").unwrap().body;
    let status = shown(&plugin.verb(&["status"]));
    let json = shown(&plugin.verb(&["status", "-o", "json"]));
    let rotate = shown(&plugin.verb(&["rotate"]));
    let told = Client::connect(&plugin.socket).status().unwrap_err();

    for (what, text) in [
        ("the log", log.as_str()),
        ("the page", &page),
        ("status", &status),
        ("JSON", &json),
        ("the error", &rotate),
        ("what the API server is told", told.message()),
    ] {
        assert!(!text.contains(obeyed), "{what}: {text:?}");
        assert!(text.contains("MAINPID=1"), "{what}: {text:?}");
        for line in text.lines() {
            let forged = ["1999", "WATCHDOG", "MAINPID", "hint: forged"];
            assert!(!forged.iter().any(|it| line.starts_with(it)), "{what}: {text:?}");
        }
    }
    assert!(!told.message().contains('\n'), "{told}");
}

#[test]
fn a_log_in_json_has_the_same_text_and_no_line_more() {
    let mut plugin = away();
    let mut serve = plugin.command(&["serve"]);
    serve.env("KEKRING_TELEMETRY_LOG_FORMAT", "json");
    plugin.spawn_as(serve);
    wait_until("the cause", PATIENCE, || plugin.log().contains("WATCHDOG"));

    let log = plugin.log();
    assert!(!log.contains(obeyed), "{log:?}");
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let told = lines.filter(|line| line.to_string().contains("MAINPID"));
    assert!(told.filter(|line| holds(line, NAME)).count() > 0, "{log}");
}

fn holds(value: &serde_json::Value, text: &str) -> bool {
    match value {
        serde_json::Value::String(it) => it.contains(text),
        serde_json::Value::Object(it) => it.values().any(|it| holds(it, text)),
        _ => false,
    }
}

#[test]
fn systemd_is_told_nothing_that_a_name_says() {
    let plugin = away();
    let systemd = Systemd::bind(&plugin);
    let server = systemd.start(&plugin);

    let told = systemd.told("MAINPID=1") + &systemd.told("WATCHDOG=1");

    for line in told.lines().filter(|line| !line.is_empty()) {
        let known = ["READY=1", "WATCHDOG=1", "STATUS="];
        assert!(known.iter().any(|it| line.starts_with(it)), "{told:?}");
        assert!(line != "WATCHDOG=trigger" && !line.contains(obeyed), "{told:?}");
    }
    assert!(server.stop().success());
}

/// The code of the answer to these bytes, and all of it.
fn answer(address: &str, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or_else(|| panic!("{answer:?}")), answer)
}

#[test]
fn telemetry_answers_to_names_of_loopback_alone() {
    let plugin = Plugin::with(ON);
    let address = plugin.telemetry();
    let port = address.rsplit(':').next().unwrap();

    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.1.2.3",
        "[::1]",
        &address,
        &format!("localhost:{port}"),
        &format!("[::1]:{port}"),
    ] {
        for path in ["/livez", "/readyz?verbose", "/metrics"] {
            let (code, all) = answer(&address, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(code, 200, "{host}: {all}");
        }
    }
    for host in [
        "",
        "evil.example",
        &format!("evil.example:{port}"),
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "x@localhost",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "node-under-test",
    ] {
        for request in [
            "GET /readyz?verbose",
            "GET /metrics",
            "HEAD /livez",
            "POST /livez",
            "GET /nothing",
        ] {
            let (code, all) = answer(&address, &format!("{request} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
            assert_eq!(code, 421, "{host}: {all}");
            assert!(!all.contains("kekring_") && !all.contains("evil"), "{all}");
        }
    }
}

#[test]
fn telemetry_says_why_it_does_not_answer_and_wants_one_host() {
    let plugin = Plugin::with(ON);
    let address = plugin.telemetry();

    let (_, all) = answer(&address, "GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert!(all.ends_with("only those are answered\n"), "{all}");
    for (request, code) in [
        ("GET /livez HTTP/1.0\r\n\r\n", 200),
        ("GET /livez HTTP/1.0\r\nHost: evil.example\r\n\r\n", 421),
        ("GET /livez HTTP/1.1\r\n\r\n", 400),
        (
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            400,
        ),
        (
            "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
            421,
        ),
        (
            "GET http://localhost/livez HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            421,
        ),
        (
            "GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
            200,
        ),
    ] {
        assert_eq!(answer(&address, request).0, code, "{request:?}");
    }
}
