//! gRPC messages as attacks: sizes, pieces, compression, methods; and honest calls by the thousand.

use std::thread;

use kekring::proto::kms;
use tonic::Code;

use crate::client::Client;
use crate::honest::under;
use crate::raw::{
    DATA, DECRYPT, ENCRYPT, END_HEADERS, END_STREAM, HEADERS, Raw, STATUS, block, frame, head, message_of,
    request, streams,
};

#[test]
#[needs(descriptor_counts)]
fn a_length_of_4_gib_and_messages_over_the_limit_cost_nothing() {
    under("large messages", "{}", |plugin, honest| {
        for (claimed, sent) in [
            (u32::MAX, 0),
            (u32::MAX, 60_000),
            (1 << 20, 1 << 20),
            (65_537, 65_537),
        ] {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            for stream in streams().take(16) {
                let message = [&[0][..], &claimed.to_be_bytes(), &vec![7; sent]].concat();
                raw.send_and_drain(&head(stream, ENCRYPT));
                for part in message.chunks(16_000) {
                    raw.send_and_drain(&frame(DATA, 0, stream, part));
                }
            }
            honest.goes_on();
        }
        let client = Client::connect(&plugin.socket);
        for size in [65_536, 1 << 20] {
            assert_eq!(
                client.encrypt(&vec![7; size]).unwrap_err().code(),
                Code::ResourceExhausted
            );
        }
    });
}

#[test]
#[needs(descriptor_counts)]
fn a_message_in_frames_of_one_byte_is_answered_and_a_flood_of_them_disturbs_nobody() {
    under("frames of one byte", "{}", |plugin, honest| {
        let mut raw = Raw::connect(&plugin.socket, &[]);
        for stream in streams().take(50) {
            raw.send(&head(stream, DECRYPT));
            let message = message_of(&[7; 2000]);
            let (last, first) = message.split_last().unwrap();
            let bytes: Vec<u8> = first
                .iter()
                .flat_map(|byte| frame(DATA, 0, stream, &[*byte]))
                .collect();
            raw.send(&[bytes, frame(DATA, END_STREAM, stream, &[*last])].concat());
            // HTTP/2 in between, and at last the answer to this stream.
            while raw.next().expect("an answer").2 != stream {}
        }
        // Frames of nothing at all are no message.
        let mut empty = Raw::connect(&plugin.socket, &[]);
        empty.send(&head(1, ENCRYPT));
        let nothing = frame(DATA, 0, 1, &[]).repeat(1000);
        for _ in 0..100 {
            if !empty.send_and_drain(&nothing) {
                break;
            }
        }
        honest.goes_on();
    });
}

#[test]
#[needs(descriptor_counts)]
fn compressed_messages_are_never_unpacked() {
    under("compressed messages", "{}", |plugin, honest| {
        // A gzip member of zeros that unpacks to a thousand times its size is not even begun.
        let bomb = [
            &[1][..],
            &40_000_u32.to_be_bytes(),
            &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
            &[0; 39_990],
        ]
        .concat();
        for encoding in ["gzip", "deflate", "zstd", "identity", "\u{7f}"] {
            let mut raw = Raw::connect(&plugin.socket, &[]);
            for stream in streams().take(64) {
                let block = block(ENCRYPT, &[("grpc-encoding", encoding)]);
                raw.send_and_drain(&frame(HEADERS, END_HEADERS, stream, &block));
                for part in bomb.chunks(16_000) {
                    raw.send_and_drain(&frame(DATA, 0, stream, part));
                }
                raw.send_and_drain(&frame(DATA, END_STREAM, stream, &[]));
            }
            honest.goes_on();
        }
    });
}

