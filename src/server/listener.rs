//! The unix socket: final mode from its first moment, in a directory that nobody else can write, never in another
//! server's place.
//!
//! kube-apiserver does not authenticate us: whoever can put a socket at this path while we are away is given the seeds.
//! So every directory above it must be writable by root or us alone; a sticky one, such as `/tmp`, counts where the entry
//! below it is root's or ours, since nobody else can then replace that entry.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("cannot listen on {0}: another server is listening there; it was left alone")]
    Live(PathBuf),
    /// Another start holds the lock.
    #[error("cannot listen on {0}: another kekring holds {0}.lock; it was left alone")]
    Locked(PathBuf),
    /// A file, a directory, a link.
    #[error("cannot listen on {0}: something that is no socket is there; it was left alone")]
    Foreign(PathBuf),
    /// Somebody else could put a socket in our place.
    #[error("cannot listen on {path}: {why}")]
    Insecure {
        /// The socket.
        path: PathBuf,
        /// Which directory, and why.
        why: String,
    },
    /// The configured group does not exist, or a system call failed.
    #[error("cannot listen on {path}: {why}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl ListenError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Live(_) | Self::Locked(_) => "stop the other server first, or set another socket.path",
            Self::Foreign(_) => "move it away if it is not needed, or set another socket.path",
            Self::Insecure { .. } => "mend owner and mode, or set a socket.path under /run/kekring",
            Self::Io { .. } => "check that the directory exists and can be written",
        }
    }

    /// Refused for safety, as opposed to failed.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }
}

/// How the socket is to be.
#[derive(Clone, Debug)]
pub struct SocketSpec {
    /// Where.
    pub path: PathBuf,
    /// Its mode.
    pub mode: u32,
    /// Its group, where it is to differ from ours.
    pub group: Option<u32>,
}

/// The sockets that we accept from: ours, or systemd's and perhaps a second one at the same path.
pub struct Door {
    sockets: Vec<UnixListener>,
    spec: SocketSpec,
    /// Device and inode of the socket at the path.
    identity: Option<(u64, u64)>,
    activated: bool,
    /// Held as long as we serve.
    _lock: Option<File>,
}

impl Door {
    /// Binds. A stale socket is removed; whatever else is at the path is left alone and refused.
    pub fn bind(spec: SocketSpec) -> Result<Self, ListenError> {
        let failed = |why| ListenError::Io {
            path: spec.path.clone(),
            why,
        };
        make_directory(&spec)?;
        secure_directories(&spec.path, ourselves())?;
        let lock = lock(&spec.path)?;
        remove_stale(&spec.path)?;
        let socket = bind(&spec).map_err(failed)?;
        Ok(Self {
            sockets: vec![socket],
            identity: identity(&spec.path),
            spec,
            activated: false,
            _lock: Some(lock),
        })
    }

    /// Takes over a listening socket from systemd.
    pub fn activated(socket: StdListener, mut spec: SocketSpec) -> Result<Self, ListenError> {
        let failed = |path: &Path, why| ListenError::Io {
            path: path.to_owned(),
            why,
        };
        let address = socket.local_addr().map_err(|why| failed(&spec.path, why))?;
        let path = address.as_pathname().ok_or_else(|| ListenError::Insecure {
            path: spec.path.clone(),
            why: "the socket that was passed in has no path".into(),
        })?;
        spec.path = path.to_owned();
        secure_directories(path, ourselves())?;
        // A second socket of our predecessor's, which lies there where systemd's own was removed: the first `mend` binds
        // another one. A live one stays, and systemd's is alive.
        let _ = remove_stale(path);
        socket
            .set_nonblocking(true)
            .and_then(|()| UnixListener::from_std(socket))
            .map(|socket| Self {
                sockets: vec![socket],
                identity: identity(&spec.path),
                spec: spec.clone(),
                activated: true,
                _lock: None,
            })
            .map_err(|why| failed(&spec.path, why))
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.spec.path
    }

    /// The next connection, from whichever socket has one.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        std::future::poll_fn(|context| {
            for socket in &self.sockets {
                if let std::task::Poll::Ready(result) = socket.poll_accept(context) {
                    return std::task::Poll::Ready(result.map(|(stream, _)| stream));
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Binds again where the socket was removed under us; says what was done, or why nothing could be.
    pub fn mend(&mut self) -> Option<Result<&'static str, ListenError>> {
        match identity(&self.spec.path) {
            now if now == self.identity && now.is_some() => None,
            Some(_) => Some(Err(ListenError::Live(self.spec.path.clone()))),
            None => Some(self.bind_again()),
        }
    }

    fn bind_again(&mut self) -> Result<&'static str, ListenError> {
        make_directory(&self.spec)?;
        secure_directories(&self.spec.path, ourselves())?;
        let socket = bind(&self.spec).map_err(|why| ListenError::Io {
            path: self.spec.path.clone(),
            why,
        })?;
        self.identity = identity(&self.spec.path);
        if self.activated {
            // systemd's own socket stays: who holds it open would otherwise be refused.
            self.sockets.truncate(1);
            self.sockets.push(socket);
            return Ok(
                "a second socket was bound beside systemd's; to have one again, stop the .socket units and the service, and start it",
            );
        }
        self.sockets = vec![socket];
        Ok("the socket was bound again")
    }

