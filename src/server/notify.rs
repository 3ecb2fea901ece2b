//! systemd: the sockets it passes in, and what it is told (sd_notify(3)). Outside systemd all of this does nothing.

use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::reload::Health;
use crate::telemetry::plain_and_short;

/// The listening sockets that systemd passed in, told apart by what they are: their order and names do not count.
pub(super) struct Passed {
    /// The first unix socket, for kube-apiserver.
    pub(super) socket: Option<UnixListener>,
    /// The first TCP socket, for telemetry.
    pub(super) telemetry: Option<TcpListener>,
}

pub(super) fn passed_sockets() -> Passed {
    let mut passed = ListenFd::from_env();
    let places = 0..passed.len();
    Passed {
        socket: places
            .clone()
            .find_map(|index| passed.take_unix_listener(index).ok().flatten()),
        telemetry: places
            .clone()
            .find_map(|index| passed.take_tcp_listener(index).ok().flatten()),
    }
}

/// READY, also where the ring is not open: the cause goes with it, and kubelet is not held up.
pub(super) fn ready(health: &Health) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(health))]);
}

/// Feeds the watchdog.
pub(super) fn alive(health: &Health) {
    tell(&[NotifyState::Watchdog, NotifyState::Status(&status(health))]);
}

pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn summary(health: &Health) -> String {
    match (health.problems.first(), &health.ring) {
        (Some(problem), _) => problem.clone(),
        (None, Some(ring)) => format!("serving {}, generation {}", ring.active, ring.generation),
        (None, None) => "the ring is being opened".to_owned(),
    }
}

/// Each state is a line of what systemd reads: a second one in the text of the first would be believed (MAINPID=1). And a
/// message that is too long does not arrive, its WATCHDOG=1 neither.
fn status(health: &Health) -> String {
    plain_and_short(&summary(health))
}

fn tell(states: &[NotifyState<'_>]) {
    let told = match abstract_socket() {
        None => sd_notify::notify(states),
        Some(name) => tell_abstract(&name, states),
    };
    if let Err(why) = told {
        tracing::debug!(%why, "cannot notify systemd");
    }
}

/// The name of NOTIFY_SOCKET, where that is an abstract socket (unix(7)), which the library does not know.
pub fn abstract_socket() -> Option<Vec<u8>> {
    let address = std::env::var_os("NOTIFY_SOCKET")?;
    address.as_encoded_bytes().strip_prefix(b"@").map(<[u8]>::to_vec)
}

fn tell_abstract(name: &[u8], states: &[NotifyState<'_>]) -> io::Result<()> {
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    socket.send(text.as_bytes()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_short_line_whatever_it_quotes() {
        let problem = format!("x\nWATCHDOG=trigger\r\nMAINPID=1\0{}", "é\n".repeat(1 << 18));
        let health = Health {
            problems: vec![problem],
            ..Health::default()
        };

        let told = status(&health);

        assert!(
            told.starts_with(r"x\nWATCHDOG=trigger\r\nMAINPID=1\u{0}é"),
            "{told}"
        );
        assert!(!told.contains(char::is_control) && told.len() < 4096, "{told}");
    }
}
