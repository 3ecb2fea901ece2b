//! `init` at a terminal: the recovery code is shown once and typed back.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{PATIENCE, Plugin, wait_until};

struct Terminal {
    keyboard: File,
    screen: std::sync::Arc<std::sync::Mutex<String>>,
    child: Child,
}

/// Runs `init` with a terminal for its standard streams.
fn init(plugin: &Plugin) -> Terminal {
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
    let child = plugin
        .command(&["init"])
        .stdin(Stdio::from(slave()))
        .stdout(Stdio::from(slave()))
        .stderr(Stdio::from(slave()))
        .spawn()
        .unwrap();
    let keyboard = File::from(master);
    let mut output = keyboard.try_clone().unwrap();
    let screen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
    let written = std::sync::Arc::clone(&screen);
    thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            *written.lock().unwrap() += &String::from_utf8_lossy(&buffer[..length]);
        }
    });
    Terminal {
        keyboard,
        screen,
        child,
    }
}

impl Terminal {
    fn wait_for(&self, text: &str, times: usize) {
        let seen = || self.screen.lock().unwrap().matches(text).count() >= times;
        wait_until(text, PATIENCE, seen);
    }

    fn code(&self) -> String {
        self.wait_for("Type it back: ", 1);
        let screen = self.screen.lock().unwrap().clone();
        let code = screen
            .lines()
            .map(str::trim)
            .find(|line| line.len() == 69 && line.matches('-').count() == 13);
        code.expect("the code on the screen").to_owned()
    }

    fn ended(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn a_code_that_is_typed_back_makes_the_ring() {
    let plugin = Plugin::unmade("{}");
    let mut terminal = init(&plugin);
    let code = terminal.code();

    writeln!(terminal.keyboard, "{}", code.to_lowercase()).unwrap();

    assert_eq!(terminal.ended(), Some(0));
    assert_eq!(plugin.json(&["status"])["slots"].as_array().unwrap().len(), 2);
}

#[test]
fn a_code_that_is_not_typed_back_makes_no_ring() {
    let plugin = Plugin::unmade("{}");
    let mut terminal = init(&plugin);
    terminal.code();

    for attempt in 1..=3 {
        terminal.wait_for("Type it back: ", attempt);
        writeln!(terminal.keyboard, "0000-0000").unwrap();
    }

    assert_eq!(terminal.ended(), Some(1));
    assert!(!plugin.dir.join("root.key").exists());
    assert!(!plugin.dir.join("ring").exists());
}
