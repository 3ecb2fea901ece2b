//! A command at a terminal of its own.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{PATIENCE, wait_until};

pub(crate) struct Terminal {
    pub(crate) keyboard: File,
    pub(crate) child: Child,
    screen: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

/// Runs a command with a terminal for its standard streams.
pub(crate) fn run(mut command: Command) -> Terminal {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = || {
        File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap()
    };
    let child = command
        .env("TERM", "xterm")
        .stdin(Stdio::from(slave()))
        .stdout(Stdio::from(slave()))
        .stderr(Stdio::from(slave()))
        .spawn()
        .unwrap();
    // Its copies of the terminal: with them gone, the end of the child is the end of what there is to read.
    drop(command);
    let keyboard = File::from(master);
    let mut output = keyboard.try_clone().unwrap();
    let screen = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&screen);
    let reader = thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            *written.lock().unwrap() += &String::from_utf8_lossy(&buffer[..length]);
        }
    });
    Terminal {
        keyboard,
        child,
        screen,
        reader,
    }
}

impl Terminal {
    /// What has been written so far, with the terminal's own line feeds.
    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    pub(crate) fn wait_for(&self, text: &str, times: usize) {
        wait_until(text, PATIENCE, || self.screen().matches(text).count() >= times);
    }

    pub(crate) fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Everything that the command wrote until its end, as lines.
    pub(crate) fn all(mut self) -> String {
        self.ended();
        self.reader.join().unwrap();
        let screen = self.screen.lock().unwrap();
        screen.replace("\r\n", "\n")
    }
}
