//! The KMS v2 service: limits, proto ⇄ domain, error → gRPC status, one log line with the request's uid.
//!
//! Nothing here waits, except that a Decrypt under an unknown key joins one read of the store and tries once more. Nothing
//! in a request changes any state but what this connection was last told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use crate::crypto::secret::SecretBytes;
use crate::format::wrapped_seed;
use crate::keyring::live::Live;
use crate::keyring::{DecryptError, EncryptError, NotServing};
use crate::proto::kms;
use crate::proto::kms::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};
use crate::reload::Refresh;
use crate::server::connection::Connection;
use crate::telemetry::{self, Decrypted, Metrics, Printable};

/// The constant that kube-apiserver expects; it may never change while it runs.
const VERSION: &str = "v2";
/// The only text that counts as healthy. An unhealthy plugin answers with an error instead: kubernetes#138950.
const HEALTHY: &str = "ok";
/// Longest uid that is taken, in bytes; kube-apiserver sends a UUID of 36.
pub const MAX_UID: usize = 256;
/// Longest key_id that is looked at, in bytes: kube-apiserver's own limit (k8s.io/apiserver kmsv2/envelope.go).
pub const MAX_KEY_ID: usize = 1024;
/// Largest gRPC message, in bytes: 1 KiB of ciphertext, 1 KiB of key_id, the 32 KiB of annotations that kube-apiserver
/// would allow, and room.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// For how long after a Status the connection's Encrypt uses the key that it reported.
pub const STATUS_GRACE: Duration = Duration::from_secs(30);

/// The service as one connection sees it.
#[derive(Clone)]
pub struct Service {
    live: Arc<Live>,
    refresh: Refresh,
    connection: Arc<Connection>,
    metrics: Arc<Metrics>,
}

impl Service {
    /// The generated server around the service for one connection.
    pub fn server(
        live: Arc<Live>,
        refresh: Refresh,
        connection: Arc<Connection>,
        metrics: Arc<Metrics>,
    ) -> KeyManagementServiceServer<Self> {
        KeyManagementServiceServer::new(Self {
            live,
            refresh,
            connection,
            metrics,
        })
        .max_decoding_message_size(MAX_MESSAGE)
    }

    fn log(
        &self,
        method: &'static str,
        uid: &str,
        key_id: &str,
        started: Instant,
        result: Result<(), &Status>,
    ) {
        let peer = &self.connection.peer;
        let (uid, key_id) = (Printable::new(uid), Printable::new(key_id));
        // Read where there is a line: a good Decrypt has none.
        let took = || started.elapsed().as_micros();
        match result {
            Ok(()) if method == "Encrypt" => {
                if let Some(untold) = self.connection.encrypts.admit(started) {
                    tracing::info!(%uid, %key_id, %peer, took_us = took(), untold, "{method} done");
                }
            }
            Ok(()) => tracing::debug!(%uid, %key_id, %peer, took_us = took(), "{method} done"),
            Err(status) => {
                let (code, why) = (status.code(), Printable::reason(status.message()));
                tracing::info!(%uid, %key_id, %peer, took_us = took(), ?code, %why, "{method} refused");
            }
        }
    }

    fn encrypt(&self, request: kms::EncryptRequest) -> Result<kms::EncryptResponse, Status> {
        let plaintext = Zeroizing::new(request.plaintext);
        check_length("uid", request.uid.len(), 0, MAX_UID)?;
        let reported = self.connection.reported_within(STATUS_GRACE);
        let (ciphertext, key_id) =
            self.live
                .load()
                .encrypt(reported.as_ref(), &plaintext)
                .map_err(|why| match why {
                    EncryptError::NotServing(reason) => not_serving(&reason),
                    EncryptError::Length(_) => Status::invalid_argument(why.to_string()),
                    EncryptError::Seal(_) => Status::internal(why.to_string()),
                })?;
        Ok(kms::EncryptResponse {
            ciphertext,
            key_id: key_id.as_str().to_owned(),
            annotations: std::collections::HashMap::new(),
        })
    }

    fn decrypt(&self, request: &kms::DecryptRequest) -> Result<SecretBytes, DecryptError> {
        self.live.load().decrypt(&request.key_id, &request.ciphertext)
    }
}

