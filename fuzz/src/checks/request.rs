//! A gRPC request: its framing, the messages and what the service makes of them, without a socket. Whatever comes in, the
//! keyring that answers the next one is the same, and only what was given out decrypts.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use kekring::crypto::secret::Key32;
use kekring::custody::Custody;
use kekring::keyring::live::Live;
use kekring::keyring::ring::UnixTime;
use kekring::keyring::{Keyring, RingId, lifecycle};
use kekring::proto::kms;
use kekring::proto::kms::key_management_service_server::KeyManagementServiceServer;
use kekring::server::connection::Connection;
use kekring::server::peer::Peer;
use kekring::service::{self, Service};
use kekring::store::FileStore;
use kekring::telemetry::Metrics;
use kekring::{reload, service::MAX_MESSAGE};
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tower::Service as _;

use super::choice;

const METHODS: [&str; 4] = ["Status", "Encrypt", "Decrypt", "Reveal"];

struct World {
    runtime: Runtime,
    live: Arc<Live>,
    server: KeyManagementServiceServer<Service>,
}

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new()));

impl World {
    fn new() -> Self {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let key = |byte| Key32::take(&mut [byte; 32]);
        let ring = lifecycle::create(RingId([7; 16]), key(1), key(2), UnixTime(1));
        let live = Arc::new(Live::new(Keyring::new(&ring)));
        let metrics = Arc::new(Metrics::new(None));
        // A store that is read on behalf of a request takes time: its runtime ends, and a request does not wait for it.
        let (reading, elsewhere) = (runtime(), Arc::new(Live::new(Keyring::absent("not opened"))));
        let refresh = reading.block_on(async {
            let every = Duration::from_secs(3600);
            reload::spawn(nothing(), None, elsewhere, every, Arc::clone(&metrics)).refresh
        });
        drop(reading);
        let runtime = runtime();
        let peer = runtime.block_on(async {
            let (one, _other) = UnixStream::pair().unwrap();
            one.set_nonblocking(true).unwrap();
            Peer::of(&tokio::net::UnixStream::from_std(one).unwrap()).unwrap()
        });
        let connection = Arc::new(Connection::new(peer));
        let server = Service::server(Arc::clone(&live), refresh, connection, metrics);
        Self {
            runtime,
            live,
            server,
        }
    }
}

fn nothing() -> Custody {
    Custody {
        calls: Arc::default(),
        store: Box::new(FileStore::new("/nonexistent".into(), None)),
        roots: Vec::new(),
        machine: None,
        shared: false,
        development: false,
        expected: None,
        writer: [0; 16],
    }
}

/// A body in pieces.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|it| Ok(Frame::data(it))))
    }
}

/// The first byte chooses the method, the framing, and how many pieces it comes in.
pub fn check(data: &[u8]) {
    let Some((mode, rest)) = choice(data, 24) else {
        return;
    };
    let mut world = WORLD.lock().unwrap();
    let method = METHODS[usize::from(mode % 4)];
    let bytes = match mode / 4 % 3 {
        0 => rest.to_vec(),
        1 => framed(rest),
        _ => framed(&genuine(&world, method, rest)),
    };
    let piece = if mode / 12 == 0 { bytes.len().max(1) } else { 3 };
    let before = world.live.load();
    let (code, answer) = world.call(method, &bytes, piece);
    assert!(
        Arc::ptr_eq(&before, &world.live.load()),
        "a request changed the ring"
    );
    assert!(
        code != tonic::Code::Internal || mode / 4 % 3 == 0,
        "{method}: internal"
    );
    if code == tonic::Code::Ok {
        answered(&before, method, &bytes, &answer);
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

/// A request as kube-apiserver would send it, with `data` for a seed.
fn genuine(world: &World, method: &str, data: &[u8]) -> Vec<u8> {
    let uid = "0b8a3c0e".to_owned();
    match method {
        "Encrypt" => {
            let plaintext = data.to_vec();
            kms::EncryptRequest { plaintext, uid }.encode_to_vec()
        }
        "Decrypt" => {
            let Ok((ciphertext, key_id)) = world.live.load().encrypt(None, data) else {
                return Vec::new();
            };
            kms::DecryptRequest {
                ciphertext,
                uid,
                key_id: key_id.as_str().to_owned(),
                annotations: std::collections::HashMap::new(),
            }
            .encode_to_vec()
        }
        _ => Vec::new(),
    }
}

impl World {
    fn call(&mut self, method: &str, bytes: &[u8], piece: usize) -> (tonic::Code, Vec<u8>) {
        let pieces = bytes.chunks(piece).map(Bytes::copy_from_slice).collect();
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("/v2.KeyManagementService/{method}"))
            .header("content-type", "application/grpc")
            .body(Pieces(pieces))
            .unwrap();
        let World { runtime, server, .. } = self;
        runtime.block_on(async {
            let Ok(response) = server.call(request).await;
            let mut code = tonic::Status::from_header_map(response.headers()).map(|it| it.code());
            let mut body = response.into_body();
            let mut answer = Vec::new();
            while let Some(frame) =
                std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
            {
                match frame.unwrap().into_data() {
                    Ok(data) => answer.extend_from_slice(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap();
                        code = tonic::Status::from_header_map(&trailers).map(|it| it.code());
                    }
                }
            }
            (code.expect("every answer has a gRPC status"), answer)
        })
    }
}

fn answered(keyring: &Keyring, method: &str, request: &[u8], answer: &[u8]) {
    let (request, answer) = (first(request), first(answer));
    assert!(request.len() <= MAX_MESSAGE);
    match method {
        "Status" => {
            let answer = kms::StatusResponse::decode(answer).unwrap();
            assert_eq!(answer.key_id, keyring.status().unwrap().as_str());
            assert_eq!((answer.version.as_str(), answer.healthz.as_str()), ("v2", "ok"));
        }
        "Encrypt" => {
            let request = message::<kms::EncryptRequest>(request);
            let answer = kms::EncryptResponse::decode(answer).unwrap();
            let opened = keyring.decrypt(&answer.key_id, &answer.ciphertext).unwrap();
            assert_eq!(opened.expose(), request.plaintext);
            assert_eq!(answer.key_id, keyring.status().unwrap().as_str());
            assert!(request.uid.len() <= service::MAX_UID && answer.annotations.is_empty());
        }
        "Decrypt" => {
            let request = message::<kms::DecryptRequest>(request);
            let answer = kms::DecryptResponse::decode(answer).unwrap();
            let opened = keyring.decrypt(&request.key_id, &request.ciphertext).unwrap();
            assert_eq!(opened.expose(), answer.plaintext);
            assert!(request.annotations.is_empty());
        }
        _ => panic!("there is no such method"),
    }
}

/// The message that a body begins with: more may follow it.
fn first(body: &[u8]) -> &[u8] {
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap());
    &body[5..5 + usize::try_from(length).unwrap()]
}

fn message<M: Message + Default>(bytes: &[u8]) -> M {
    M::decode(bytes).unwrap()
}
