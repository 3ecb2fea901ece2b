//! Every verb that changes something, and what it has promised once it ends well.

use std::fs;
use std::process::Stdio;

use kekring::custody::Opened;

use crate::support::{Killed, PATIENCE, Plugin, kekring, wait_until};
use crate::witness::Witness;
use crate::world::{
    active, backed_up, backed_up_early, lose_newest, machine, must, old_key, opens_with, ring, rolled_back,
    slot_of, suspended, two_roots, witness,
};

/// On a disk that was rolled back to before a removal.
pub const GOING_OVER: &str = "restore of a later ring key";

/// A verb under test.
pub struct Case {
    pub name: &'static str,
    /// Where `{dir}` stands, the world's directory is put.
    pub args: &'static [&'static str],
    /// Makes what the verb works on; what comes back must be there in the end.
    pub prepare: fn(&Plugin) -> Option<Witness>,
    /// How a second run may end besides well, where the first one had done it all.
    pub again: i32,
    /// What an exit of 0 promises, by the ring before and after.
    pub done: fn(&Plugin, &Opened) -> bool,
}

pub const CASES: [Case; 17] = [
    Case {
        name: "init",
        args: &["init", "--no-recovery"],
        prepare: |plugin| {
            machine(plugin, "one");
            None
        },
        again: 3,
        done: |_, opened| opened.ring.generation == 1,
    },
    Case {
        name: "rotate",
        args: &["rotate"],
        prepare: ring,
        again: 0,
        done: |_, opened| opened.ring.generation == 4 && active(opened) == 4,
    },
    Case {
        name: "rotate --fresh",
        args: &["rotate", "--fresh"],
        prepare: ring,
        again: 0,
        done: |_, opened| active(opened) == 5,
    },
    Case {
        name: "rotate --prepare",
        args: &["rotate", "--prepare"],
        prepare: ring,
        again: 3,
        done: |_, opened| active(opened) == 3 && opened.ring.proposal.is_some(),
    },
    Case {
        name: "rotate --activate",
        args: &["rotate", "--activate"],
        prepare: |plugin| {
            ring(plugin);
            must(plugin, &["rotate", "--prepare"]);
            witness(plugin)
        },
        again: 0,
        done: |_, opened| active(opened) == 5,
    },
    Case {
        name: "keys suspend",
        args: &["keys", "suspend", "{old}"],
        prepare: |plugin| {
            let witness = ring(plugin);
            old_key(plugin);
            witness
        },
        again: 3,
        done: |_, opened| suspended(opened),
    },
    Case {
        name: "keys resume",
        args: &["keys", "resume", "{old}"],
        prepare: |plugin| {
            ring(plugin);
            old_key(plugin);
            let old = fs::read_to_string(plugin.dir.join("old")).unwrap();
            must(plugin, &["keys", "suspend", &old]);
            witness(plugin)
        },
        again: 3,
        done: |_, opened| !suspended(opened),
    },
    Case {
        name: "root add",
        args: &["root", "add"],
        prepare: |plugin| {
            let witness = ring(plugin);
            two_roots(plugin);
            witness
        },
        again: 0,
        done: |plugin, _| opens_with(plugin, "second.key"),
    },
    Case {
        name: "root remove",
        args: &["root", "remove", "{slot}"],
        prepare: |plugin| {
            two_roots(plugin);
            let witness = ring(plugin);
            fs::write(plugin.dir.join("slot"), slot_of(plugin, "root.key")).unwrap();
            // A new ring key makes every mark anew, by the next change at the latest.
            witness.map(Witness::without_mark)
        },
        again: 2,
        done: |plugin, _| !opens_with(plugin, "root.key") && opens_with(plugin, "second.key"),
    },
    Case {
        name: "backup",
        args: &["backup", "{dir}/backup"],
        prepare: ring,
        again: 0,
        done: |plugin, _| {
            let path = plugin.dir.join("backup");
            plugin
                .verb(&["backup", "verify", path.to_str().unwrap()])
                .status
                .success()
        },
    },
    Case {
        name: "restore",
        args: &["restore", "{dir}/backup"],
        prepare: |plugin| {
            let witness = backed_up(plugin);
            lose_newest(plugin);
            witness
        },
        again: 0,
        done: |_, opened| active(opened) == 3 && opened.frozen.is_none(),
    },
    Case {
        name: "restore --adopt",
        args: &["restore", "{dir}/backup", "--adopt"],
        prepare: |plugin| {
            let witness = backed_up(plugin);
            for dir in ["ring", "mirror"] {
                fs::remove_dir_all(plugin.dir.join(dir)).unwrap();
            }
            machine(plugin, "another");
            witness
        },
        again: 0,
        done: |_, opened| active(opened) == 3 && opened.frozen.is_none(),
    },
    Case {
        name: "restore under a replaced ring key",
        args: &["restore", "{dir}/backup"],
        prepare: |plugin| {
            two_roots(plugin);
            backed_up_early(plugin, "early");
            must(plugin, &["rotate"]);
            must(plugin, &["rotate"]);
            must(plugin, &["backup", plugin.dir.join("backup").to_str().unwrap()]);
            for dir in ["ring", "mirror"] {
                fs::remove_dir_all(plugin.dir.join(dir)).unwrap();
            }
            must(plugin, &["restore", plugin.dir.join("early").to_str().unwrap()]);
            must(plugin, &["root", "remove", &slot_of(plugin, "root.key")]);
            witness(plugin)
        },
        again: 0,
        done: |plugin, opened| {
            let taken = opened.ring.keys.iter().filter(|key| key.decrypt_only);
            taken.count() == 2 && active(opened) == 1 && !opens_with(plugin, "root.key")
        },
    },
    Case {
        name: GOING_OVER,
        args: &["restore", "{dir}/backup"],
        prepare: |plugin| {
            two_roots(plugin);
            ring(plugin);
            rolled_back(plugin, || {
                must(plugin, &["root", "remove", &slot_of(plugin, "root.key")]);
                must(plugin, &["backup", plugin.dir.join("backup").to_str().unwrap()]);
            });
            must(plugin, &["rotate"]);
            // Another ring key makes every mark anew.
            witness(plugin).map(Witness::without_mark)
        },
        again: 0,
        done: |plugin, opened| {
            let kept = opened.ring.keys.iter().filter(|key| key.decrypt_only);
            let alone = opened.head.header.slots.len() == 1 && opens_with(plugin, "second.key");
            kept.count() > 0 && alone && opened.frozen.is_none()
        },
    },
    Case {
        name: "restore --abandon-unreadable",
        args: &["restore", "{dir}/backup", "--abandon-unreadable"],
        prepare: |plugin| {
            two_roots(plugin);
            let witness = backed_up_early(plugin, "backup");
            must(plugin, &["root", "remove", &slot_of(plugin, "root.key")]);
            must(plugin, &["rotate"]);
            fs::remove_file(plugin.dir.join("second.key")).unwrap();
            witness.map(Witness::without_mark)
        },
        again: 0,
        done: |plugin, opened| {
            opens_with(plugin, "root.key") && active(opened) >= 3 && opened.frozen.is_none()
        },
    },
    Case {
        name: "ring accept",
        args: &["ring", "accept", "{generation}"],
        prepare: |plugin| {
            ring(plugin);
            lose_newest(plugin);
            witness(plugin)
        },
        again: 3,
        done: |_, opened| active(opened) >= 3 && opened.frozen.is_none() && opened.refusing.is_none(),
    },
    Case {
        name: "rotate --dev",
        args: &["rotate", "--dev", "{dir}/dev"],
        prepare: |plugin| {
            machine(plugin, "one");
            let dir = plugin.dir.join("dev");
            let mut serve = kekring(&["serve", "--dev", dir.to_str().unwrap()]);
            serve.stdout(Stdio::null()).stderr(Stdio::null());
            let server = Killed(serve.spawn().unwrap());
            wait_until("a throw-away ring", PATIENCE, || dir.join("ring/mark").exists());
            drop(server);
            // Else a verb waits for the server that it names.
            let _ = fs::remove_file(dir.join("status.json"));
            witness(plugin)
        },
        again: 0,
        done: |_, opened| active(opened) == 2,
    },
];
