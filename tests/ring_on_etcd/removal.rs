//! Nodes that are gone, for once and for good, and come back.

use std::time::Duration;

use rustix::process::Signal;

use crate::lab::{Lab, ended, rotate};
use crate::support::{PATIENCE, wait_until};
use crate::watch::{Watch, all_open};

const SHORT: Duration = Duration::from_secs(2);
/// What a verb may take that has nobody to wait for.
const LONG: Duration = Duration::from_secs(60);

pub fn a_removed_node_is_waited_for_no_more_and_registers_again_when_it_is_back() {
    let mut lab = Lab::of(3);
    let before = lab.sequence();
    wait_until("the third to say that it lives", PATIENCE, || {
        let list = lab.nodes[0].json(&["node", "list"]);
        list["nodes"][2]["alive"] == true
    });
    lab.nodes[2].kill();
    let watch = Watch::over(&lab.nodes[..2]);

    // Its lease still says that it lives.
    let (code, said) = ended(&lab.nodes[0].verb(&["node", "remove", "cp-3"]));
    assert!(code == 3 && said.contains("it is alive"), "{said}");
    assert!(said.contains("stop `kekring serve`"), "{said}");
    let (code, said) = ended(&lab.nodes[0].verb(&["node", "remove", "cp-9"]));
    assert!(code == 3 && said.contains("no node cp-9 is registered"), "{said}");

    // Without it for once; then again nobody goes on without it.
    let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-3"), "{said}");
    let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-3"), "{said}");
    assert_eq!(lab.sequence(), before + 1);
    let (code, said) = rotate(&lab.nodes[1], LONG, &["--without", "cp-3"]);
    assert!(code == 0, "{said}");
    assert_eq!(lab.sequence(), before + 2);
    let (code, said) = rotate(&lab.nodes[1], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-3"), "{said}");

    // The lease ends by itself.
    let mut said = String::new();
    wait_until("a node to be removed", 2 * PATIENCE, || {
        let (code, all) = ended(&lab.nodes[0].verb(&["node", "remove", "cp-3"]));
        said = all;
        assert!(code == 0 || said.contains("it is alive"), "{said}");
        code == 0
    });
    assert!(said.contains("destroy them"), "{said}");
    lab.wait_until_acknowledged(2);
    // What waited for it ends, and then another one is done.
    wait_until("what was in flight to end", PATIENCE, || {
        lab.sequence() == before + 3
    });
    let (code, said) = rotate(&lab.nodes[0], LONG, &[]);
    assert!(code == 0, "{said}");
    let (code, said) = rotate(&lab.nodes[1], LONG, &[]);
    assert!(code == 0, "{said}");
    assert_eq!(lab.sequence(), before + 5);

    // It comes back as it was, and is one of them again.
    lab.nodes[2].serve();
    lab.wait_until_acknowledged(3);
    let (code, said) = rotate(&lab.nodes[2], LONG, &[]);
    assert!(code == 0, "{said}");
    let sealed = watch.end();
    all_open(&lab.nodes, &sealed);
    // Once it is there again, it is waited for.
    lab.nodes[2].signal(Signal::STOP);
    rotate(&lab.nodes[0], SHORT, &[]);
    let (code, said) = rotate(&lab.nodes[0], SHORT, &[]);
    assert!(code == 4 && said.contains("cp-3"), "{said}");
}
