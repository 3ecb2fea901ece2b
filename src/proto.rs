//! Generated code, and the one codec it uses. Lints are silenced here only.

use std::marker::PhantomData;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic_prost::{ProstCodec, ProstEncoder};

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction
)]
mod generated {
    pub mod v2 {
        tonic::include_proto!("v2");
    }
    pub mod ring {
        tonic::include_proto!("kekring.v1");
    }
    pub mod etcd {
        tonic::include_proto!("etcdserverpb");
    }
}

/// The KMS v2 service and messages, and kube-apiserver's stored value (package `v2` upstream).
pub mod kms {
    pub use super::generated::v2::*;
}

/// The stored bytes of a ring.
pub mod ring {
    pub use super::generated::ring::*;
}

/// The part of etcd's API that is used (package `etcdserverpb` upstream).
pub mod etcd {
    pub use super::generated::etcd::*;
}

/// A gRPC message is a few hundred bytes here; tonic's default buffers are 8 KiB for each call.
const BUFFERS: (usize, usize) = (1024, 32 * 1024);

/// prost's codec, except that a message which does not parse is the caller's fault (INVALID_ARGUMENT) and not ours.
pub struct StrictCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for StrictCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for StrictCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = StrictDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        StrictDecoder(PhantomData)
    }
}

/// The decoding half of [`StrictCodec`].
pub struct StrictDecoder<U>(PhantomData<U>);

impl<U: Message + Default> Decoder for StrictDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(buffer)
            .map(Some)
            .map_err(|_| Status::invalid_argument("the request is not a valid KMS v2 message"))
    }

    fn buffer_settings(&self) -> BufferSettings {
        settings()
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFERS.0, BUFFERS.1)
}
