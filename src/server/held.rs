//! What a request holds in memory from its first header until its answer has gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::connection::Connection;
use super::places::Places;

/// What HTTP/2, hyper and tonic keep for a request beside its own bytes, about.
const REQUEST: usize = 4096;

/// Bytes that count for a connection until this is dropped.
pub(super) struct Held {
    places: Arc<Places>,
    connection: Arc<Connection>,
    bytes: usize,
}

impl Held {
    /// What a request with these headers holds whatever its message is.
    pub(super) fn by(places: &Arc<Places>, connection: &Arc<Connection>, headers: &HeaderMap) -> Self {
        let text = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len());
        let mut held = Self::nothing(places, connection);
        held.more(REQUEST + text.sum::<usize>());
        held
    }

    fn nothing(places: &Arc<Places>, connection: &Arc<Connection>) -> Self {
        Self {
            places: Arc::clone(places),
            connection: Arc::clone(connection),
            bytes: 0,
        }
    }

    fn more(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.places.hold(&self.connection, bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.places.release(&self.connection, self.bytes);
    }
}

/// A message as it comes in.
pub(super) struct Message {
    body: Incoming,
    held: Held,
}

impl Message {
    pub(super) fn new(body: Incoming, places: &Arc<Places>, connection: &Arc<Connection>) -> Self {
        Self {
            body,
            held: Held::nothing(places, connection),
        }
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.held.more(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer as it goes out.
pub(super) struct Reply {
    body: tonic::body::Body,
    _held: Option<Held>,
}

impl Reply {
    pub(super) fn new(body: tonic::body::Body, held: Option<Held>) -> Self {
        Self { body, _held: held }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
