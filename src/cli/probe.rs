//! `kekring probe`: a KMS v2 client, for exec probes and scripts. Works on any KMS v2 plugin.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::Output;
use super::place::Place;
use crate::config::duration;
use crate::crypto::random;
use crate::proto::kms;
use crate::proto::kms::key_management_service_client::KeyManagementServiceClient;

/// Exit code 0 when the plugin is healthy by kube-apiserver's own rules, 1 when it is not.
#[derive(Args)]
pub(super) struct Probe {
    /// The plugin's socket [default: the configuration's]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Also encrypt 32 random bytes, as kube-apiserver does, and decrypt them again
    #[arg(long)]
    round_trip: bool,
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

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    /// Nobody to ask.
    #[error(transparent)]
    Connect(#[from] std::io::Error),
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
            Self::Answer(_) => "see `kekring status` and the log of `kekring serve`",
        }
    }
}

impl Probe {
    pub(super) fn run(&self, place: &Place) -> Result<(), Failure> {
        let socket = match &self.socket {
            Some(path) => path.clone(),
            None => place.config()?.socket.path,
        };
        let failed = |why: Unanswered| {
            let hint = why.hint();
            Failure::failed(
                format!("cannot probe the plugin at {}: {why}", socket.display()),
                hint,
            )
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|why| failed(why.to_string().into()))?;
        let answer = runtime.block_on(self.ask(&socket)).map_err(failed)?;
        self.output.print(&answer, |it| {
            let trip = it
                .round_trip
                .map(|trip| format!(", round trip {trip}"))
                .unwrap_or_default();
            format!(
                "{} {}, key {}{trip} in {} ms",
                it.version, it.healthz, it.key_id, it.milliseconds
            )
        });
        Ok(())
    }

    async fn ask(&self, socket: &Path) -> Result<Answer, Unanswered> {
        let started = Instant::now();
        let mut client = KeyManagementServiceClient::new(connect(socket.to_owned()).await?);
        let status = self
            .call("Status", client.status(Request::new(kms::StatusRequest {})))
            .await?;
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
            milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn round_trip(
        &self,
        client: &mut KeyManagementServiceClient<Channel>,
        key_id: &str,
    ) -> Result<(), String> {
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
            return Err(format!(
                "Status reports {key_id} and Encrypt uses {}",
                sealed.key_id
            ));
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
            return Err("Decrypt returned other bytes than Encrypt was given".into());
        }
        Ok(())
    }

    async fn call<T>(
        &self,
        method: &str,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, String> {
        match tokio::time::timeout(self.timeout, call).await {
            Err(_) => Err(format!("{method} did not answer in {:?}", self.timeout)),
            Ok(Err(status)) => Err(format!(
                "{method} failed: {:?}: {}",
                status.code(),
                status.message()
            )),
            Ok(Ok(response)) => Ok(response.into_inner()),
        }
    }
}

async fn connect(socket: PathBuf) -> Result<Channel, Unanswered> {
    let stream = UnixStream::connect(&socket).await?;
    let mut stream = Some(stream);
    // The authority is what kube-apiserver sends; the one connection above is the only one.
    Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let stream = stream
                .take()
                .ok_or_else(|| std::io::Error::other("the connection was lost"));
            async move { stream.map(TokioIo::new) }
        }))
        .await
        .map_err(|why| why.to_string().into())
}
