//! A control-plane node: a machine on which kekring was installed by the commands of the README.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::document::blocks;
use crate::guide;
use crate::machine::{LONG, Machine};
use crate::support::{KEKRING, in_repository, wait_until};

pub const SERVICE: &str = "kekring.service";
pub const SOCKET: &str = "/run/kekring/kms.sock";

/// A machine with this repository's `deploy` and the program at hand, and nothing installed.
pub fn fresh() -> Machine {
    let machine = Machine::boot();
    deliver(&machine, &fs::read(KEKRING).unwrap());
    let mut places = vec![PathBuf::from("deploy/systemd")];
    while let Some(place) = places.pop() {
        let from = in_repository(place.to_str().unwrap());
        if from.is_dir() {
            let entries = fs::read_dir(from).unwrap().flatten();
            places.extend(entries.map(|entry| place.join(entry.file_name())));
        } else {
            machine.write(
                &format!("/src/{}", place.display()),
                &fs::read_to_string(from).unwrap(),
            );
        }
    }
    machine
}

/// What `cargo build --release` would leave.
pub fn deliver(machine: &Machine, program: &[u8]) {
    let built = machine.path("/src/target/release/kekring");
    fs::create_dir_all(built.parent().unwrap()).unwrap();
    fs::write(&built, program).unwrap();
    fs::set_permissions(&built, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Installed by the README, and serving.
pub fn serving() -> Machine {
    let machine = fresh();
    for block in blocks("Install") {
        guide::run(&machine, &block);
    }
    machine
}

/// Encrypts in the machine and opens it again, and is who it says in `kekring status`.
#[track_caller]
pub fn serves(machine: &Machine) {
    machine.must("kekring probe --round-trip");
    let pid = machine.number(SERVICE, "MainPID");
    wait_until("the server to give an account of itself", LONG, || {
        let node = &json(machine, "kekring status")["nodes"][0];
        node["serving"] == true && node["pid"] == pid
    });
}

/// The key that encrypts.
#[track_caller]
pub fn active(machine: &Machine) -> String {
    json(machine, "kekring status")["active"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What a verb prints as JSON.
#[track_caller]
pub fn json(machine: &Machine, verb: &str) -> serde_json::Value {
    serde_json::from_str(&machine.must(&format!("{verb} --output json"))).unwrap()
}
