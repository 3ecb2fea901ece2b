//! The plugin of one node loses etcd. Its API server does not.

use std::sync::Arc;

use crate::keys::{CONVERGED, Keys};
use crate::lab::Lab;
use crate::load::Load;
use crate::node::Node;
use crate::proxy::{Fault, Proxy};
use crate::support::scrape::Scrape;
use crate::support::shown;
use crate::wait::{SOON, wait_for};
use crate::weather::What;

/// By the name of a node, where a rotation waits for it.
const WAITED_FOR: &str = "kekring_node_waited_for";

/// Three nodes; the third one's plugin reaches etcd by wires that can be cut.
struct Wired {
    lab: Lab,
    wires: Vec<Proxy>,
}

impl Wired {
    fn start() -> Self {
        let (mut lab, mut wires) = (Lab::etcd("30d"), Vec::new());
        lab.add_node(|own| own);
        lab.add_node(|own| own);
        lab.add_node(|own| {
            wires = own.iter().map(|url| Proxy::start(url, b"no marker")).collect();
            wires
                .iter()
                .map(|it| it.url().replace("http:", "https:"))
                .collect()
        });
        lab.init(0);
        lab.serve();
        Self { lab, wires }
    }

    fn cut(&self) {
        self.wires.iter().for_each(|it| it.set(Fault::Parted));
    }

    fn mend(&self) {
        self.wires.iter().for_each(|it| it.set(Fault::None));
    }
}

pub fn a_rotation_waits_for_a_node_that_is_cut_off_and_no_read_fails_there() {
    let mut wired = Wired::start();
    let (load, keys) = (Load::of(&wired.lab), Keys::of(&wired.lab));

    load.during(|| {
        keys.during(|| {
            wait_for("the plugins to agree", SOON, || keys.agreed());
            wired.cut();
            // The next key is in its copy, as it has said: that one becomes active on the others.
            let first = wired.lab.nodes[0].active();
            still_waits_for_the_third(&wired.lab);
            let second = wired.lab.nodes[0].active();
            assert_ne!(first, second);
            load.go_on();
            // The key after that one is not.
            still_waits_for_the_third(&wired.lab);
            everybody_who_knows_names_it(&wired.lab);
            load.go_on();

            // It has no seed, and its plugin has only its copy.
            let weather = Arc::clone(&wired.lab.weather);
            weather.during(What::ApiServer(2), || wired.lab.nodes[2].restart_api_server());
            load.go_on();
            let through = load.reads_through(&wired.lab.nodes[2].api());
            println!("{through} Secrets read by an API server without caches whose plugin is cut off");
            let active: Vec<String> = wired.lab.nodes.iter().map(Node::active).collect();
            assert_eq!(active, [second.clone(), second, first]);

            wired.mend();
            wait_for("the rotation to be finished by itself", CONVERGED, || {
                keys.agreed().filter(|_| keys.rotations() == 2)
            });
            load.go_on();
        });
    });

    println!("{keys}; {}", wired.lab.weather);
    load.print();
    assert_eq!(load.failures(), [""; 0]);
    assert_eq!(keys.rotations(), 2, "asked for twice");
    keys.none_went_back();
    for node in &mut wired.lab.nodes {
        node.restart_api_server();
        load.reads_through(&node.api());
    }
}

fn still_waits_for_the_third(lab: &Lab) {
    let waits = lab.nodes[0].verb(&["rotate", "--timeout", "10s"]);
    println!("\nrotate: {}", shown(&waits));
    assert_eq!(waits.status.code(), Some(4));
    let why = String::from_utf8_lossy(&waits.stderr).into_owned();
    assert!(why.contains("cp-3") && !why.contains("cp-2"), "{why}");
}

/// On the nodes that see that it has not acknowledged.
fn everybody_who_knows_names_it(lab: &Lab) {
    for node in &lab.nodes[..2] {
        wait_for("status to name who is missing", CONVERGED, || {
            let warnings = node.status()["warnings"].to_string();
            warnings.contains("cp-3").then_some(())
        });
        wait_for("a metric to name who is missing", CONVERGED, || {
            let missing = |name| Scrape::of(&node.telemetry).find(WAITED_FOR, &[("node", name)]);
            (missing("cp-3") == Some(1.0)).then_some(())
        });
    }
}

pub fn a_node_that_was_left_behind_serves_what_it_has_and_catches_up_by_itself() {
    let mut wired = Wired::start();
    let lab = &mut wired.lab;
    let first = lab.nodes[0].active();
    let before = lab.write_until_under(2, &first);
    assert!(lab.nodes[2].plugin.stop().success());
    lab.nodes[0].must(&["rotate", "--without", "cp-3"]);
    let second = lab.nodes[0].active();
    let prepared = lab.write_until_under(0, &second);
    lab.nodes[0].must(&["rotate", "--without", "cp-3"]);
    let third = lab.nodes[0].active();
    let after = lab.write_until_under(0, &third);

    wired.cut();
    let lab = &mut wired.lab;
    lab.nodes[2].plugin.serve();
    lab.nodes[2].wait_until_ready();
    let api = lab.nodes[2].api();
    let status = lab.nodes[2].status();
    println!("\nthe node that is cut off: {}", status["warnings"]);
    assert_eq!(status["active"], first.as_str());
    // The next key was in its copy before it became active, and the one after that was not.
    for name in [&before, &prepared] {
        assert_eq!(api.password(name).as_ref(), Ok(name));
    }
    let why = api.password(&after).unwrap_err();
    println!("through its API server: {why}");
    assert!(why.contains(&third), "{why}");
    assert_eq!(lab.nodes[1].api().password(&after).as_ref(), Ok(&after));

    // With empty caches it does not even start: it lists all Secrets first.
    lab.nodes[2].kill_api_server();
    lab.nodes[2].spawn_api_server();
    wait_for("kube-apiserver to miss a Secret", 2 * SOON, || {
        let ready = api.health("/readyz").ok()?;
        ready.body.contains("[-]informer-sync").then_some(())
    });

    wired.mend();
    wired.lab.nodes[2].wait_for_api_server();
    wait_for("the node to read what is under the newest key", CONVERGED, || {
        api.password(&after).ok().filter(|it| *it == after)
    });
    let lab = &wired.lab;
    wait_for("the node to have the newest key active", CONVERGED, || {
        (lab.nodes[2].active() == third).then_some(())
    });
    let last = lab.write_until_under(2, &third);
    for node in &lab.nodes {
        for name in [&before, &prepared, &after, &last] {
            assert_eq!(
                node.api().password(name).as_ref(),
                Ok(name),
                "through {}",
                node.name
            );
        }
    }
}
