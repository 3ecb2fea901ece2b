//! Rotations that somebody asks for, and rotations that are due.

use std::process::Stdio;

use serde_json::json;

use crate::lab::Lab;
use crate::support::{PATIENCE, shown, wait_until};
use crate::watch::{Watch, all_open};
use crate::witness::Lot;

pub fn every_node_opens_at_once_what_any_other_encrypts_while_the_ring_rotates() {
    let lab = Lab::of(3);
    let seed = Lot::seed();
    println!("KEKRING_SEED={seed}");
    let mut lot = Lot::new(seed, "rotations");
    let mut any = |lab: &Lab| {
        usize::try_from(lot.below(3))
            .map(|it| lab.nodes[it].command(&["rotate"]))
            .unwrap()
    };
    let watch = Watch::over(&lab.nodes);

    for _ in 0..20 {
        let before = lab.sequence();
        let rotated = any(&lab).output().unwrap();
        assert!(rotated.status.success(), "{}", shown(&rotated));
        assert_eq!(lab.sequence(), before + 1);
        watch.check();
    }
    for _ in 0..5 {
        watch.check();
        let before = lab.sequence();
        let mut two = [any(&lab), any(&lab)].map(|mut it| it.stdout(Stdio::null()).spawn().unwrap());
        for one in &mut two {
            assert!(one.wait().unwrap().success());
        }
        // Whoever sees that another has activated the key that it wants is content.
        assert!(
            (1..=2).contains(&(lab.sequence() - before)),
            "from {before} to {}",
            lab.sequence()
        );
    }

    lab.wait_until_acknowledged(3);
    let sealed = watch.end();
    assert!(sealed.len() > 20, "{} keys", sealed.len());
    all_open(&lab.nodes, &sealed);
    assert!(lab.open().ring.keys.len() > 21);
}

pub fn a_rotation_that_is_due_on_every_node_at_once_is_done_once() {
    const PERIOD: u64 = 4;
    let lab = Lab::with(
        3,
        json!({"rotation": {"period": format!("{PERIOD}s"), "allowShort": true}}),
    );
    let watch = Watch::over(&lab.nodes);
    let first = lab.open().ring;

    wait_until("four rotations", 3 * PATIENCE, || {
        watch.check();
        lab.sequence() >= first.active().unwrap().id.sequence() + 4
    });

    watch.end();
    let ring = lab.open().ring;
    let mut times: Vec<u64> = ring
        .keys
        .iter()
        .filter_map(|key| Some(key.activated?.0))
        .collect();
    times.sort_unstable();
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] >= PERIOD),
        "{PERIOD} s apart at least: {times:?}"
    );
    // Each rotation is one generation, made by one of them.
    let since = ring.active().unwrap().id.sequence() - first.active().unwrap().id.sequence();
    assert_eq!(ring.generation - first.generation, since);
}
