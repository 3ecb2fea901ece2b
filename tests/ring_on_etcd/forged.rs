//! Acknowledgements that a node did not give.

use std::time::Duration;

use kekring::crypto::secret::Key32;
use kekring::format::node;
use rustix::process::Signal;

use crate::lab::{Lab, Must, rotate};
use crate::silent::freeze;
use crate::support::{PATIENCE, wait_until};
use crate::watch::{Watch, all_open};

const SHORT: Duration = Duration::from_secs(2);

pub fn a_rotation_takes_no_acknowledgement_that_the_node_did_not_give() {
    let lab = Lab::of(3);
    let earlier = lab.get(&lab.key("nodes/cp-3")).unwrap();
    lab.nodes[0].must(&["rotate"]);
    let watch = Watch::over(&lab.nodes[..2]);
    freeze(&lab.nodes[2]);
    let own = lab.get(&lab.key("nodes/cp-3")).unwrap();
    // It holds the key of this one, and not that of the next.
    rotate(&lab.nodes[0], SHORT, &[]);
    let opened = lab.open();
    let sequence = opened.ring.active().unwrap().id.sequence();

    let mut forged = node::decode(&own, &opened.ring_key).unwrap();
    forged.generation = opened.ring.generation;
    forged.hash = opened.head.hash;
    forged.held = opened.ring.pre_active().unwrap().id.clone();
    let forged = forged.encode(&Key32::generate().unwrap());
    let other = lab.get(&lab.key("nodes/cp-2")).unwrap();
    let mut bent = other.clone();
    bent[20] ^= 1;
    for (what, bytes) in [
        ("a forged one", forged),
        ("its own from earlier", earlier),
        ("another node's", other),
        ("a bent one", bent),
        ("nothing", Vec::new()),
        ("1 MiB", vec![b'x'; 1 << 20]),
    ] {
        lab.put(lab.key("nodes/cp-3"), &bytes);

        let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);

        assert!(code == 4 && said.contains("cp-3"), "{what}: {said}");
        assert_eq!(lab.sequence(), sequence, "{what}");
        lab.wait_for_problem(1, "a rotation waits for cp-3");
        watch.check();
    }
    // Its own word again: it does not hold the key.
    lab.put(lab.key("nodes/cp-3"), &own);
    let (code, said) = rotate(&lab.nodes[1], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-3: it holds generation"), "{said}");

    lab.put(lab.key("nodes/cp-3"), b"garbage once more");
    lab.nodes[2].signal(Signal::CONT);

    wait_until("it to say what is true", PATIENCE, || {
        lab.sequence() == sequence + 1
    });
    lab.wait_until_acknowledged(3);
    all_open(&lab.nodes, &watch.end());
}
