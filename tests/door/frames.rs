//! HTTP/2 frames as attacks: resets, continuations, windows, pings and settings.

use crate::honest::{under, under_three};
use crate::raw::{
    CONTINUATION, DATA, ENCRYPT, END_HEADERS, HEADERS, PING, RST_STREAM, Raw, SETTINGS, STATUS,
    WINDOW_UPDATE, block, frame, head, message_of, request, streams,
};

const CANCEL: [u8; 4] = [0, 0, 0, 8];
/// SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;

#[test]
#[needs(descriptor_counts)]
fn a_thousand_streams_that_never_end_disturb_nobody() {
    under("open streams", "{}", |plugin, honest| {
        let mut raw = Raw::connect(&plugin.socket, &[]);
        for stream in streams().take(1024) {
            raw.send_and_drain(&head(stream, ENCRYPT));
        }
        honest.goes_on();
        drop(raw);
    });
}

#[test]
#[needs(descriptor_counts)]
fn rapid_resets_end_that_connection_and_disturb_nobody() {
    under("rapid resets", "{}", |plugin, honest| {
        let mut sent = 0;
        let mut ended = 0;
        for _ in 0..50 {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            for stream in streams().take(1000) {
                let reset = frame(RST_STREAM, 0, stream, &CANCEL);
                if !raw.send(&[head(stream, STATUS), reset].concat()) {
                    break;
                }
                sent += 1;
            }
            ended += usize::from(raw.farewell().1);
            honest.goes_on();
        }
        eprintln!("rapid resets: {sent} sent on 50 connections, {ended} of which the server ended");
    });
}

#[test]
#[needs(descriptor_counts)]
fn whole_requests_that_are_reset_disturb_nobody() {
    under("whole requests, reset", "{}", |plugin, honest| {
        for _ in 0..20 {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            for stream in streams().take(1000) {
                let reset = frame(RST_STREAM, 0, stream, &CANCEL);
                if !raw.send_and_drain(&[request(stream, STATUS, &[]), reset].concat()) {
                    break;
                }
            }
        }
        honest.goes_on();
    });
}

#[test]
#[needs(descriptor_counts)]
fn a_header_block_without_end_ends_that_connection() {
    under("continuations", "{}", |plugin, honest| {
        for size in [0, 1, 16_000] {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            raw.send(&frame(HEADERS, 0, 1, &block(STATUS, &[])));
            let more = match size {
                0 => Vec::new(),
                1 => vec![0x82],
                _ => block(STATUS, &[("x", &"y".repeat(size))]),
            };
            let part = frame(CONTINUATION, 0, 1, &more);
            let mut taken = 0;
            while taken < 100_000 && raw.send(&part) {
                taken += 1;
            }
            assert!(
                taken < 100_000,
                "continuations of {} bytes go on for ever",
                more.len()
            );
        }
        honest.goes_on();
    });
}

#[test]
#[needs(descriptor_counts)]
fn headers_over_the_limit_are_refused_and_memory_stays() {
    under("large headers", "{}", |plugin, honest| {
        for size in [9 * 1024, 60 * 1024, 1024 * 1024] {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            for stream in streams().take(64) {
                let block = block(STATUS, &[("x", &"y".repeat(size))]);
                let mut parts = block.chunks(16_000).peekable();
                let mut kind = HEADERS;
                while let Some(part) = parts.next() {
                    let last = if parts.peek().is_none() { END_HEADERS } else { 0 };
                    raw.send_and_drain(&frame(kind, last, stream, part));
                    kind = CONTINUATION;
                }
            }
            honest.goes_on();
        }
    });
}

#[test]
#[needs(descriptor_counts)]
fn pings_and_settings_that_nobody_reads_the_answers_of_disturb_nobody() {
    under("pings and settings", "{}", |plugin, honest| {
        for (kind, payload) in [
            (PING, vec![7; 8]),
            (SETTINGS, Vec::new()),
            (SETTINGS, vec![0, 4, 0, 0, 0, 9]),
        ] {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            let many = frame(kind, 0, 0, &payload).repeat(1000);
            for _ in 0..100 {
                if !raw.send(&many) {
                    break;
                }
            }
            honest.goes_on();
        }
    });
}

