//! A wire between a verb and etcd that breaks.

use std::fs;
use std::path::PathBuf;

use crate::lab::{Lab, configuration, ended};
use crate::proxy::{Fault, Proxy};
use crate::support::PATIENCE;
use crate::support::{kekring, wait_until};
use crate::watch::{Watch, all_open};

/// What a generation begins with: the change of the ring and nothing else carries it to etcd.
const MARKER: &[u8] = b"kekring\n";

pub fn a_rotate_whose_answer_is_lost_has_rotated_once_and_says_what_is_true() {
    let lab = Lab::of(2);
    let watch = Watch::over(&lab.nodes);

    for fault in [Fault::CutAfter, Fault::LoseAnswers] {
        let proxy = Proxy::start(lab.cluster.url(0), MARKER);
        let config = behind(&lab, &proxy);
        let before = lab.open().ring;
        proxy.set(fault);

        let (code, said) = rotate(&config);

        assert_eq!(proxy.seen(), 1, "{said}");
        let rotated = || lab.sequence() == before.active().unwrap().id.sequence() + 1;
        wait_until("etcd to have done it", PATIENCE, rotated);
        assert_eq!(lab.open().ring.generation, before.generation + 1);
        match fault {
            // The name of the generation tells.
            Fault::CutAfter => assert!(code == 0 && said.contains("rotated;"), "{said}"),
            // Nobody can know.
            _ => assert!(
                code == 1 && said.contains("what became of it is not known"),
                "{said}"
            ),
        }
        proxy.set(Fault::None);
        lab.wait_until_acknowledged(2);
        assert_eq!(lab.open().ring.generation, before.generation + 1);
    }
    all_open(&lab.nodes, &watch.end());
}

pub fn a_rotate_that_never_arrived_has_changed_nothing() {
    let lab = Lab::of(2);
    let watch = Watch::over(&lab.nodes);
    let proxy = Proxy::start(lab.cluster.url(0), MARKER);
    let config = behind(&lab, &proxy);
    let before = lab.open().ring;
    proxy.set(Fault::CutBefore);

    let (code, said) = rotate(&config);

    assert!(proxy.seen() >= 1);
    assert!(code == 1 && said.contains("may yet come"), "{said}");
    watch.more(20);
    assert_eq!(lab.open().ring.generation, before.generation);
    // And the same again, on a wire that is whole.
    proxy.set(Fault::None);
    let (code, said) = rotate(&config);
    assert!(code == 0, "{said}");
    assert_eq!(lab.open().ring.generation, before.generation + 1);
    all_open(&lab.nodes, &watch.end());
}

fn rotate(config: &PathBuf) -> (i32, String) {
    ended(&kekring(&["rotate", "--config"]).arg(config).output().unwrap())
}

/// The first node's configuration, with the broken wire to etcd.
fn behind(lab: &Lab, proxy: &Proxy) -> PathBuf {
    let node = &lab.nodes[0];
    let path = node.dir.join("behind.yaml");
    fs::write(&path, configuration(node, "cp-1", &proxy.url()).to_string()).unwrap();
    path
}
