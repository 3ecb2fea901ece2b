//! A cluster comes to be as kubeadm makes it: one node with the ring in files, then the others, one more, and one that goes.

use std::sync::Arc;

use crate::keys::{CONVERGED, Keys};
use crate::lab::Lab;
use crate::load::Load;
use crate::support::shown;
use crate::wait::{SOON, wait_for};
use crate::weather::What;

pub fn the_order_of_kubeadm_leads_from_files_on_one_node_to_four_nodes_and_back_to_three() {
    let mut lab = Lab::etcd("30d");
    lab.add_node(|own| own);
    let early = the_first_node(&mut lab);
    for it in 1..4 {
        let node = lab.add_node(|own| own);
        assert_eq!(node, it);
        lab.nodes[it].take_root(&lab.nodes[0].plugin.dir.join("root.key"));
        // Before there is an API server; kubeadm join starts that.
        lab.nodes[it].serve();
        lab.nodes[it].start_api_server();
        let secrets = early.reads_through(&lab.nodes[it].api());
        println!(
            "{} joined, and its API server reads {secrets} Secrets",
            lab.nodes[it].name
        );
    }

    let (load, keys) = (Load::of(&lab), Keys::of(&lab));
    load.during(|| {
        keys.during(|| {
            wait_for("the plugins to agree", SOON, || keys.agreed());
            lab.nodes[3].must(&["rotate"]);
            wait_for("all four to have the new key", CONVERGED, || {
                keys.agreed().filter(|_| keys.rotations() == 1)
            });
            load.go_on();
        });
    });
    println!("{keys}");
    load.print();
    assert_eq!(load.failures(), [""; 0]);
    the_fourth_node_goes(&mut lab);
    for node in &mut lab.nodes[..3] {
        node.restart_api_server();
        early.reads_through(&node.api());
        load.reads_through(&node.api());
    }
}

/// The ring in files, an API server in use, and the ring goes to etcd.
fn the_first_node(lab: &mut Lab) -> Load {
    lab.nodes[0].use_files();
    lab.nodes[0].must(&["init", "--no-recovery"]);
    lab.nodes[0].serve();
    lab.nodes[0].start_api_server();
    lab.nodes[0].api().create_namespace();
    let load = Load::of(lab);
    load.during(|| {
        let before = lab.nodes[0].active();
        lab.nodes[0].use_etcd();
        let moved = lab.nodes[0].must(&["store", "move", "--to", "etcd"]);
        println!("\n{moved}");
        load.go_on();
        let weather = Arc::clone(&lab.weather);
        weather.during(What::Plugin(0), || {
            assert!(lab.nodes[0].plugin.stop().success());
            lab.nodes[0].serve();
            lab.nodes[0].wait_until_ready();
        });
        load.go_on();
        assert_eq!(lab.nodes[0].active(), before);
    });
    load.print();
    assert_eq!(load.failures(), [""; 0]);
    load
}

/// For good, as an operator says.
fn the_fourth_node_goes(lab: &mut Lab) {
    lab.nodes[3].kill_api_server();
    lab.nodes[3].plugin.kill();
    let alive = lab.nodes[0].verb(&["node", "remove", "cp-4"]);
    println!("node remove: {}", shown(&alive));
    assert_eq!(alive.status.code(), Some(3), "it was alive a moment ago");
    wait_for("the node to be removed", CONVERGED, || {
        lab.nodes[0]
            .verb(&["node", "remove", "cp-4"])
            .status
            .success()
            .then_some(())
    });
    let list = lab.nodes[1].must(&["node", "list"]);
    assert!(list.contains("cp-3") && !list.contains("cp-4"), "{list}");
    // Two, so that the second needs what it would have had to acknowledge.
    for _ in 0..2 {
        lab.nodes[2].must(&["rotate"]);
    }
    let active = lab.nodes[2].active();
    wait_for("the three to go on", CONVERGED, || {
        lab.nodes[..3]
            .iter()
            .all(|it| it.active() == active)
            .then_some(())
    });
}
