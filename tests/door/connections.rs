//! Connections by the thousand, and connections that never become one.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::honest::under;
use crate::raw::{PREFACE, Raw, SETTINGS, frame, plain};
use crate::support::{Plugin, shown};

const FLOOD: usize = 10_000;

/// Every connection of a flood costs us a descriptor, too: one flood at a time.
static ONE_FLOOD: Mutex<()> = Mutex::new(());

fn room_for_a_flood() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let room = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(room)
        .unwrap_or(usize::MAX)
        .saturating_sub(1000)
        .min(FLOOD)
}

#[test]
#[needs(descriptor_counts)]
fn ten_thousand_connections_that_say_nothing_disturb_nobody() {
    under("silent connections", "{}", |plugin, honest| {
        let _one = ONE_FLOOD.lock().unwrap_or_else(PoisonError::into_inner);
        let held: Vec<UnixStream> = (0..room_for_a_flood()).map(|_| plain(&plugin.socket)).collect();

        honest.goes_on();
        let probe = plugin.verb(&["probe", "--round-trip"]);
        assert!(probe.status.success(), "a newcomer: {}", shown(&probe));
        drop(held);
    });
}

#[test]
#[needs(descriptor_counts)]
fn ten_thousand_connections_that_are_idle_disturb_nobody() {
    under("idle connections", "{}", |plugin, honest| {
        let _one = ONE_FLOOD.lock().unwrap_or_else(PoisonError::into_inner);
        let held: Vec<Raw> = (0..room_for_a_flood())
            .map(|_| Raw::connect(&plugin.socket, &[]))
            .collect();

        honest.goes_on();
        let probe = plugin.verb(&["probe", "--round-trip"]);
        assert!(probe.status.success(), "a newcomer: {}", shown(&probe));
        drop(held);
    });
}

#[test]
#[needs(descriptor_counts)]
fn ten_thousand_connections_that_come_and_go_disturb_nobody() {
    under("connections that come and go", "{}", |plugin, honest| {
        for number in 0..FLOOD {
            let mut stream = plain(&plugin.socket);
            // Gone after nothing, a part of the preface, or all of it.
            let _ = stream.write_all(&PREFACE[..number % (PREFACE.len() + 1)]);
        }
        honest.goes_on();
    });
}

#[test]
#[needs(descriptor_counts)]
fn clients_that_drip_the_preface_disturb_nobody() {
    under("dripped prefaces", "{}", |plugin, honest| {
        let mut held: Vec<UnixStream> = (0..1000).map(|_| plain(&plugin.socket)).collect();

        for byte in &PREFACE[..PREFACE.len() - 1] {
            held.retain_mut(|stream| stream.write_all(&[*byte]).is_ok());
            honest.goes_on();
        }
        // What came too late for its deadline, or lost its place, is closed, and nothing was said to it.
        for mut stream in held {
            stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
        }
    });
}

#[test]
#[needs(descriptor_counts)]
fn what_is_no_http_2_is_closed_whatever_it_is() {
    under("garbage", "{}", |plugin, honest| {
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0];
        for number in 0..2000_u32 {
            let garbage = match number % 4 {
                0 => hello.repeat(40),
                1 => b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(9),
                2 => number.to_le_bytes().repeat(100),
                _ => vec![0; 4096],
            };
            let mut stream = plain(&plugin.socket);
            let _ = stream.write_all(&garbage);
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty(), "{answer:?}");
        }
        honest.goes_on();
    });
}

#[test]
#[needs(descriptor_counts)]
fn garbage_after_the_preface_ends_that_connection_alone() {
    under("garbage frames", "{}", |plugin, honest| {
        let mut goodbyes = 0;
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..500 {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            let mut random = || {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            };
            let mut garbage: Vec<u8> = std::iter::repeat_with(&mut random).take(64).flatten().collect();
            // A frame larger than any that we allow is the one thing that all of them end with.
            garbage.extend([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]);
            raw.send(&garbage);
            raw.0.shutdown(std::net::Shutdown::Write).unwrap();
            goodbyes += usize::from(raw.farewell().1);
        }
        assert_eq!(goodbyes, 500);
        honest.goes_on();
    });
}

#[test]
fn a_client_that_answers_no_goodbye_is_gone_at_the_stop() {
    let mut plugin = Plugin::start();
    let mut raw = Raw::connect(&plugin.socket, &[]);
    raw.send(&frame(SETTINGS, 1, 0, &[]));

    let status = plugin.stop();

    assert_eq!(status.code(), Some(0));
    assert!(raw.farewell().1);
}
