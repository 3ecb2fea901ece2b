//! The root key as a credential of systemd's: missing, of another machine, not encrypted.

use crate::kubelet;
use crate::machine::Machine;
use crate::node::{SERVICE, active, serves, serving};

const FILE: &str = "/etc/credstore.encrypted/kekring-root";

pub fn without_its_credential_the_service_is_ready_with_the_cause_and_serves_once_it_is_there() {
    let machine = serving();
    let key = active(&machine);
    kubelet::install(&machine);
    machine.must(&format!("mv {FILE} /root/; systemctl stop {SERVICE}"));

    let waited = kubelet::wait_behind(&machine);

    println!("\nkubelet waited {waited:?}");
    assert_eq!(machine.property(SERVICE, "ActiveState"), "active");
    let status = machine.property(SERVICE, "StatusText");
    println!("StatusText={status}");
    assert!(
        status.contains("credential kekring-root: unavailable: the unit was started without it"),
        "{status}"
    );
    let probe = machine.sh("kekring probe");
    assert_eq!(probe.status.code(), Some(1));
    let told = String::from_utf8_lossy(&probe.stderr).into_owned();
    assert!(told.contains("kekring-root"), "{told}");
    assert!(
        !machine
            .sh("curl -sf http://127.0.0.1:9476/readyz")
            .status
            .success()
    );
    machine.must("curl -sf http://127.0.0.1:9476/livez");

    machine.must(&format!(
        "mv /root/kekring-root {FILE}; systemctl restart {SERVICE}"
    ));
    serves(&machine);
    assert_eq!(active(&machine), key);
}

/// `systemd-creds encrypt` as another machine does it, with a key of its own.
fn of_another_machine(machine: &Machine) {
    machine.must(&format!(
        "cd /var/lib/systemd; mv credential.secret ours; mv {FILE} /root/
         head -c 32 /dev/urandom | systemd-creds encrypt --name=kekring-root --with-key=host - {FILE}
         mv ours credential.secret"
    ));
}

pub fn a_credential_of_another_machine_stops_the_start_and_not_kubelet() {
    let machine = serving();
    kubelet::install(&machine);
    machine.must(&format!("systemctl stop {SERVICE}"));
    of_another_machine(&machine);

    let waited = kubelet::wait_behind(&machine);

    println!("\nkubelet waited {waited:?}");
    assert!(
        !machine
            .sh(&format!("systemctl restart {SERVICE}"))
            .status
            .success()
    );
    machine.wait_for(&format!("systemctl status {SERVICE} | grep -q 243/CREDENTIALS"));
    assert!(!machine.sh("kekring probe --timeout 1s").status.success());

    // It is tried again by itself.
    machine.must(&format!("mv /root/kekring-root {FILE}"));
    machine.wait_for("kekring probe --round-trip");
}

pub fn a_plain_credential_opens_the_ring_too() {
    let machine = serving();
    let key = active(&machine);
    machine.must(&format!(
        "mkdir -p -m 0700 /etc/credstore
         systemd-creds decrypt --name=kekring-root {FILE} /etc/credstore/kekring-root
         rm {FILE}"
    ));
    machine.write(
        "/etc/systemd/system/kekring.service.d/plain.conf",
        "[Service]\nLoadCredential=kekring-root\n",
    );

    machine.must(&format!("systemctl daemon-reload; systemctl restart {SERVICE}"));

    machine.must("kekring probe --round-trip");
    let serving = machine.must("cat /run/kekring/status.json");
    assert!(serving.contains(&key), "{serving}");
}
