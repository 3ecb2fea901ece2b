//! The service of a machine, however it was installed.

use crate::machine::{LONG, Machine};
use crate::support::wait_until;

pub const SERVICE: &str = "kekring.service";
pub const SOCKET: &str = "/run/kekring/kms.sock";

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