    /// Stops listening. Our own socket is removed; systemd's is left, so that clients wait for our successor.
    pub fn close(self) {
        if !self.activated && identity(&self.spec.path) == self.identity {
            let _ = fs::remove_file(&self.spec.path);
        }
    }
}

fn bind(spec: &SocketSpec) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode of the unbound socket, less the umask: it never exists with another one.
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(spec.mode))?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&spec.path)?)?;
    if let Some(group) = spec.group {
        std::os::unix::fs::chown(&spec.path, None, Some(group))?;
    }
    rustix::net::listen(&socket, BACKLOG)?;
    UnixListener::from_std(StdListener::from(socket))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Makes the socket's directory where it is missing, for us alone or for the socket's group too.
pub fn make_directory(spec: &SocketSpec) -> Result<(), ListenError> {
    let dir = spec.path.parent().unwrap_or(Path::new("/"));
    let mode = if spec.group.is_some() { 0o750 } else { 0o700 };
    let made = match fs::DirBuilder::new().mode(mode).create(dir) {
        Err(why) if why.kind() == ErrorKind::AlreadyExists => Ok(()),
        Ok(()) => spec
            .group
            .map_or(Ok(()), |group| std::os::unix::fs::chown(dir, None, Some(group))),
        Err(why) => Err(io::Error::new(why.kind(), format!("{}: {why}", dir.display()))),
    };
    made.map_err(|why| ListenError::Io {
        path: spec.path.clone(),
        why,
    })
}

/// Refuses a path where somebody else than root and `me` could put another socket in its place.
pub fn secure_directories(path: &Path, me: u32) -> Result<(), ListenError> {
    let ours = |uid: u32| uid == 0 || uid == me;
    let insecure = |why: String| ListenError::Insecure {
        path: path.to_owned(),
        why,
    };
    let real = path
        .parent()
        .unwrap_or(Path::new("/"))
        .canonicalize()
        .map_err(|why| ListenError::Io {
            path: path.to_owned(),
            why,
        })?;
    let mut below: Option<Metadata> = None;
    for dir in real.ancestors() {
        let metadata = fs::metadata(dir).map_err(|why| insecure(format!("{}: {why}", dir.display())))?;
        if !ours(metadata.uid()) {
            return Err(insecure(format!(
                "{} belongs to uid {}, who could put another socket in its place",
                dir.display(),
                metadata.uid()
            )));
        }
        let sticky = metadata.mode() & 0o1000 != 0;
        let protected = sticky && below.as_ref().is_some_and(|entry| ours(entry.uid()));
        if metadata.mode() & 0o022 != 0 && !protected {
            return Err(insecure(format!(
                "others can write {} (mode {:04o}) and could put another socket in its place",
                dir.display(),
                metadata.mode() & 0o7777
            )));
        }
        below = Some(metadata);
    }
    Ok(())
}

fn ourselves() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Two starts at once would both find the socket stale: one of them waits outside.
fn lock(path: &Path) -> Result<File, ListenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(PathBuf::from(name))
        .map_err(|why| ListenError::Io {
            path: path.to_owned(),
            why,
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(ListenError::Locked(path.to_owned())),
        Err(fs::TryLockError::Error(why)) => Err(ListenError::Io {
            path: path.to_owned(),
            why,
        }),
    }
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |why| ListenError::Io {
        path: path.to_owned(),
        why,
    };
    match fs::symlink_metadata(path) {
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(()),
        Err(why) => return Err(failed(why)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::Foreign(path.to_owned()));
        }
        Ok(_) => {}
    }
    match probe(path) {
        Err(rustix::io::Errno::CONNREFUSED) => fs::remove_file(path).map_err(failed),
        Err(rustix::io::Errno::NOENT) => Ok(()),
        // It accepts, or its backlog is full, or it refuses us in particular: it is alive.
        _ => Err(ListenError::Live(path.to_owned())),
    }
}

/// Who seems to hold the socket at `path`, for people; `None` where nobody listens.
pub fn occupant(path: &Path) -> Option<&'static str> {
    use rustix::io::Errno;
    match probe(path) {
        Err(Errno::CONNREFUSED | Errno::NOENT | Errno::NOTDIR) => None,
        Err(Errno::ACCESS) => Some("a socket that does not let this user in"),
        _ => Some("a server that answers"),
    }
}

/// Connects without waiting: a frozen server with a full backlog must not hold us up.
fn probe(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
