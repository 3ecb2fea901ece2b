//! etcd is put back to a snapshot, as an operator does it after a loss.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use kekring_kit::Missing;

use crate::golang::Program;
use crate::keys::{CONVERGED, Keys};
use crate::lab::Lab;
use crate::load::Load;
use crate::wait::{SOON, wait_for};

static PROGRAM: Program = Program::new("snapshot", "tests/nodes/snapshot", "go.mod", "");
/// After the snapshot.
const ROTATIONS: usize = 3;

/// etcd's own code that saves a snapshot and restores one, built by the first trial that asks.
pub fn program() -> Result<&'static Path, Missing> {
    PROGRAM.path()
}

pub fn after_etcd_is_restored_from_a_snapshot_everything_in_it_reads_and_no_key_goes_back() {
    let mut lab = Lab::start("30d");
    let keys = Keys::of(&lab);
    keys.during(|| {
        let load = Load::of(&lab);
        load.during(|| load.go_on());
        lab.nodes[0].must(&["rotate"]);
        let key = lab.nodes[0].active();
        let kept = lab.write_until_under(0, &key);
        let file = save(&lab);
        let (mut later, mut last) = (BTreeMap::new(), key);
        for turn in 0..ROTATIONS {
            lab.nodes[turn % 3].must(&["rotate"]);
            last = lab.nodes[turn % 3].active();
            later.insert(last.clone(), lab.write_until_under(turn % 3, &last));
        }
        assert_eq!(later.len(), ROTATIONS);
        let before = wait_for("the plugins to agree", SOON, || keys.agreed());

        restore(&mut lab, &file);

        println!(
            "\n{} Secrets in the snapshot, {ROTATIONS} rotations after it",
            load.reads_through(&lab.nodes[0].api())
        );
        for node in &lab.nodes {
            load.reads_through(&node.api());
            assert_eq!(node.api().password(&kept).as_ref(), Ok(&kept));
            for name in later.values() {
                // Gone with etcd, and with no key.
                let why = node.api().password(name).unwrap_err();
                assert!(why.starts_with("status 404"), "{why}");
            }
            assert_eq!(node.active(), last, "{} went back", node.name);
        }
        the_nodes_go_on_together(&lab, &keys, &before);
        let again = Load::of(&lab);
        again.during(|| again.go_on());
        again.print();
        assert_eq!(again.failures(), [""; 0]);
        for node in &mut lab.nodes {
            node.restart_api_server();
            again.reads_through(&node.api());
            load.reads_through(&node.api());
        }
    });
    keys.none_went_back();
    println!("{keys}");
}

/// Their histories are joined; then they rotate again, and agree.
fn the_nodes_go_on_together(lab: &Lab, keys: &Keys, before: &String) {
    wait_for("a rotation after the join", CONVERGED, || {
        let rotated = lab.nodes[1].verb(&["rotate", "--timeout", "10s"]);
        println!("rotate: {}", String::from_utf8_lossy(&rotated.stderr).trim());
        rotated.status.success().then_some(())
    });
    wait_for("the plugins to have the key after it", CONVERGED, || {
        keys.agreed().filter(|it| it != before)
    });
}

fn save(lab: &Lab) -> std::path::PathBuf {
    let file = lab.setup.dir.join("snapshot.db");
    let identity = lab.setup.tls.identity.as_ref().unwrap();
    run(Command::new(program().unwrap())
        .args(["save", lab.cluster.url(0)])
        .args([&lab.setup.tls.ca, &identity.cert, &identity.key, &file]));
    file
}

/// As etcd's guide says: nobody uses it meanwhile, and each member begins anew with a directory that is made of the snapshot.
/// The plugins run all the time.
fn restore(lab: &mut Lab, file: &Path) {
    for node in &mut lab.nodes {
        node.kill_api_server();
    }
    let count = lab.cluster.count();
    let peers: Vec<String> = (0..count)
        .map(|it| format!("m{it}={}", lab.cluster.peer_url(it)))
        .collect();
    for it in 0..count {
        lab.cluster.kill(it);
    }
    for it in 0..count {
        let dir = lab.setup.dir.join(format!("restored-{it}"));
        run(Command::new(program().unwrap())
            .arg("restore")
            .arg(file)
            .arg(format!("m{it}"))
            .arg(&dir)
            .args([lab.cluster.peer_url(it), &peers.join(",")]));
        lab.cluster.move_data(it, &dir);
    }
    lab.start_etcd();
    for node in &mut lab.nodes {
        node.spawn_api_server();
    }
    for node in &mut lab.nodes {
        node.wait_for_api_server();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {} {why}", output.status);
}
