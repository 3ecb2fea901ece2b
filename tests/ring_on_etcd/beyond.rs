//! A node that cannot bring its copy up to date.

use std::fs;
use std::time::Duration;

use crate::lab::{Lab, rotate};
use crate::support::Plugin;
use crate::watch::{Watch, all_open};

const LONG: Duration = Duration::from_secs(60);

pub fn a_node_whose_disk_takes_nothing_opens_what_others_encrypt_by_what_etcd_has() {
    let lab = Lab::of(2);
    let stuck = &lab.nodes[1];
    let lock = lock(stuck);
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();

    for _ in 0..2 {
        let (code, said) = rotate(&lab.nodes[0], LONG, &["--without", "cp-2"]);
        assert!(code == 0, "{said}");
    }
    let watch = Watch::over(&lab.nodes[..1]);
    watch.more(3);

    all_open(&lab.nodes, &watch.end());
    lab.wait_for_problem(1, "cannot lock");
    let status = stuck.json(&["status"]).to_string();
    assert!(status.contains("this node's copy is at generation"), "{status}");

    // Mended, it is as all the others.
    fs::remove_dir(&lock).unwrap();
    lab.wait_until_well(1);
    lab.wait_until_acknowledged(2);
    let (code, said) = rotate(&lab.nodes[0], LONG, &[]);
    assert!(code == 0, "{said}");
}

fn lock(node: &Plugin) -> std::path::PathBuf {
    node.dir.join("ring/lock")
}
