//! The telemetry listener as a target: what happens to it never reaches the socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::honest::under;
use crate::support::{PATIENCE, Raised, scrape, wait_until};

const TELEMETRY: &str = "{telemetry: {listen: '127.0.0.1:0'}}";

#[test]
#[needs(descriptor_counts)]
fn ten_thousand_connections_to_telemetry_disturb_nobody() {
    under("telemetry connections", TELEMETRY, |plugin, honest| {
        let address = plugin.telemetry();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _raised = Raised(&over);
            // Somebody scrapes all the while; some of it is beyond the cap.
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let _ = scrape::get(&address, "/metrics");
                }
            });
            let huge = format!(
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n",
                "x".repeat(20_000)
            );
            let requests = [
                "",
                "GET /metrics HTTP/1.1\r\nHost: ",
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
                &huge,
            ];
            let mut held = Vec::new();
            for number in 0..10_000 {
                let mut stream = TcpStream::connect(&address).unwrap();
                let _ = stream.write_all(requests[number % requests.len()].as_bytes());
                held.push(stream);
                if held.len() == 500 {
                    held.clear();
                }
            }
            honest.goes_on();
        });
        wait_until("telemetry to be there again", PATIENCE, || {
            scrape::get(&address, "/livez").is_ok_and(|page| page.status == 200)
        });
        assert!(scrape::Scrape::of(&address).value("kekring_telemetry_refused_total", &[]) > 1000.0);
    });
}

#[test]
#[needs(descriptor_counts)]
fn scrapes_whose_answers_nobody_reads_disturb_nobody() {
    under("unread scrapes", TELEMETRY, |plugin, honest| {
        let address = plugin.telemetry();
        let mut held: Vec<TcpStream> = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(&address).unwrap();
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
            held.push(stream);
        }
        honest.goes_on();
        for mut stream in held {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
}
