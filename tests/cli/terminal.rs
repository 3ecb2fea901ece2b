//! Verbs at a terminal: what is shown once, what moves, what has a colour.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use serde_json::Value;

use crate::support::terminal::{Terminal, run};
use crate::support::{PATIENCE, Plugin, wait_until};

/// Runs `init` with a terminal for its standard streams.
fn init(plugin: &Plugin) -> Terminal {
    run(plugin.command(&["init"]))
}

/// The recovery code, once it is shown.
fn code(terminal: &Terminal) -> String {
    terminal.wait_for("Type it back: ", 1);
    let screen = terminal.screen();
    let code = screen
        .lines()
        .map(str::trim)
        .find(|line| line.len() == 69 && line.matches('-').count() == 13);
    code.expect("the code on the screen").to_owned()
}

#[test]
fn a_code_that_is_typed_back_makes_the_ring() {
    let plugin = Plugin::unmade("{}");
    let mut terminal = init(&plugin);
    let code = code(&terminal);

    writeln!(terminal.keyboard, "{}", code.to_lowercase()).unwrap();

    assert_eq!(terminal.ended(), Some(0));
    assert_eq!(plugin.json(&["status"])["slots"].as_array().unwrap().len(), 2);
}

#[test]
fn a_code_that_is_not_typed_back_makes_no_ring() {
    let plugin = Plugin::unmade("{}");
    let mut terminal = init(&plugin);
    code(&terminal);

    for attempt in 1..=3 {
        terminal.wait_for("Type it back: ", attempt);
        writeln!(terminal.keyboard, "0000-0000").unwrap();
    }

    assert_eq!(terminal.ended(), Some(1));
    assert!(!plugin.dir.join("root.key").exists());
    assert!(!plugin.dir.join("ring").exists());
}

#[test]
fn states_and_warnings_have_a_colour_unless_it_is_declined() {
    let plugin = Plugin::prepared("{}");
    let mut colourless = plugin.command(&["keys", "list"]);
    colourless.env("NO_COLOR", "1");

    let mut keys = run(plugin.command(&["keys", "list"]));
    let mut status = run(plugin.command(&["status"]));
    let mut plain = run(colourless);

    keys.wait_for("\u{1b}[32mactive ", 1);
    status.wait_for("\u{1b}[33mwarning:\u{1b}[0m there is one root slot only", 1);
    plain.wait_for("pre-active", 1);
    assert!(!plain.screen().contains('\u{1b}'));
    assert_eq!([keys.ended(), status.ended(), plain.ended()], [Some(0); 3]);
}

#[test]
fn what_a_verb_waits_for_is_shown_and_goes_away() {
    let plugin = Plugin::start();
    plugin.signal(Signal::STOP);

    let mut rotate = run(plugin.command(&["rotate"]));
    rotate.wait_for("waiting for node node-under-test", 3);
    plugin.signal(Signal::CONT);

    rotate.wait_for("\r\u{1b}[Krotated", 1);
    assert_eq!(rotate.ended(), Some(0));
}

#[test]
fn a_program_is_told_by_json_lines_what_a_verb_waits_for() {
    let plugin = Plugin::start();
    plugin.signal(Signal::STOP);

    let json = plugin.verb(&["rotate", "--timeout", "1s", "-o", "json"]);
    let text = plugin.verb(&["rotate", "--timeout", "1s"]);

    let line = String::from_utf8(json.stderr).unwrap();
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let waits = line["progress"].as_str().unwrap();
    assert!(waits.starts_with("waiting for node node-under-test"), "{waits}");
    assert_eq!(line["seconds"], 0);
    let text = String::from_utf8(text.stderr).unwrap();
    assert!(text.starts_with("error: "), "no terminal, no line: {text}");
}

#[test]
fn watch_repaints_a_terminal_until_it_is_interrupted() {
    let plugin = Plugin::prepared("{}");

    let mut watch = run(plugin.command(&["status", "--watch", "--interval", "200ms"]));
    watch.wait_for("\u{1b}[Hnode ", 2);
    assert!(plugin.verb(&["rotate"]).status.success());
    watch.wait_for("generation 2", 1);
    kill_process(Pid::from_child(&watch.child), Signal::INT).unwrap();

    assert_eq!(watch.ended(), Some(0));
}

#[test]
fn watch_tells_a_program_of_changes_alone_and_ends_when_nobody_reads() {
    let plugin = Plugin::prepared("{}");
    let mut watch = plugin
        .command(&["status", "--watch", "--interval", "100ms", "-o", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };

    let first = next();
    // Ages alone are no change.
    wait_until("an age of 2 s", PATIENCE, || {
        plugin.json(&["status"])["activeAgeSeconds"].as_u64() >= Some(2)
    });
    assert!(plugin.verb(&["rotate"]).status.success());
    let second = next();
    drop(lines);
    assert!(plugin.verb(&["rotate"]).status.success());

    assert_eq!(
        (&first["generation"], &second["generation"]),
        (&1.into(), &2.into())
    );
    assert_eq!(watch.wait().unwrap().code(), Some(0));
}
