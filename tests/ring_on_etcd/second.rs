//! Two machines under one name.

use crate::client::Client;
use crate::lab::{Lab, Must, copy_directory, ended, problems, wait_for_problem};
use crate::support::{PATIENCE, wait_until};
use crate::watch::{Watch, all_open};

pub fn a_second_machine_under_a_name_is_refused_until_the_first_is_removed() {
    let mut lab = Lab::of(2);
    let watch = Watch::over(&lab.nodes);
    let mut second = lab.machine("cp-2");
    lab.give_root(&second);
    let registered = lab.open().ring.members;

    second.spawn();
    wait_for_problem(&second, "is registered");

    let refused = Client::connect(&second.socket).status().unwrap_err();
    assert!(
        refused.message().contains("kekring node remove cp-2"),
        "{refused}"
    );
    let (code, said) = ended(&second.verb(&["rotate", "--timeout", "2s"]));
    assert!(code == 3, "{said}");
    // Nobody else notices.
    watch.more(50);
    lab.nodes[0].must(&["rotate"]);
    lab.wait_until_acknowledged(2);
    assert_eq!(lab.open().ring.members, registered);
    assert!(lab.problems(0).is_empty() && lab.problems(1).is_empty());
    watch.end();
    let watch = Watch::over(&lab.nodes[..1]);
    assert!(problems(&second).contains("is registered"));

    // The first one goes. What the second says of itself is not the first one's life.
    lab.nodes[1].stop();
    let mut said = String::new();
    wait_until("the first to be removed", 2 * PATIENCE, || {
        let (code, all) = ended(&lab.nodes[0].verb(&["node", "remove", "cp-2"]));
        said = all;
        assert!(code == 0 || said.contains("it is alive"), "{said}");
        code == 0
    });
    // And the second takes its place, by itself.
    wait_until("the second to report a key", 2 * PATIENCE, || {
        second.verb(&["probe"]).status.success()
    });
    lab.nodes[1] = second;
    lab.wait_until_acknowledged(2);
    lab.nodes[1].must(&["rotate"]);
    all_open(&lab.nodes, &watch.end());
}

pub fn a_copy_that_was_taken_to_another_machine_is_another_instance() {
    let mut lab = Lab::of(2);
    lab.nodes[1].stop();
    let sealed = Client::connect(&lab.nodes[0].socket).encrypt(&[3; 32]).unwrap();
    let mut clone = lab.machine("cp-2");
    lab.give_root(&clone);
    copy_directory(&lab.nodes[1].dir.join("ring"), &clone.dir.join("ring"));

    clone.spawn();
    wait_for_problem(&clone, "is registered");

    let client = Client::connect(&clone.socket);
    assert!(
        client
            .status()
            .unwrap_err()
            .message()
            .contains("kekring node remove cp-2")
    );
    assert!(client.encrypt(&[1; 32]).is_err());
    // What it can open it opens.
    assert_eq!(client.decrypt(&sealed).unwrap(), [3; 32]);
    // The machine itself is as welcome as before.
    lab.nodes[1].serve();
    lab.wait_until_acknowledged(2);
    lab.nodes[1].must(&["rotate"]);
    assert!(client.status().is_err());
}
