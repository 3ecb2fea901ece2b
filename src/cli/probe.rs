//! `kekring probe`: a KMS v2 client, for exec probes and scripts. Works on any KMS v2 plugin.

use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use clap::Args;
use http::Uri;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::body::Body;
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::{Form, Output};
use super::place::Place;
use crate::config::duration;
use crate::crypto::random;
use crate::proto::kms;
use crate::proto::kms::key_management_service_client::KeyManagementServiceClient;
use crate::telemetry::plain;

/// What kube-apiserver sends on a unix socket.
const AUTHORITY: &str = "http://localhost";

/// Exit code 0 when the plugin is healthy by kube-apiserver's own rules, 1 when it is not, 3 when this user may not ask.
#[derive(Args)]
pub(super) struct Probe {
    /// The plugin's socket [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Also encrypt 32 random bytes, as kube-apiserver does, and decrypt them again
    #[arg(long)]
    round_trip: bool,
    /// Only whether it answers at all: a Status that says what is wrong counts too. For liveness probes, since a restart mends
    /// no ring and no root
    #[arg(long, conflicts_with = "round_trip")]
    alive: bool,
    /// For each call; kube-apiserver's own default
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3s")]
    timeout: Duration,
    #[command(flatten)]
    output: Output,
}

/// What the plugin said.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    version: String,
    healthz: String,
    key_id: String,
    round_trip: Option<&'static str>,
    milliseconds: u64,
}

/// What `--alive` prints.
#[derive(Serialize)]
struct Alive {
    alive: bool,
    /// Why Status fails; empty where it does not.
    trouble: String,
    milliseconds: u64,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// Nobody to ask.
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    /// Somebody listens, and hung up before a byte came: kekring does so to who may not use it.
    #[error(
        "somebody listens there, and hung up before a word: kekring does so where it does not let a user in, and this is uid {0}"
    )]
    HungUp(u32),
    /// Nothing came in time.
    #[error("{0}")]
    Late(String),
    /// The answer, or none.
    #[error("{0}")]
    Answer(String),
}

impl From<String> for Unanswered {
    fn from(why: String) -> Self {
        Self::Answer(why)
    }
}

impl Unanswered {
    fn hint(&self) -> &'static str {
        match self {
            Self::Connect(why) => match why.kind() {
                ErrorKind::NotFound => "start `kekring serve`, or name another socket with --socket",
                ErrorKind::ConnectionRefused => "nobody listens there any more: start `kekring serve`",
                ErrorKind::PermissionDenied => "run it as root, or as a user that may use the socket",
                _ => "check that this is the socket of a plugin",
            },
            Self::HungUp(_) => {
                "run it as a user that socket.allowUsers has, or add this one; `peer refused` in the log of `kekring serve` says whether that was it"
            }
            Self::Late(_) | Self::Answer(_) => "see `kekring status` and the log of `kekring serve`",
        }
    }

    /// Whether it is this user that may not ask, and nothing is known of the plugin.
    fn denied(&self) -> bool {
        match self {
            Self::Connect(why) => why.kind() == ErrorKind::PermissionDenied,
            Self::HungUp(_) => true,
            Self::Late(_) | Self::Answer(_) => false,
        }
    }
}

/// Why `doctor` has no key.
pub(super) struct NoKey {
    pub(super) why: String,
    pub(super) hint: &'static str,
    /// This user may not ask.
    pub(super) denied: bool,
}