#[test]
#[needs(descriptor_counts)]
fn other_methods_services_and_types_are_answered_and_disturb_nobody() {
    under(
        "unknown methods",
        "{telemetry: {listen: '127.0.0.1:0'}}",
        |plugin, honest| {
            let long = format!("/{}", "x".repeat(4000));
            let mut raw = Raw::connect(&plugin.socket, &[]);
            let mut numbers = streams();
            for path in [
                "/v1beta1.KeyManagementService/Encrypt",
                "/",
                "*",
                "/v2.KeyManagementService/",
                &long,
            ] {
                for kind in [
                    "application/grpc",
                    "application/json",
                    "application/grpc+json",
                    "",
                    "text/html",
                ] {
                    for method in ["POST", "GET", "PUT", "OPTIONS", "PATCH"] {
                        let stream = numbers.next().unwrap();
                        let block = block(path, &[("content-type", kind), (":method", method)]);
                        raw.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &block));
                        while raw.next().expect("an answer").2 != stream {}
                    }
                }
            }
            honest.goes_on();
            for type_of in ["application/json", ""] {
                let stream = numbers.next().unwrap();
                let block = block(STATUS, &[("content-type", type_of)]);
                raw.send(&frame(HEADERS, END_HEADERS, stream, &block));
                raw.send(&frame(DATA, END_STREAM, stream, &message_of(&[])));
                while raw.next().expect("an answer").2 != stream {}
            }
            // None of those names is a label.
            let page = crate::support::scrape::get(&plugin.telemetry(), "/metrics")
                .unwrap()
                .body;
            assert!(!page.contains("v1beta1") && !page.contains("xxxx"), "{page}");
        },
    );
}

#[test]
#[needs(descriptor_counts)]
fn a_flood_of_encrypts_is_answered_and_disturbs_nobody() {
    under("a flood of Encrypt", "{}", |plugin, _| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let client = Client::connect(&plugin.socket);
                    for _ in 0..1500 {
                        client.encrypt(&[7; 512]).unwrap();
                    }
                });
            }
        });
    });
}

/// Sends one message as many requests at once, and returns how many were answered with a head of their own.
fn at_once(
    plugin: &crate::support::Plugin,
    path: &str,
    message: &[u8],
    connections: usize,
    each: usize,
) -> usize {
    let mut raws: Vec<Raw> = (0..connections)
        .map(|_| Raw::connect(&plugin.socket, &[]))
        .collect();
    for raw in &mut raws {
        raw.0.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
        raw.0.set_write_timeout(Some(crate::support::PATIENCE)).unwrap();
        let all: Vec<u8> = streams()
            .take(each)
            .flat_map(|stream| request(stream, path, message))
            .collect();
        assert!(raw.send(&all));
    }
    let mut answered = 0;
    for raw in &mut raws {
        let mut open = each;
        while open > 0 {
            let (kind, flags, stream, _) = raw.next().expect("every request to be answered");
            assert!(
                ![crate::raw::RST_STREAM, crate::raw::GOAWAY].contains(&kind),
                "shed: {kind} {stream}"
            );
            if kind == HEADERS && flags & END_STREAM != 0 {
                open -= 1;
                answered += 1;
            }
        }
    }
    answered
}

#[test]
#[needs(descriptor_counts)]
fn four_thousand_decrypts_at_once_are_all_answered() {
    under("4,000 Decrypts", "{}", |plugin, _| {
        let sealed = Client::connect(&plugin.socket).encrypt(&[7; 32]).unwrap();
        let message = prost::Message::encode_to_vec(&kms::DecryptRequest {
            ciphertext: sealed.ciphertext,
            uid: "a-uid".into(),
            key_id: sealed.key_id,
            annotations: Default::default(),
        });

        assert_eq!(at_once(plugin, DECRYPT, &message, 4, 1000), 4000);
        assert_eq!(at_once(plugin, DECRYPT, &message, 40, 100), 4000);
    });
}

#[test]
#[needs(descriptor_counts)]
fn four_thousand_decrypts_under_unknown_keys_share_reads_of_the_store() {
    under(
        "4,000 unknown keys",
        "{telemetry: {listen: '127.0.0.1:0'}}",
        |plugin, _| {
            let message = prost::Message::encode_to_vec(&kms::DecryptRequest {
                ciphertext: vec![1; 142],
                uid: "a-uid".into(),
                key_id: "k9-00112233445566778899aabbccddeeff".into(),
                annotations: Default::default(),
            });
            let scrape = || crate::support::scrape::Scrape::of(&plugin.telemetry());
            let reads = |scrape: &crate::support::scrape::Scrape| scrape.sum("kekring_reloads_total", &[]);
            let before = scrape();
            let started = std::time::Instant::now();

            assert_eq!(at_once(plugin, DECRYPT, &message, 4, 1000), 4000);

            let most = started.elapsed().as_secs_f64() + 2.0;
            let reads = reads(&scrape()) - reads(&before);
            assert!(reads <= most, "{reads} reads in {most} s");
        },
    );
}
