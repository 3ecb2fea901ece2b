//! The end of a cluster, as deploy/leaving/README.md has it: what is destroyed there, and what opens the ring until it is too.

use std::fs;

use crate::shell::Shell;
use crate::support::{page, shown};

const PAGE: &str = "deploy/leaving/README.md";
const VERIFY: &str = "kekring backup verify --open-with - /mnt/kept.ring";

#[test]
fn after_the_end_of_a_cluster_nothing_opens_the_ring_but_what_the_page_names() {
    let configuration = page::text("deploy/static-pod/config.yaml");
    let mut shell = Shell::new(&configuration);
    shell.run("kekring init --recovery-code-file /root/kekring-recovery-code");
    shell.run("mkdir -p -m 0700 /mnt/backup/kekring");
    shell.run("kekring backup /mnt/backup/kekring");
    let backups = fs::read_dir(shell.at("/mnt/backup/kekring")).unwrap();
    let backup = backups.into_iter().next().unwrap().unwrap().path();
    fs::copy(backup, shell.at("/mnt/kept.ring")).unwrap();

    let ends = page::blocks(PAGE)
        .into_iter()
        .filter(|it| it.language == "sh" && it.place == ["end"]);
    let lines: Vec<String> = ends
        .flat_map(|it| it.text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(lines.len() > 4, "{lines:?}");
    lines.iter().for_each(|line| shell.run(line));
    for gone in ["/etc/kekring", "/var/lib/kekring"] {
        assert!(!shell.at(gone).exists(), "{gone}");
    }

    // Another machine, which has a configuration and no root of that ring.
    shell.write("/etc/kekring/config.yaml", &configuration);
    shell.run(VERIFY);
    let without = shell.tried("kekring backup verify /mnt/kept.ring");
    assert!(!without.status.success(), "{}", shown(&without));
    shell.run("shred -u /root/kekring-recovery-code");
    let left = shell.tried(VERIFY);
    assert!(!left.status.success(), "{}", shown(&left));
}
