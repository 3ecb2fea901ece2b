//! One plugin rotates.

use crate::client::Stored;
use crate::golang::Program;
use crate::lab::{API, Lab, NOTICED, active, holds, key, key_id, rotate};
use crate::support::wait_until;

const ROTATIONS: usize = 6;
const WORKERS: usize = 4;
/// Of every worker between two rotations.
const ROUNDS: u64 = 20;

/// Workers do what kube-apiserver's probe does, thousands of times. kube-apiservers that start meanwhile run the real
/// probe: a disagreement would be its `failed to rotate DEK`.
pub fn hammer(program: &'static Program) {
    let mut lab = Lab::idle(program);
    let socket = lab.plugin.socket.clone();
    let mut keys = vec![lab.active()];

    lab.client.hammer(&socket, WORKERS);
    for _ in 0..ROTATIONS {
        lab.client.wait_for_rounds(ROUNDS);
        keys.push(rotate(&lab.plugin, &[]));
        lab.load();
        lab.client.health(API).unwrap();
        lab.write("under the hammer");
    }
    lab.client.wait_for_rounds(ROUNDS);
    let blows = lab.client.halt();

    println!(
        "\n{} times Status, Encrypt and Decrypt across {} keys",
        blows.rounds,
        blows.key_ids.len()
    );
    assert_eq!(blows.mismatches, [""; 0]);
    assert_eq!(blows.failures, [""; 0]);
    for key in &keys {
        assert!(blows.key_ids.contains(key), "nothing was encrypted under {key}");
    }
}

pub fn stale(program: &'static Program) {
    let mut lab = Lab::start(program);
    let (before, old) = (lab.active(), lab.write("old"));
    assert_eq!(lab.read(&old).unwrap(), holds("old", false));

    let after = rotate(&lab.plugin, &[]);
    let new = write_until_under(&mut lab, &after);

    assert_ne!(before, after);
    assert_eq!(key_id(&old), before);
    assert_eq!(lab.read(&old).unwrap(), holds("old", true));
    assert_eq!(lab.read(&new).unwrap(), holds("new", false));
    // What a no-op update does with a stale object.
    let rewritten = lab.write("old");
    assert_eq!(key_id(&rewritten), after);
    // And without anything that is cached.
    lab.load();
    assert_eq!(lab.read(&old).unwrap(), holds("old", true));
    assert_eq!(lab.read(&new).unwrap(), holds("new", false));
    assert_eq!(lab.read(&rewritten).unwrap(), holds("old", false));
    assert_eq!(active(&lab.plugin), after);
}

/// Writes until kube-apiserver uses the key; no write and no probe fails meanwhile.
fn write_until_under(lab: &mut Lab, wanted: &str) -> Stored {
    let mut last = None;
    wait_until("kube-apiserver to use the new key", NOTICED, || {
        lab.client.health(API).unwrap();
        let object = lab.client.write(API, &key("new"), "new").unwrap();
        let uses = key_id(&object) == wanted;
        last = Some(object);
        uses
    });
    last.unwrap()
}
