//! A KMS v2 client on one connection, with each call waited for.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use kekring::proto::kms;
use kekring::proto::kms::key_management_service_client::KeyManagementServiceClient;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// No call of a healthy plugin comes near this.
const DEADLINE: Duration = Duration::from_secs(20);

pub struct Client {
    runtime: Runtime,
    channel: Channel,
}

impl Client {
    pub fn connect(socket: &Path) -> Self {
        // A thread of its own answers the server's pings and its goodbye between calls, as kube-apiserver does.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let path = socket.to_owned();
        let channel =
            runtime
                .block_on(Endpoint::from_static("http://localhost").connect_with_connector(
                    tower::service_fn(move |_| {
                        let path = path.clone();
                        async move { UnixStream::connect(path).await.map(TokioIo::new) }
                    }),
                ))
                .unwrap();
        Self { runtime, channel }
    }

    pub fn status(&self) -> Result<kms::StatusResponse, Status> {
        let mut client = KeyManagementServiceClient::new(self.channel.clone());
        self.wait(client.status(Request::new(kms::StatusRequest {})))
    }

    pub fn key_id(&self) -> String {
        self.status().unwrap().key_id
    }

    pub fn encrypt(&self, plaintext: &[u8]) -> Result<kms::EncryptResponse, Status> {
        self.encrypt_with(kms::EncryptRequest {
            plaintext: plaintext.to_vec(),
            uid: "a-uid".into(),
        })
    }

    pub fn encrypt_with(&self, request: kms::EncryptRequest) -> Result<kms::EncryptResponse, Status> {
        let mut client = KeyManagementServiceClient::new(self.channel.clone());
        self.wait(client.encrypt(Request::new(request)))
    }

    pub fn decrypt(&self, sealed: &kms::EncryptResponse) -> Result<Vec<u8>, Status> {
        self.decrypt_with(kms::DecryptRequest {
            ciphertext: sealed.ciphertext.clone(),
            uid: "a-uid".into(),
            key_id: sealed.key_id.clone(),
            annotations: sealed.annotations.clone(),
        })
    }

    pub fn decrypt_with(&self, request: kms::DecryptRequest) -> Result<Vec<u8>, Status> {
        let mut client = KeyManagementServiceClient::new(self.channel.clone());
        self.wait(client.decrypt(Request::new(request)))
            .map(|response| response.plaintext)
    }

    /// Begins a Decrypt and goes away in the middle of it, after `meanwhile`.
    pub fn abandon<T>(&self, request: kms::DecryptRequest, meanwhile: impl FnOnce() -> T) -> T {
        let mut client = KeyManagementServiceClient::new(self.channel.clone());
        let call = self
            .runtime
            .spawn(async move { client.decrypt(Request::new(request)).await.map(|_| ()) });
        let seen = meanwhile();
        call.abort();
        seen
    }

    /// Sends any message to any method, and says how that was answered.
    pub fn code<M: prost::Message + Default + 'static>(&self, path: &'static str, message: M) -> Code {
        self.raw(path, message)
            .err()
            .map_or(Code::Ok, |status| status.code())
    }

    pub fn raw<M: prost::Message + Default + 'static>(
        &self,
        path: &'static str,
        message: M,
    ) -> Result<(), Status> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        self.runtime.block_on(async {
            grpc.ready().await.unwrap();
            let path = http::uri::PathAndQuery::from_static(path);
            let codec = ProstCodec::<M, kms::StatusResponse>::default();
            let call = grpc.unary(Request::new(message), path, codec);
            tokio::time::timeout(DEADLINE, call)
                .await
                .expect("an answer in time")
                .map(|_| ())
        })
    }

    fn wait<T>(&self, call: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Status> {
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(DEADLINE, call).await });
        answer
            .expect("an answer in time")
            .map(tonic::Response::into_inner)
    }
}
