//! One gRPC call on one connection, of bytes that are already encoded: one piece of code for every method, where code for
//! each pair of messages would make the program larger by a tenth.

use http::uri::PathAndQuery;
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Status, Streaming};

use super::connect::{Line, Traced};
use super::error::EtcdError;

/// Largest answer that is taken, in bytes.
pub const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// A message as it is sent.
pub(super) fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// A message as it came.
pub(super) fn decoded<A: Message + Default>(answer: Bytes) -> Result<A, EtcdError> {
    A::decode(answer).map_err(|_| EtcdError::Malformed("its answer is none of etcd's API".into()))
}

/// One request, one answer. `traced` is of the same connection as `line`.
pub(super) async fn unary(
    line: &Line,
    traced: Traced,
    path: &'static str,
    request: Request<Bytes>,
) -> Result<Bytes, Status> {
    let mut grpc = Grpc::with_origin(traced, line.origin()).max_decoding_message_size(MAX_ANSWER);
    grpc.ready()
        .await
        .map_err(|why| Status::from_error(Box::new(why)))?;
    let answer = grpc.unary(request, PathAndQuery::from_static(path), Raw).await?;
    Ok(answer.into_inner())
}

/// A stream of answers.
pub(super) async fn streaming(
    line: &Line,
    path: &'static str,
    request: Request<impl Stream<Item = Bytes> + Send + 'static>,
) -> Result<Streaming<Bytes>, Status> {
    let (traced, _) = line.traced();
    let mut grpc = Grpc::with_origin(traced, line.origin()).max_decoding_message_size(MAX_ANSWER);
    grpc.ready()
        .await
        .map_err(|why| Status::from_error(Box::new(why)))?;
    let answers = grpc
        .streaming(request, PathAndQuery::from_static(path), Raw)
        .await?;
    Ok(answers.into_inner())
}

/// Bytes as they are.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