#[tonic::async_trait]
impl KeyManagementService for Service {
    async fn status(&self, _: Request<kms::StatusRequest>) -> Result<Response<kms::StatusResponse>, Status> {
        let started = Instant::now();
        let keyring = self.live.load();
        let now = telemetry::now();
        self.metrics.polled(now);
        let result = match keyring.status() {
            Ok(key_id) => {
                self.connection.report(key_id, now);
                Ok(kms::StatusResponse {
                    version: VERSION.to_owned(),
                    healthz: HEALTHY.to_owned(),
                    key_id: key_id.as_str().to_owned(),
                })
            }
            Err(reason) => Err(not_serving(reason)),
        };
        self.log("Status", "", "", started, result.as_ref().map(|_| ()));
        result.map(Response::new)
    }

    async fn encrypt(
        &self,
        request: Request<kms::EncryptRequest>,
    ) -> Result<Response<kms::EncryptResponse>, Status> {
        let started = Instant::now();
        let request = request.into_inner();
        let uid = request.uid.clone();
        let result = guarded(|| self.encrypt(request));
        let key_id = result.as_ref().map_or("", |response| &response.key_id);
        self.metrics.keys.encrypted(key_id);
        self.log("Encrypt", &uid, key_id, started, result.as_ref().map(|_| ()));
        result.map(Response::new)
    }

    async fn decrypt(
        &self,
        request: Request<kms::DecryptRequest>,
    ) -> Result<Response<kms::DecryptResponse>, Status> {
        let started = Instant::now();
        let request = request.into_inner();
        let attempt = || guarded(|| Ok(self.decrypt(&request)));
        let mut result = check_decrypt(&request).and_then(|()| attempt());
        if let Ok(Err(DecryptError::UnknownKey(_))) = result {
            self.refresh.joined().await;
            result = attempt();
        }
        if let Ok(opened) = &result {
            self.metrics
                .keys
                .decrypted(&request.key_id, outcome(opened.as_ref().err()));
        }
        let result = result.and_then(|opened| opened.map_err(|why| undecryptable(&why)));
        self.log(
            "Decrypt",
            &request.uid,
            &request.key_id,
            started,
            result.as_ref().map(|_| ()),
        );
        result.map(|plaintext| {
            Response::new(kms::DecryptResponse {
                plaintext: plaintext.expose_owned(),
            })
        })
    }
}

fn check_decrypt(request: &kms::DecryptRequest) -> Result<(), Status> {
    check_length("uid", request.uid.len(), 0, MAX_UID)?;
    check_length("key_id", request.key_id.len(), 1, MAX_KEY_ID)?;
    check_length("ciphertext", request.ciphertext.len(), 1, wrapped_seed::MAX_LEN)?;
    if !request.annotations.is_empty() {
        return Err(Status::invalid_argument(
            "annotations are present, and kekring gives none out",
        ));
    }
    Ok(())
}

fn check_length(what: &str, length: usize, least: usize, most: usize) -> Result<(), Status> {
    if (least..=most).contains(&length) {
        return Ok(());
    }
    Err(Status::invalid_argument(format!(
        "{what} is {length} bytes, {least} to {most} are accepted"
    )))
}

fn not_serving(reason: &NotServing) -> Status {
    // kube-apiserver logs it.
    let text = telemetry::plain(&reason.to_string()).into_owned();
    match reason {
        NotServing::NoActiveKey(_) => Status::unavailable(text),
        _ => Status::failed_precondition(text),
    }
}

fn outcome(failure: Option<&DecryptError>) -> Decrypted {
    match failure {
        None => Decrypted::Done,
        Some(DecryptError::Suspended(_)) => Decrypted::Suspended,
        Some(DecryptError::Ciphertext) => Decrypted::Failed,
        // A name of another form is one that the ring does not have, too.
        Some(DecryptError::UnknownKey(_) | DecryptError::MalformedKeyId) => Decrypted::UnknownKey,
    }
}

fn undecryptable(why: &DecryptError) -> Status {
    match why {
        DecryptError::UnknownKey(_) => Status::not_found(why.to_string()),
        DecryptError::Suspended(_) => Status::failed_precondition(why.to_string()),
        DecryptError::MalformedKeyId | DecryptError::Ciphertext => Status::invalid_argument(why.to_string()),
    }
}

/// A panic fails this request and no other.
fn guarded<T>(run: impl FnOnce() -> Result<T, Status>) -> Result<T, Status> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err(panicked()))
}

/// What a request is told that panicked.
pub fn panicked() -> Status {
    tracing::error!("a request panicked; it alone failed");
    Status::internal("internal error")
}
