//! A boot, an activation, and what the running service is left with.

use crate::kubelet;
use crate::machine::Machine;
use crate::node::{SERVICE, json, serves, serving};

/// Before everything else that a boot starts.
const NO_LOOPBACK: &str = "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n\
    [Service]\nType=oneshot\nExecStart=/bin/ip link set lo down\n[Install]\nWantedBy=sysinit.target\n";

pub fn it_boots_before_kubelet_without_any_network_and_is_hardened() {
    let mut machine = serving();
    kubelet::install(&machine);
    machine.write("/etc/systemd/system/no-loopback.service", NO_LOOPBACK);
    machine.must("systemctl daemon-reload; systemctl enable no-loopback.service");

    machine.reboot();
    machine.wait_for("systemctl is-active kubelet.service");

    assert_eq!(machine.must("ip -oneline link show up"), "", "a network is up");
    serves(&machine);
    waits_for_no_network(&machine);
    let ready = machine.number(SERVICE, "ActiveEnterTimestampMonotonic");
    let kubelet = machine.number("kubelet.service", "InactiveExitTimestampMonotonic");
    let begun = machine.number(SERVICE, "InactiveExitTimestampMonotonic");
    println!("\nREADY {} ms after its start", (ready - begun) / 1000);
    assert!(
        ready <= kubelet,
        "kekring was READY at {ready} us, kubelet started at {kubelet} us"
    );
    is_hardened(&machine);

    machine.must("ip link set lo up");
    machine.must("curl -sf http://127.0.0.1:9476/readyz");
}

fn waits_for_no_network(machine: &Machine) {
    for unit in [SERVICE, "kekring.socket", "kekring-telemetry.socket"] {
        for what in ["After", "Wants", "Requires", "BindsTo"] {
            let units = machine.property(unit, what);
            for word in ["network", "nss-", "remote-fs", "time-sync"] {
                assert!(!units.contains(word), "{unit}: {what}={units}");
            }
        }
    }
}

fn is_hardened(machine: &Machine) {
    let pid = machine.number(SERVICE, "MainPID");
    let status = machine.must(&format!("cat /proc/{pid}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim_start_matches(':').trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Seccomp"), "2");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert!(
        !field("Uid").split_whitespace().any(|uid| uid == "0"),
        "{}",
        field("Uid")
    );
    // The last mount at a place is the one that counts.
    let mounts = machine.must(&format!("cat /proc/{pid}/mountinfo"));
    let rights = |place: &str| {
        let mount = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some(place));
        mount.unwrap().split(' ').nth(5).unwrap()[..2].to_owned()
    };
    let places = ["/", "/run", "/run/kekring", "/var/lib/kekring"];
    assert_eq!(places.map(rights), ["ro", "ro", "rw", "rw"]);
    let network = |process: &str| machine.must(&format!("readlink /proc/{process}/ns/net"));
    assert_ne!(network(&pid.to_string()), network("1"));
    let protections = json(machine, "kekring status")["nodes"].to_string();
    assert!(!protections.contains("refused ("), "{protections}");
}

pub fn a_connection_to_either_socket_starts_it() {
    let machine = serving();

    for connect in [
        "kekring probe --round-trip",
        "curl -sf http://127.0.0.1:9476/livez",
    ] {
        machine.must(&format!("systemctl stop {SERVICE}"));
        assert_eq!(machine.property(SERVICE, "ActiveState"), "inactive");
        assert_eq!(
            machine.must("stat -c %a:%U /run/kekring /run/kekring/kms.sock"),
            "700:kekring\n600:root"
        );

        machine.must(connect);

        machine.wait_for(&format!("systemctl is-active {SERVICE}"));
        serves(&machine);
    }
}
