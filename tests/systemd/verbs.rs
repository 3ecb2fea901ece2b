//! An operator's root shell beside the hardened service: every verb, and then a restart.

use std::collections::BTreeSet;

use clap::Command;

use crate::grpc;
use crate::machine::Machine;
use crate::node::{SERVICE, SOCKET, active, json, serves, serving};

const CODE: &str = "--open-with /root/kekring-recovery-code";

/// Runs a verb, notes it, and expects this exit code.
struct Verbs<'a> {
    machine: &'a Machine,
    done: BTreeSet<String>,
}

impl Verbs<'_> {
    #[track_caller]
    fn run(&mut self, words: &str) {
        self.ends(words, 0);
    }

    #[track_caller]
    fn ends(&mut self, words: &str, code: i32) {
        let output = self.machine.sh(&format!("kekring {words}"));
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words}: {}",
            crate::support::shown(&output)
        );
        self.done.insert(words.to_owned());
    }

    /// What the program offers and nobody has run.
    fn left(&self) -> Vec<String> {
        let mut names = Vec::new();
        names_of(&kekring::cli::command(), "", &mut names);
        names.retain(|name| {
            !self
                .done
                .iter()
                .any(|words| format!("{words} ").starts_with(&format!("{name} ")))
        });
        names
    }
}

fn names_of(command: &Command, above: &str, names: &mut Vec<String>) {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("{above}{}", verb.get_name());
        if verb.has_subcommands() {
            names_of(verb, &format!("{name} "), names);
        }
        if !verb.is_subcommand_required_set() && !verb.is_hide_set() {
            names.push(name);
        }
    }
}

pub fn every_verb_works_from_a_root_shell_and_a_restart_serves_what_they_left() {
    let machine = serving();
    let client = grpc::Client::connect(&machine.path(SOCKET));
    let first = active(&machine);
    let mut sealed = vec![client.encrypt(b"a seed").unwrap()];
    let mut verbs = Verbs {
        machine: &machine,
        done: BTreeSet::new(),
    };

    // A second ring, a second server.
    verbs.ends("init --no-recovery", 3);
    verbs.ends("serve", 3);
    for words in [
        "status",
        "config check",
        "config schema",
        "config encryption",
        "completions bash",
        "doctor",
        "probe --round-trip",
        "rotate",
        "rotate --if-older-than 7d",
        "rotate --prepare",
        "rotate --activate",
        "rotate --fresh",
        "keys list",
    ] {
        verbs.run(words);
        sealed.push(client.encrypt(b"a seed").unwrap());
    }
    verbs.run(&format!("keys suspend {first}"));
    assert!(client.decrypt(&sealed[0]).is_err());
    verbs.run(&format!("keys resume {first}"));
    verbs.run("root add --recovery-code-file /root/second-code");
    verbs.run(&format!("root verify {CODE}"));
    verbs.run("root list");
    let slots = json(&machine, "kekring root list")["slots"].clone();
    assert_eq!(slots.as_array().unwrap().len(), 3, "{slots}");
    let second = slots[2]["id"].as_str().unwrap();
    verbs.run(&format!("root remove {second} {CODE}"));
    verbs.run("backup /root/backup");
    verbs.run(&format!("backup verify {CODE} /root/backup"));
    verbs.run("rotate");
    verbs.run("restore /root/backup");
    verbs.run("restore --adopt");
    // Nothing is lost, and so there is nothing to accept.
    verbs.ends("ring accept", 3);
    // One node has the ring for itself.
    verbs.ends("node list", 2);
    verbs.ends("node remove cp-2", 2);
    verbs.ends("store move --to etcd", 2);
    assert_eq!(verbs.left(), [""; 0]);

    let key = active(&machine);
    machine.must(&format!("systemctl restart {SERVICE}"));

    serves(&machine);
    let client = grpc::Client::connect(&machine.path(SOCKET));
    assert_eq!(client.key_id(), key);
    for one in &sealed {
        assert_eq!(client.decrypt(one).unwrap(), b"a seed", "{}", one.key_id);
    }
    let strangers = machine.must("find /var/lib/kekring /run/kekring -not -user kekring -not -name kms.sock");
    assert_eq!(strangers, "");
}