#[test]
#[needs(descriptor_counts)]
fn pings_whose_answers_are_read_disturb_nobody() {
    under("pings", "{}", |plugin, honest| {
        let mut raw = Raw::connect(&plugin.socket, &[]);
        let many = frame(PING, 0, 0, &[7; 8]).repeat(1000);
        for _ in 0..100 {
            raw.send_and_drain(&many);
        }
        honest.goes_on();
    });
}

#[test]
#[needs(descriptor_counts)]
fn windows_that_are_shut_or_burst_disturb_nobody() {
    under("windows", "{}", |plugin, honest| {
        // Nothing may be sent to this one: its answers wait.
        let mut shut = Raw::connect(&plugin.socket, &[(WINDOW, 0)]);
        for stream in streams().take(1024) {
            shut.send_and_drain(&request(stream, STATUS, &[]));
        }
        honest.goes_on();
        // Over 2^31-1, for one stream and for the connection; and one of nothing.
        for (stream, more) in [(1, 0x7fff_ffff_u32), (0, 0x7fff_ffff), (0, 0)] {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            raw.send(&head(1, ENCRYPT));
            raw.send(&frame(WINDOW_UPDATE, 0, stream, &more.to_be_bytes()).repeat(2));
            while let Some((kind, ..)) = raw.next() {
                if kind == RST_STREAM {
                    break;
                }
            }
        }
        let mut small = Raw::connect(&plugin.socket, &[(WINDOW, 1)]);
        for stream in streams().take(1024) {
            small.send_and_drain(&request(stream, STATUS, &[]));
        }
        let one = frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes());
        for stream in streams().take(1024) {
            small.send_and_drain(
                &[one.clone(), frame(WINDOW_UPDATE, 0, stream, &1_u32.to_be_bytes())].concat(),
            );
        }
        honest.goes_on();
        drop(shut);
    });
}

#[test]
#[needs(descriptor_counts)]
fn clients_that_never_read_their_answers_disturb_nobody() {
    under_three("stalled readers", |plugin, honest| {
        let mut stalled: Vec<Raw> = (0..60).map(|_| Raw::connect(&plugin.socket, &[])).collect();
        for raw in &mut stalled {
            raw.0.set_nonblocking(true).unwrap();
            let mut taken = 0;
            for stream in streams().take(5000) {
                if !raw.send(&request(stream, "/an/unknown/method", &[])) {
                    break;
                }
                taken += 1;
            }
            assert!(taken > 10);
        }
        honest.goes_on();
        drop(stalled);
    });
}
#[test]
#[needs(descriptor_counts)]
fn messages_that_never_end_disturb_nobody() {
    under_three("messages without end", |plugin, honest| {
        // Each claims 60,000 bytes and sends all of them but the last, on every stream of every connection.
        let unfinished = {
            let mut bytes = message_of(&[7; 60_000]);
            bytes.pop();
            bytes
        };
        let mut held: Vec<Raw> = (0..8).map(|_| Raw::connect(&plugin.socket, &[])).collect();
        for stream in streams().take(1024) {
            held.retain_mut(|raw| {
                raw.send_and_drain(&head(stream, ENCRYPT))
                    && unfinished
                        .chunks(16_000)
                        .all(|part| raw.send_and_drain(&frame(DATA, 0, stream, part)))
            });
        }
        honest.goes_on();
        drop(held);
    });
}

#[test]
#[needs(descriptor_counts)]
fn answers_that_no_window_lets_through_have_a_bound_over_all_connections() {
    under_three("shut windows", |plugin, honest| {
        let mut held: Vec<Raw> = (0..24)
            .map(|_| Raw::connect(&plugin.socket, &[(WINDOW, 0)]))
            .collect();
        let all: Vec<u8> = streams()
            .take(500)
            .flat_map(|stream| request(stream, STATUS, &[]))
            .collect();
        let taken = held
            .iter_mut()
            .filter_map(|raw| raw.send_and_drain(&all).then_some(()))
            .count();
        assert!(taken > 10);
        honest.goes_on();
        assert!(plugin.log().contains("unfinished requests hold too much memory"));
        drop(held);
    });
}
