//! Users that are not admitted, by the thousand, with the socket's mode no hindrance.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use crate::honest::under;
use crate::raw::{PREFACE, SETTINGS, STATUS, frame, request};
use crate::support::scrape::Scrape;
use crate::support::{PATIENCE, Plugin};

const STRANGER: u32 = 4711;

/// Becomes another user, this thread alone, and asks for Status by hand; what it is told.
fn ask_as_a_stranger(socket: &Path) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let all = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &request(1, STATUS, &[])].concat();
    let _ = stream.write_all(&all);
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    told
}

fn open_to_everybody(plugin: &Plugin) {
    for (path, mode) in [
        (plugin.dir.as_path(), 0o755),
        (plugin.socket.parent().unwrap(), 0o755),
        (&plugin.socket, 0o777),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
#[needs(root)]
fn thousands_of_strangers_are_told_nothing_and_are_a_few_lines_and_a_count() {
    under(
        "strangers",
        "{telemetry: {listen: '127.0.0.1:0'}}",
        |plugin, honest| {
            open_to_everybody(plugin);
            let refused = || Scrape::of(&plugin.telemetry()).value("kekring_peers_refused_total", &[]);
            let before = refused();

            thread::scope(|scope| {
                scope.spawn(|| {
                    let stranger = rustix::process::Uid::from_raw(STRANGER);
                    rustix::thread::set_thread_uid(stranger).unwrap();
                    for _ in 0..5000 {
                        assert!(ask_as_a_stranger(&plugin.socket).is_empty());
                    }
                });
            });

            honest.goes_on();
            let count = refused() - before;
            assert!((4999.5..5000.5).contains(&count), "{count}");
            let log = plugin.log();
            let lines = log.matches("peer refused").count();
            assert!(
                (1..10).contains(&lines) && log.contains("uid=4711"),
                "{lines} lines"
            );
            assert!(
                !log.contains("too many connections"),
                "a stranger takes no place: {log}"
            );
        },
    );
}
