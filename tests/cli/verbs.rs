//! Verbs whose other end goes away.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use crate::assert_error;
use crate::support::Plugin;

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let plugin = Plugin::prepared("{}");
    let mut child = plugin
        .command(&["keys", "list"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();

    drop(child.stdout.take());

    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_server_that_hangs_up_without_an_answer_is_not_alive() {
    let plugin = Plugin::unmade("{}");
    fs::create_dir(plugin.dir.join("run")).unwrap();
    let listener = UnixListener::bind(&plugin.socket).unwrap();
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Once HTTP/2 has begun, only the answer can fail.
        stream.read_exact(&mut [0; 24]).unwrap();
        // An empty SETTINGS, and until it is heard: else it would be one that does not let this user in.
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        let mut seen = Vec::new();
        while !seen.windows(9).any(|it| it == [0, 0, 0, 4, 1, 0, 0, 0, 0]) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            seen.extend(byte);
        }
    });

    let output = plugin.verb(&["probe", "--alive"]);

    peer.join().unwrap();
    assert_error(&output, 1, "cannot probe the plugin");
}
