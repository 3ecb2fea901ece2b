//! A connection's socket as HTTP/2 reads and writes it, with as few system calls and wake-ups as it can be done with.
//!
//! What is written waits for one turn of the event loop. grpc-go sends a PING with nearly every request: its answer then
//! leaves together with the request's, and a client wakes once.
//!
//! The kernel is asked to tell when there is something to read, and nothing else. Registered for writing too, an
//! edge-triggered socket would wake us each time the peer has read; only while the peer does not read are we told when it
//! does.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

/// A socket behind bytes that were read off it before.
pub(super) struct Stream {
    before: &'static [u8],
    socket: AsyncFd<StdStream>,
    /// Registered for writing, while the socket takes no more.
    full: Option<AsyncFd<StdStream>>,
    turn: Turn,
    /// The turn in which something was to be written first.
    asked: Option<u64>,
    /// The turn in which more came than was asked for.
    filled: Option<u64>,
}

/// Counts how often a connection has been polled, by its stream's reckoning of time.
#[derive(Clone, Default)]
pub(super) struct Turn(Arc<AtomicU64>);

impl Turn {
    /// The same future, each of whose polls is a turn.
    pub(super) async fn of<F: Future>(self, connection: F) -> F::Output {
        let mut connection = pin!(connection);
        poll_fn(|context| {
            self.0.fetch_add(1, Ordering::Relaxed);
            connection.as_mut().poll(context)
        })
        .await
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Stream {
    /// `before` is read first, then the socket.
    pub(super) fn new(before: &'static [u8], socket: UnixStream, turn: Turn) -> io::Result<Self> {
        Ok(Self {
            before,
            socket: register(socket.into_std()?, Interest::READABLE)?,
            full: None,
            turn,
            asked: None,
            filled: None,
        })
    }

    fn poll_sending(
        &mut self,
        context: &mut Context<'_>,
        send: impl Fn(&StdStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let turn = self.turn.now();
        if *self.asked.get_or_insert(turn) == turn {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(full) = &self.full {
                ready!(full.poll_write_ready(context))?.retain_ready();
                self.full = None;
            }
            match send(self.socket.get_ref()) {
                Err(why) if why.kind() == ErrorKind::WouldBlock => {
                    let socket = self.socket.get_ref().try_clone()?;
                    self.full = Some(register(socket, Interest::WRITABLE)?);
                }
                Err(why) if why.kind() == ErrorKind::Interrupted => {}
                result => {
                    self.asked = None;
                    return Poll::Ready(result);
                }
            }
        }
    }
}

/// What replaces this function is unsafe, for types that may change their descriptor; a socket of the standard library never
/// does.
#[allow(deprecated)]
fn register(socket: StdStream, interest: Interest) -> io::Result<AsyncFd<StdStream>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.before.is_empty() {
            let (now, later) = self.before.split_at(self.before.len().min(buffer.remaining()));
            buffer.put_slice(now);
            self.before = later;
            return Poll::Ready(Ok(()));
        }
        let turn = self.turn.now();
        if self.filled == Some(turn) {
            // One buffer a turn: a client that sends without end waits for the others.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            let room = unfilled.len();
            match ready.try_io(|socket| socket.get_ref().read(unfilled)) {
                Ok(Ok(count)) => {
                    if (1..room).contains(&count) {
                        // Nothing is left: no second call to hear so.
                        ready.clear_ready();
                    }
                    self.filled = (count == room).then_some(turn);
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(why)) if why.kind() == ErrorKind::Interrupted => {}
                Ok(Err(why)) => return Poll::Ready(Err(why)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_sending(context, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_sending(context, |mut socket| socket.write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}
