//! An HTTP/2 client by hand (RFC 9113): it sends what no library would.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const STATUS: &str = "/v2.KeyManagementService/Status";
pub const ENCRYPT: &str = "/v2.KeyManagementService/Encrypt";
pub const DECRYPT: &str = "/v2.KeyManagementService/Decrypt";
/// How long a server may leave our bytes unread, or say nothing, before we take that for its answer.
const STALL: Duration = Duration::from_secs(3);

pub struct Raw(pub UnixStream);

impl Raw {
    /// Begins as every client does, with these settings.
    pub fn connect(socket: &Path, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self(plain(socket));
        let entries = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
        let settings = frame(SETTINGS, 0, 0, &entries.collect::<Vec<_>>());
        raw.send(&[PREFACE, &settings].concat());
        raw
    }

    /// Whether the server took all of it; it may close the connection, or stop reading.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Sends and drops what the server says meanwhile, so that it always can go on.
    pub fn send_and_drain(&mut self, bytes: &[u8]) -> bool {
        let well = self.send(bytes);
        self.0.set_nonblocking(true).unwrap();
        let mut buffer = [0; 65536];
        while matches!(self.0.read(&mut buffer), Ok(1..)) {}
        self.0.set_nonblocking(false).unwrap();
        well
    }

    /// Type, flags, stream and payload of the next frame; none where the connection is over or silent.
    pub fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        self.0.read_exact(&mut payload).ok()?;
        Some((kind, flags, u32::from_be_bytes(stream), payload))
    }

    /// Reads until the connection ends, and says whether a GOAWAY came and whether the server closed.
    pub fn farewell(&mut self) -> (bool, bool) {
        let mut goaway = false;
        loop {
            match self.next() {
                Some((kind, ..)) => goaway |= kind == GOAWAY,
                None => return (goaway, self.is_closed()),
            }
        }
    }

    /// Whether the server has closed the connection.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(why) => !matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// A connection on which nothing was said.
pub fn plain(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(STALL)).unwrap();
    stream.set_write_timeout(Some(STALL)).unwrap();
    stream
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A header block of literals that are never indexed (RFC 7541 §6.2.2).
pub fn block(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let replaced = |name: &str| more.iter().any(|(other, _)| *other == name);
    let usual = usual.iter().filter(|(name, _)| !replaced(name));
    usual
        .chain(more)
        .flat_map(|(name, value)| [&[0][..], &text(name), &text(value)].concat())
        .collect()
}

/// Length in seven bits and as many more as it needs (RFC 7541 §5.1), then the bytes.
fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if value.len() < 127 {
        out.push(u8::try_from(value.len()).unwrap());
    } else {
        let mut rest = value.len() - 127;
        out.push(127);
        while rest >= 128 {
            out.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        out.push(u8::try_from(rest).unwrap());
    }
    out.extend(value.as_bytes());
    out
}

/// The head of a request, whose message is to come.
pub fn head(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(path, &[]))
}

/// A whole request with a message that is on the wire as it is.
pub fn request(stream: u32, path: &str, message: &[u8]) -> Vec<u8> {
    [
        head(stream, path),
        frame(DATA, END_STREAM, stream, &message_of(message)),
    ]
    .concat()
}

/// gRPC's prefix: not compressed, and the length.
pub fn message_of(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[0], &length[..], bytes].concat()
}

/// The stream numbers that a client may use, from the first.
pub fn streams() -> impl Iterator<Item = u32> {
    (0..).map(|n| 2 * n + 1)
}
