//! A control-plane node: a machine on which kekring was installed by the commands of the README.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::document::blocks;
use crate::guide;
use crate::machine::Machine;
pub use crate::service::{SERVICE, SOCKET, active, json, serves};
use crate::support::{KEKRING, in_repository};

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
