//! `deploy/systemd/README.md` is true: its commands run as they stand there, on the machine that they are meant for.

use crate::document::{PAGE, blocks, parts};
use crate::machine::Machine;
use crate::node::{active, fresh, serves};
use crate::support::page::with_the_code;

/// Blocks that do not run here, by how they begin, and why.
const NOT_RUN: [(&str, &str); 2] = [
    (
        "cargo build",
        "the program under test lies where it would put one",
    ),
    (
        "bash deploy/rewrite/rewrite.sh",
        "needs a cluster: tests/apiserver has kube-apiserver and etcd",
    ),
];
/// What a block of *Install* begins with that a restored machine must not do.
const FIRST_TIME_ONLY: [&str; 2] = ["kekring init", "systemctl daemon-reload"];
const TASKS: [&str; 11] = [
    "Install",
    "Verify",
    "Turn encryption on",
    "Rotate",
    "Upgrade",
    "Roll back",
    "Back up",
    "Restore on a fresh machine",
    "Turn encryption off",
    "Decommission",
    "When it does not serve",
];

/// Runs a block, unless it is one of those that do not run here.
#[track_caller]
pub fn run(machine: &Machine, block: &str) {
    if !NOT_RUN.iter().any(|(start, _)| block.starts_with(start)) {
        machine.must(&with_the_code(block, "/root/kekring-recovery-code"));
    }
}

/// The blocks of *Install* without those that make the ring and start the service.
pub fn without_ring() -> Vec<String> {
    let first = |block: &String| FIRST_TIME_ONLY.iter().any(|start| block.starts_with(start));
    let blocks = blocks("Install").into_iter();
    blocks.filter(|block| !first(block)).collect()
}

pub fn every_command_of_the_readme_runs_in_the_order_of_the_page() {
    let old = fresh();
    for title in &TASKS[..7] {
        blocks(title).iter().for_each(|block| run(&old, block));
    }
    blocks("When it does not serve")
        .iter()
        .for_each(|block| run(&old, block));
    serves(&old);
    let key = active(&old);

    // What an operator keeps elsewhere.
    let new = fresh();
    for kept in ["/mnt/backup/ring", "/root/kekring-recovery-code"] {
        let bytes = std::fs::read(old.path(kept)).unwrap();
        new.must(&format!(
            "mkdir -p $(dirname {kept}); install -m 0600 /dev/null {kept}"
        ));
        std::fs::write(new.path(kept), bytes).unwrap();
    }
    without_ring().iter().for_each(|block| run(&new, block));
    let restore = blocks("Restore on a fresh machine");
    run(&new, &restore[0]);
    assert_eq!(active(&new), key);
    serves(&new);

    // The other block is for the old machine, whose directory is lost and whose credential is not.
    old.must("systemctl stop kekring.socket kekring-telemetry.socket kekring.service; rm /var/lib/kekring/*");
    run(&old, &restore[1]);
    assert_eq!(active(&old), key);
    assert_eq!(restore.len(), 2);

    for title in ["Turn encryption off", "Decommission"] {
        blocks(title).iter().for_each(|block| run(&old, block));
    }
    let left = "find / -xdev -not -path '/src/*' -iname '*kekring*' -not -name 'kekring-recovery-code'";
    let left = old.must(&format!("{left} -not -path '/mnt/backup/*' -not -path '/proc/*'"));
    println!("\nleft after the page: {left:?}");
    assert!(
        !left.contains("/var/lib/kekring") && !left.contains("/etc/systemd"),
        "{left}"
    );
    assert!(!old.must("cat /etc/passwd").contains("kekring"));
}

pub fn every_task_has_its_part_of_the_page_and_no_excuse_outlives_its_command() {
    let parts = parts();

    let titles: Vec<&str> = parts.iter().map(|part| part.title.as_str()).collect();
    assert_eq!(titles, TASKS);
    for part in &parts {
        let runs = part
            .blocks
            .iter()
            .any(|block| !NOT_RUN.iter().any(|(start, _)| block.starts_with(start)));
        assert!(runs, "{}: nothing in it runs", part.title);
    }
    for (start, why) in NOT_RUN {
        let excused = parts.iter().flat_map(|part| &part.blocks);
        let mut excused = excused.filter(|block| block.starts_with(start));
        assert!(excused.next().is_some(), "{PAGE} no longer has {start:?} ({why})");
    }
    for start in FIRST_TIME_ONLY {
        let known = blocks("Install").iter().any(|block| block.starts_with(start));
        assert!(known, "*Install* has no block that begins with {start:?}");
    }
}
