//! The watchdog, a reload, a reboot, a socket that is removed, and a service with a network.

use std::fs;

use crate::document::blocks;
use crate::grpc;
use crate::guide;
use crate::load::Load;
use crate::node::{SERVICE, SOCKET, active, serves, serving};

pub fn a_frozen_service_is_killed_by_the_watchdog_and_serves_again() {
    let machine = serving();
    let pid = machine.number(SERVICE, "MainPID");

    machine.must(&format!("kill -STOP {pid}"));

    machine.wait_for(&format!(
        "pid=$(systemctl show --value --property=MainPID {SERVICE}); test \"$pid\" != 0; test \"$pid\" != {pid}"
    ));
    machine.wait_for("kekring probe --round-trip");
    let journal = machine.journal(SERVICE);
    assert!(journal.contains("Watchdog timeout"), "{journal}");
}

pub fn a_reload_reads_the_ring_again_and_fails_no_request() {
    let machine = serving();
    let pid = machine.number(SERVICE, "MainPID");
    let mut load = Load::on(&machine.path(SOCKET));

    for number in 1..=3 {
        machine.must("kekring rotate");
        machine.must(&format!("systemctl reload {SERVICE}"));
        load.goes_on();
        machine.wait_for(&format!(
            "test $(journalctl --output=cat --unit {SERVICE} | grep -c SIGHUP) = {number}"
        ));
        machine.wait_for(&format!("systemctl is-active {SERVICE}"));
    }

    load.end();
    assert_eq!(machine.number(SERVICE, "MainPID"), pid);
    assert_eq!(machine.number(SERVICE, "NRestarts"), 0);
}

pub fn a_reboot_brings_the_same_key_back_and_what_was_encrypted() {
    let mut machine = serving();
    let client = grpc::Client::connect(&machine.path(SOCKET));
    let sealed = client.encrypt(b"a seed").unwrap();
    machine.must("kekring rotate");
    let key = active(&machine);

    machine.reboot();

    machine.must(&format!(
        "systemctl is-active {SERVICE} kekring.socket kekring-telemetry.socket"
    ));
    serves(&machine);
    let client = grpc::Client::connect(&machine.path(SOCKET));
    assert_eq!(client.decrypt(&sealed).unwrap(), b"a seed");
    assert_eq!(client.key_id(), key);
    assert_eq!(machine.must("systemctl --failed --plain --no-legend"), "");
}

pub fn a_socket_that_was_removed_comes_back() {
    let machine = serving();

    fs::remove_file(machine.path(SOCKET)).unwrap();
    machine.wait_for("kekring probe --round-trip");
    assert_eq!(machine.must(&format!("stat -c %a {SOCKET}")), "600");

    // It is not systemd's: that one has no path any more.
    machine.must(&format!("systemctl restart {SERVICE}"));
    machine.wait_for("kekring probe --round-trip");
    machine.must(&format!("systemctl kill --signal=KILL {SERVICE}"));
    machine.wait_for("kekring probe --round-trip");

    // More often in a short time than systemd allows a unit that says nothing of that.
    for _ in 0..7 {
        blocks("When it does not serve")
            .iter()
            .for_each(|block| guide::run(&machine, block));
    }
    serves(&machine);
    assert_eq!(machine.must(&format!("stat -c %U {SOCKET}")), "root");
}

pub fn with_the_network_drop_in_it_shares_the_network_of_the_machine() {
    let machine = serving();

    machine.must(
        "install -D -m 0644 deploy/systemd/network.conf /etc/systemd/system/kekring.service.d/network.conf
         systemctl daemon-reload
         systemctl restart kekring.service",
    );

    serves(&machine);
    machine.must("curl -sf http://127.0.0.1:9476/readyz");
    let pid = machine.number(SERVICE, "MainPID");
    let network = |process: &str| machine.must(&format!("readlink /proc/{process}/ns/net"));
    assert_eq!(network(&pid.to_string()), network("1"));
}