/// The key that the plugin reports in Status, for `doctor`.
pub(super) fn reported_key(socket: &Path, timeout: Duration) -> Result<String, NoKey> {
    let probe = Probe {
        socket: None,
        round_trip: false,
        alive: false,
        timeout,
        output: Output { form: Form::Text },
    };
    let answer = runtime().map_err(Unanswered::from).and_then(|runtime| {
        // A server that is frozen may not even take the connection.
        let asked = async { tokio::time::timeout(2 * timeout, probe.ask(socket)).await };
        let answer = runtime.block_on(asked);
        answer.unwrap_or_else(|_| Err(unanswered("the connection", 2 * timeout)))
    });
    answer.map(|it| it.key_id).map_err(|why| NoKey {
        why: why.to_string(),
        hint: why.hint(),
        denied: why.denied(),
    })
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl Probe {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let socket = match &self.socket {
            Some(path) => path.clone(),
            None => place.config()?.socket.path,
        };
        let failed = |why: Unanswered| {
            let text = format!("cannot probe the plugin at {}: {why}", socket.display());
            Failure::refused_if(why.denied(), text, why.hint())
        };
        let runtime = runtime().map_err(|why| failed(why.to_string().into()))?;
        if self.alive {
            let alive = runtime.block_on(self.listens(&socket)).map_err(failed)?;
            self.output.print(&alive, |it| match it.trouble.as_str() {
                "" => format!("alive, in {} ms", it.milliseconds),
                trouble => format!("alive, and not healthy: {}", plain(trouble)),
            });
            return Ok(());
        }
        let answer = runtime.block_on(self.ask(&socket)).map_err(failed)?;
        self.output.print(&answer, |it| {
            let trip = it
                .round_trip
                .map(|trip| format!(", round trip {trip}"))
                .unwrap_or_default();
            format!(
                "{} {}, key {}{trip} in {} ms",
                it.version,
                it.healthz,
                plain(&it.key_id),
                it.milliseconds
            )
        });
        Ok(())
    }

    async fn ask(&self, socket: &Path) -> Result<Answer, Unanswered> {
        let started = Instant::now();
        let (mut client, heard) = client(socket).await?;
        let status = self
            .call("Status", client.status(Request::new(kms::StatusRequest {})))
            .await
            .map_err(|why| heard.or_hung_up(why))?;
        if status.version != "v2" && status.version != "v2beta1" {
            return Err(format!("version is {:?}, expected \"v2\"", status.version).into());
        }
        if status.healthz != "ok" {
            return Err(format!("healthz is {:?}, expected \"ok\"", status.healthz).into());
        }
        if status.key_id.is_empty() || status.key_id.len() > crate::service::MAX_KEY_ID {
            return Err(format!("key_id is {} bytes, expected 1 to 1024", status.key_id.len()).into());
        }
        if self.round_trip {
            self.round_trip(&mut client, &status.key_id).await?;
        }
        Ok(Answer {
            version: status.version,
            healthz: status.healthz,
            key_id: status.key_id,
            round_trip: self.round_trip.then_some("ok"),
            milliseconds: milliseconds(started),
        })
    }

    /// An error that the plugin sent is an answer; one that came about on the way is none.
    async fn listens(&self, socket: &Path) -> Result<Alive, Unanswered> {
        let started = Instant::now();
        let (mut client, heard) = client(socket).await?;
        let status = client.status(Request::new(kms::StatusRequest {}));
        let trouble = match tokio::time::timeout(self.timeout, status).await {
            Err(_) => return Err(unanswered("Status", self.timeout)),
            Ok(Err(status)) if status.source().is_some() => {
                return Err(heard.or_hung_up(failed("Status", &status).into()));
            }
            Ok(Err(status)) => failed("Status", &status),
            Ok(Ok(_)) => String::new(),
        };
        Ok(Alive {
            alive: true,
            trouble,
            milliseconds: milliseconds(started),
        })
    }

    async fn round_trip(
        &self,
        client: &mut KeyManagementServiceClient<Connection>,
        key_id: &str,
    ) -> Result<(), Unanswered> {
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(random().map_err(|why| why.to_string())?);
        let uid = "kekring-probe".to_owned();
        let request = kms::EncryptRequest {
            plaintext: seed.to_vec(),
            uid: uid.clone(),
        };
        let sealed = self
            .call("Encrypt", client.encrypt(Request::new(request)))
            .await?;
        if sealed.key_id != key_id {
            return Err(format!("Status reports {key_id} and Encrypt uses {}", sealed.key_id).into());
        }
        let request = kms::DecryptRequest {
            ciphertext: sealed.ciphertext,
            uid,
            key_id: sealed.key_id,
            annotations: sealed.annotations,
        };
        let opened = self
            .call("Decrypt", client.decrypt(Request::new(request)))
            .await?;
        if Zeroizing::new(opened.plaintext).as_slice() != seed.as_slice() {
            return Err("Decrypt returned other bytes than Encrypt was given"
                .to_owned()
                .into());
        }
        Ok(())
    }

    async fn call<T>(
        &self,
        method: &str,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Unanswered> {
        match tokio::time::timeout(self.timeout, call).await {
            Err(_) => Err(unanswered(method, self.timeout)),
            Ok(Err(status)) => Err(failed(method, &status).into()),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }
}

fn unanswered(method: &str, timeout: Duration) -> Unanswered {
    Unanswered::Late(format!("{method} did not answer in {timeout:?}"))
}

fn failed(method: &str, status: &Status) -> String {
    format!("{method} failed: {:?}: {}", status.code(), status.message())
}

fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

type Client = KeyManagementServiceClient<Connection>;

async fn client(socket: &Path) -> Result<(Client, Heard), Unanswered> {
    let heard = Heard::default();
    let connection = connect(socket, &heard).await?;
    let client = Client::with_origin(connection, Uri::from_static(AUTHORITY));
    Ok((client, heard))
}

/// Whether the other end has sent anything. A server of HTTP/2 begins by that (RFC 9113, section 3.4).
#[derive(Clone, Default)]
struct Heard(Arc<AtomicBool>);

impl Heard {
    /// What went wrong, or that the other end hung up before it said anything.
    fn or_hung_up(&self, why: Unanswered) -> Unanswered {
        match why {
            Unanswered::Answer(_) if !self.0.load(Ordering::Relaxed) => {
                Unanswered::HungUp(rustix::process::geteuid().as_raw())
            }
            why => why,
        }
    }
}

/// A stream that notes what is heard.
struct Listening(UnixStream, Heard);

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.1.0.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// One HTTP/2 connection, without tonic's transport: that reconnects, balances and queues, in 80 kB of code.
#[derive(Clone)]
struct Connection(SendRequest<Body>);

async fn connect(socket: &Path, heard: &Heard) -> Result<Connection, Unanswered> {
    let stream = Listening(UnixStream::connect(socket).await?, heard.clone());
    let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|why| heard.or_hung_up(why.to_string().into()))?;
    tokio::spawn(connection);
    Ok(Connection(requests))
}

impl tower::Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
