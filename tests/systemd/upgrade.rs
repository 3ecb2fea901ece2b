//! Another program in the place of the one that runs, while kube-apiserver's client calls without a pause.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::document::blocks;
use crate::guide;
use crate::load::Load;
use crate::machine::Machine;
use crate::node::{SERVICE, active, deliver, serving};
use crate::support::{KEKRING, kekring, shown};

const RESTARTS: usize = 3;

/// How long the program is that runs now.
fn running(machine: &Machine) -> u64 {
    let pid = machine.number(SERVICE, "MainPID");
    fs::metadata(machine.path(&format!("/proc/{pid}/exe")))
        .unwrap()
        .len()
}

pub fn restarts_an_upgrade_and_the_way_back_fail_no_request_and_a_pod_keeps_its_mount() {
    let machine = serving();
    let (_pod, mount) = machine.pod("/run/kekring");
    let socket = mount.join("kms.sock");
    let older = fs::read(KEKRING).unwrap();
    let mut load = Load::on(&socket);

    for _ in 0..RESTARTS {
        let pid = machine.number(SERVICE, "MainPID");
        machine.must(&format!("systemctl restart {SERVICE}"));
        assert_ne!(machine.number(SERVICE, "MainPID"), pid);
        load.goes_on();
    }
    // The same program as far as it runs, and another file.
    deliver(&machine, &[&older[..], b"newer"].concat());
    blocks("Upgrade")
        .iter()
        .for_each(|block| guide::run(&machine, block));
    assert_eq!(running(&machine), u64::try_from(older.len() + 5).unwrap());
    load.goes_on();
    machine.must("kekring rotate");
    load.goes_on();
    blocks("Roll back")
        .iter()
        .for_each(|block| guide::run(&machine, block));
    assert_eq!(running(&machine), u64::try_from(older.len()).unwrap());
    load.goes_on();
    let rounds = load.end();

    println!(
        "\n{rounds} times Status, Encrypt and Decrypt across {} restarts, none failed",
        RESTARTS + 2
    );
    let (inside, outside) = (
        fs::metadata(&mount).unwrap(),
        fs::metadata(machine.path("/run/kekring")).unwrap(),
    );
    assert_eq!((inside.dev(), inside.ino()), (outside.dev(), outside.ino()));
    let through_the_pod = kekring(&["probe", "--round-trip", "--socket"])
        .arg(&socket)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&through_the_pod.stdout).into_owned();
    assert!(said.contains(&active(&machine)), "{}", shown(&through_the_pod));
}
