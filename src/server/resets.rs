//! Notices a client whose every request HTTP/2 itself refuses.
//!
//! Up to 1.31 Kubernetes sends the socket's path as `:authority`. That is a malformed request (RFC 9113 §8.1.1): h2 resets
//! its stream, goes on with the connection, and tells neither the connection's owner nor the service. So the frames that
//! we write are followed, their headers alone, until a request has reached the service. *Why not read what the client
//! sends?* The authority is compressed (RFC 7541), and that is not for a second decoder on the way of every request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Connection;
use super::peer::Throttle;

/// RST_STREAM's code for a malformed request (RFC 9113 §7).
const PROTOCOL_ERROR: [u8; 4] = [0, 0, 0, 1];

/// What is written to a client, followed until its first request is served or its first one is refused.
pub(super) struct Watched<W> {
    inner: W,
    frames: Frames,
    connection: Arc<Connection>,
    log: Arc<Throttle>,
    done: bool,
}

impl<W> Watched<W> {
    pub(super) fn new(inner: W, connection: Arc<Connection>, log: Arc<Throttle>) -> Self {
        Self {
            inner,
            frames: Frames::default(),
            connection,
            log,
            done: false,
        }
    }

    fn wrote<'a>(&mut self, buffers: impl Iterator<Item = &'a [u8]>, mut written: usize) {
        self.done = self.done || self.connection.is_served();
        if self.done {
            return;
        }
        for buffer in buffers {
            let part = buffer.get(..written).unwrap_or(buffer);
            written -= part.len();
            if self.frames.end_a_malformed_request(part) {
                self.done = true;
                self.say();
                return;
            }
        }
    }

    fn say(&self) {
        if let Some(untold) = self.log.admit(Instant::now()) {
            tracing::warn!(
                peer = %self.connection.peer,
                untold,
                "HTTP/2 refuses this client's requests (PROTOCOL_ERROR): it is most likely a Kubernetes before 1.32, \
                 which sends the socket's path as :authority; hint: use Kubernetes 1.32 or newer, grpcurl with \
                 -authority localhost"
            );
        }
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for Watched<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Watched<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(cx, buffer))?;
        self.wrote(std::iter::once(buffer), written);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, buffers))?;
        self.wrote(buffers.iter().map(|buffer| &**buffer), written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Frame boundaries in a stream of bytes (RFC 9113 §4.1).
#[derive(Default)]
struct Frames {
    /// Of the frame that began last: its header, and the code of a RST_STREAM.
    head: Vec<u8>,
    /// Bytes of payload that are still to come.
    payload: usize,
}

impl Frames {
    /// Whether a RST_STREAM with PROTOCOL_ERROR ends in these bytes, which follow those of the last call.
    fn end_a_malformed_request(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            bytes = match bytes.split_at_checked(self.payload) {
                Some((_, after)) => after,
                None => {
                    self.payload -= bytes.len();
                    return false;
                }
            };
            self.payload = 0;
            let Some((byte, after)) = bytes.split_first() else {
                return false;
            };
            bytes = after;
            self.head.push(*byte);
            match self.head.as_slice() {
                // Length 4, type 3, flags, stream, code.
                [0, 0, 4, 3, _, _, _, _, _, code @ ..] if code.len() == PROTOCOL_ERROR.len() => {
                    if code == PROTOCOL_ERROR {
                        return true;
                    }
                    self.head.clear();
                }
                [0, 0, 4, 3, ..] => {}
                [a, b, c, _, _, _, _, _, _] => {
                    self.payload = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
                    self.head.clear();
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SETTINGS with one entry, a HEADERS frame of 300 bytes, an empty SETTINGS, and then the frame.
    fn stream(last: &[u8]) -> Vec<u8> {
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 4, 0];
        let headers = [[0, 1, 44, 1, 4, 0, 0, 0, 1].as_slice(), &[3; 300]].concat();
        [&settings, headers.as_slice(), &[0, 0, 0, 4, 1, 0, 0, 0, 0], last].concat()
    }

    #[test]
    fn finds_the_reset_however_the_bytes_are_cut() {
        let bytes = stream(&[0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1]);

        for size in [1, 2, 5, 13, 100, bytes.len()] {
            let mut frames = Frames::default();
            let found: Vec<bool> = bytes
                .chunks(size)
                .map(|part| frames.end_a_malformed_request(part))
                .collect();

            assert_eq!(found.iter().filter(|it| **it).count(), 1, "{size}");
            assert_eq!(found.last(), Some(&true), "{size}");
        }
    }

    #[test]
    fn other_frames_are_none() {
        let cancel = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        // The same bytes as payload of a DATA frame.
        let data = [0, 0, 13, 0, 0, 0, 0, 0, 1, 0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 1];

        for last in [cancel.as_slice(), &goaway, &data] {
            let mut frames = Frames::default();
            assert!(!frames.end_a_malformed_request(&stream(last)));
            assert!(frames.head.is_empty() && frames.payload == 0);
        }
    }
}
