//! What systemd is told by a server.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use super::{Killed, PATIENCE, Plugin};

/// Listens as systemd does.
pub(crate) struct Systemd(UnixDatagram, PathBuf);

impl Systemd {
    /// Beside the plugin's configuration.
    pub(crate) fn bind(plugin: &Plugin) -> Self {
        let path = plugin.dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket, path)
    }

    /// A server that tells it.
    pub(crate) fn start(&self, plugin: &Plugin) -> Killed {
        let server = plugin
            .command(&["serve"])
            .env("NOTIFY_SOCKET", &self.1)
            .stderr(Stdio::null())
            .spawn();
        Killed(server.unwrap())
    }

    /// What it is told from now on until the text occurs.
    pub(crate) fn told(&self, until: &str) -> String {
        let mut told = String::new();
        let mut buffer = [0; 4096];
        let started = Instant::now();
        while !told.contains(until) {
            // It is told something every two seconds, whatever else happens.
            assert!(started.elapsed() < PATIENCE, "{until} is not in: {told}");
            let length = self.0.recv(&mut buffer).expect("a message in time");
            told += &String::from_utf8_lossy(&buffer[..length]);
            told.push('\n');
        }
        told
    }
}
