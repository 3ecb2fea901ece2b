//! One HTTP/2 connection to one member, and what is known of each request on it.
//!
//! Why not tonic's own channel: it reconnects and queues out of sight, and an error of it does not tell whether the request
//! had left. Whether a change may have happened hangs on that, so the connection is hyper's, and [`Trace`] notes for each
//! call what was sent and whose word the answer is.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::body::Body;

use super::endpoint::Endpoint;
use super::error::{EtcdError, chain};
use super::tls::{Stamp, Tls};

/// How long a connection with a call on it may be silent before it is asked whether it lives; etcd closes connections that
/// ask more often than every 5 s (its `--grpc-keepalive-min-time`).
const PING_EVERY: Duration = Duration::from_secs(6);
/// How long that question may stay unanswered.
const PING_WAIT: Duration = Duration::from_secs(4);
/// Largest header block of an answer, in bytes; etcd's hold a line of text.
const MAX_HEADERS: u32 = 16 * 1024;
/// What ends every gRPC answer, and nothing else.
const GRPC_STATUS: &str = "grpc-status";

/// A connection that requests can be sent on.
#[derive(Clone)]
pub(super) struct Line {
    requests: SendRequest<Body>,
    origin: Uri,
    /// The files that it was made with; none with plain HTTP.
    pub(super) stamp: Option<Stamp>,
    refusal: Refusal,
}

/// What is known of one request.
#[derive(Default)]
pub(super) struct Trace {
    sent: AtomicBool,
    said: AtomicBool,
}

impl Trace {
    #[cfg(test)]
    pub(super) fn of(sent: bool, said: bool) -> Self {
        Self {
            sent: sent.into(),
            said: said.into(),
        }
    }

    /// Whether any of it may have left.
    pub(super) fn sent(&self) -> bool {
        self.sent.load(Ordering::Acquire)
    }

    /// Whether the status of the answer is the server's own word, not made here from what happened on the way.
    pub(super) fn said(&self) -> bool {
        self.said.load(Ordering::Acquire)
    }
}

/// A new connection, and what becomes of it. That HTTP/2 was agreed on says nothing yet of the other side: with TLS 1.3 a
/// certificate is refused later, and a frozen process still connects.
pub(super) async fn open(
    endpoint: &Endpoint,
    tls: Option<&Tls>,
) -> Result<(Line, JoinHandle<hyper::Result<()>>), EtcdError> {
    let origin = endpoint.origin();
    let Some(name) = endpoint.server_name() else {
        let (requests, connection) = handshake(dial(endpoint).await?).await?;
        let line = Line {
            requests,
            origin,
            stamp: None,
            refusal: Refusal::default(),
        };
        return Ok((line, connection));
    };
    let tls = tls.ok_or_else(|| EtcdError::Config("https needs files for TLS".into()))?;
    let loaded = tls.load()?;
    let stream = dial(endpoint).await?;
    let secured = TlsConnector::from(Arc::clone(&loaded.config))
        .connect(name.clone(), stream)
        .await;
    let secured = secured.map_err(|why| {
        broken(tls, &why).within(|text| match &loaded.trouble {
            None => text,
            Some(trouble) => format!("{text} (newer files are not used: {trouble})"),
        })
    })?;
    let refusal = Refusal::default();
    let noted = Noted {
        stream: secured,
        refusal: Arc::clone(&refusal),
    };
    let (requests, connection) = handshake(noted).await?;
    let line = Line {
        requests,
        origin,
        stamp: Some(loaded.stamp.clone()),
        refusal,
    };
    Ok((line, connection))
}

/// What an error of a connection is to the caller: TLS's own are told apart.
fn broken(tls: &Tls, error: &io::Error) -> EtcdError {
    match refusal(error) {
        Some(why) => tls.failure(why),
        None => EtcdError::Unavailable(chain(error)),
    }
}

async fn dial(endpoint: &Endpoint) -> Result<TcpStream, EtcdError> {
    let failed = |why: io::Error| EtcdError::Unavailable(format!("cannot connect: {why}"));
    let plain = endpoint.server_name().is_none();
    let mut last = io::Error::other("its name has no address that may be used");
    for address in tokio::net::lookup_host(endpoint.address())
        .await
        .map_err(failed)?
    {
        // `localhost` is what the machine's files say.
        if plain && !address.ip().is_loopback() {
            continue;
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(failed)?;
                return Ok(stream);
            }
            Err(why) => last = why,
        }
    }
    Err(failed(last))
}

async fn handshake<S>(stream: S) -> Result<(SendRequest<Body>, JoinHandle<hyper::Result<()>>), EtcdError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT)
        .max_header_list_size(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|why| EtcdError::Unavailable(format!("it does not speak HTTP/2: {}", chain(&why))))?;
    Ok((requests, tokio::spawn(connection)))
}

/// What TLS said of a connection that HTTP/2 had already begun on: h2 keeps the text of such an error alone.
type Refusal = Arc<OnceLock<rustls::Error>>;

fn refusal(why: &io::Error) -> Option<&rustls::Error> {
    why.get_ref()?.downcast_ref()
}

/// A stream that keeps what TLS says.
struct Noted {
    stream: TlsStream<TcpStream>,
    refusal: Refusal,
}

impl AsyncRead for Noted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if let Err(why) = &read
            && let Some(why) = refusal(why)
        {
            // The first is the one that counts.
            let _ = self.refusal.set(why.clone());
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Noted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Line {
    /// What TLS ended it of, if it did.
    pub(super) fn refusal(&self) -> Option<&rustls::Error> {
        self.refusal.get()
    }

    /// Whether nothing more can be sent.
    pub(super) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    pub(super) fn origin(&self) -> Uri {
        self.origin.clone()
    }

    /// This connection for one call, and what will be known of it.
    pub(super) fn traced(&self) -> (Traced, Arc<Trace>) {
        let trace = Arc::new(Trace::default());
        let traced = Traced {
            requests: self.requests.clone(),
            trace: Arc::clone(&trace),
        };
        (traced, trace)
    }
}

/// A connection for one call.
pub(super) struct Traced {
    requests: SendRequest<Body>,
    trace: Arc<Trace>,
}

impl tower::Service<http::Request<Body>> for Traced {
    type Response = http::Response<Heard>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.requests.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let trace = Arc::clone(&self.trace);
        trace.sent.store(true, Ordering::Release);
        let sending = self.requests.try_send_request(request);
        Box::pin(async move {
            match sending.await {
                Ok(response) => {
                    if response.headers().contains_key(GRPC_STATUS) {
                        trace.said.store(true, Ordering::Release);
                    }
                    Ok(response.map(|body| Heard { body, trace }))
                }
                Err(mut why) => {
                    // hyper gives back what it has not begun to send.
                    if why.take_message().is_some() {
                        trace.sent.store(false, Ordering::Release);
                    }
                    Err(why.into_error())
                }
            }
        })
    }
}

/// The body of an answer; notes when it ends with a gRPC status.
pub(super) struct Heard {
    body: Incoming,
    trace: Arc<Trace>,
}

impl HttpBody for Heard {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
            && trailers.contains_key(GRPC_STATUS)
        {
            self.trace.said.store(true, Ordering::Release);
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
