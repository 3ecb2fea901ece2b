//! Servers that are no etcd, and addresses that must not be used.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use kekring::etcd::{Client, Config, Endpoint, EtcdError, Range};

use crate::cluster::{client, key};
use crate::keys::{always, put};
use crate::outcome::LATE;

/// What some servers say to whatever they are asked.
const ANSWERS: [(&str, &[u8]); 6] = [
    ("nothing", b""),
    ("garbage", &[0x5a; 3000]),
    (
        "HTTP/1.1",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "SETTINGS, and a frame that is longer than it may be",
        &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1],
    ),
    (
        "SETTINGS, and headers that do not decode",
        &[
            0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 4, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff,
        ],
    ),
    (
        "SETTINGS, and the status 200 of HTTP without one of gRPC",
        &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88],
    ),
];

/// A server that does this with every connection.
fn server(each: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || each(stream));
        }
    });
    url
}

/// Reads to the end, says this once, and keeps the connection open.
fn says(mut stream: TcpStream, answer: &[u8]) {
    let mut bytes = [0; 4096];
    let _ = stream.read(&mut bytes);
    let _ = stream.write_all(answer);
    while matches!(stream.read(&mut bytes), Ok(1..)) {}
}

pub fn whoever_is_no_etcd_is_left_in_time() {
    let within = Duration::from_millis(600);
    let mut servers: Vec<(&str, String)> = ANSWERS
        .iter()
        .map(|(what, answer)| (*what, server(|stream| says(stream, answer))))
        .collect();
    servers.push(("a closed connection", server(drop)));

    for (what, url) in &servers {
        let stranger = client(&[url], None, None);
        let started = Instant::now();
        let read = stranger.range(&Range::of(key("/x")), within).unwrap_err();
        let write = stranger.txn(always(put("/x", "1")), within).unwrap_err();
        assert!(
            started.elapsed() < 2 * within + LATE,
            "{what}: {:?}",
            started.elapsed()
        );
        for why in [read, write] {
            assert!(
                matches!(&why, EtcdError::Unavailable(text) if text.contains(url)),
                "{what}: {why:?}"
            );
        }
    }
}

pub fn plain_http_leaves_loopback_for_nobody() {
    for text in ["http://192.0.2.1:2379", "http://etcd.example:2379"] {
        let refused = Endpoint::parse(text).unwrap_err();
        assert!(
            matches!(&refused, EtcdError::Config(why) if why.contains(text) && why.contains("loopback")),
            "{refused}"
        );
    }
    let without = |endpoints| {
        Client::new(Config {
            endpoints,
            tls: None,
            user: None,
        })
        .err()
    };
    let https = Endpoint::parse("https://192.0.2.1").unwrap();
    assert!(matches!(without(vec![https]), Some(EtcdError::Config(_))));
    assert!(matches!(without(Vec::new()), Some(EtcdError::Config(_))));
}
