//! A `rotate` that ends as by a power cut.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use kekring::crypto::kdf::sha256;
use kekring::keyring::KeyId;

use crate::lab::{Lab, Must};
use crate::support::Plugin;
use crate::watch::{Watch, all_open};
use crate::witness::{Lot, Witness};

const ROUNDS: usize = 60;

pub fn a_rotate_that_is_killed_at_any_moment_leaves_a_sound_ring() {
    let lab = Lab::of(2);
    let seed = Lot::seed();
    println!("KEKRING_SEED={seed}");
    let mut lot = Lot::new(seed, "kills");
    let watch = Watch::over(&lab.nodes);
    let mut whole = rotated_in(&lab.nodes[0]);

    let mut known: BTreeMap<KeyId, [u8; 32]> = BTreeMap::new();
    let mut sequence = lab.sequence();
    let mut changed = 0;
    for round in 0..ROUNDS {
        let witness = Witness::of(&lab.open());
        let after = Duration::from_micros(lot.below(whole));

        kill_after(&lab.nodes[round % 2], after);

        let opened = lab.open();
        witness
            .check(&opened)
            .unwrap_or_else(|why| panic!("round {round}, killed after {after:?}: {why}"));
        for key in &opened.ring.keys {
            let bytes = sha256(key.material.expose());
            assert_eq!(
                *known.entry(key.id.clone()).or_insert(bytes),
                bytes,
                "{} twice",
                key.id
            );
        }
        assert!(known.keys().all(|id| opened.ring.key(id).is_some()));
        let now = opened.ring.active().unwrap().id.sequence();
        assert!(now == sequence || now == sequence + 1, "from {sequence} to {now}");
        changed += now - sequence;
        whole = rotated_in(&lab.nodes[(round + 1) % 2]);
        sequence = lab.sequence();
        assert!(sequence == now + 1, "from {now} to {sequence}");
        watch.check();
    }

    println!("       of {ROUNDS} that were killed, {changed} had rotated");
    assert!(
        (1..60).contains(&changed),
        "{changed} had rotated: no kill was in the middle"
    );
    lab.wait_until_acknowledged(2);
    all_open(&lab.nodes, &watch.end());
}

/// How many microseconds a whole one took just now, on a machine that has more to do.
fn rotated_in(node: &Plugin) -> u64 {
    let started = Instant::now();
    node.must(&["rotate"]);
    u64::try_from(started.elapsed().as_micros()).unwrap()
}

/// `kill -9` after so long, where it has not ended by then.
fn kill_after(node: &Plugin, time: Duration) {
    let mut rotate = node.command(&["rotate"]);
    let mut rotate = rotate
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut output, (tell, ended)) = (rotate.stdout.take().unwrap(), mpsc::channel());
    let reader = thread::spawn(move || {
        let _ = output.read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    let _ = ended.recv_timeout(time);
    let _ = rotate.kill();
    rotate.wait().unwrap();
    reader.join().unwrap();
}
