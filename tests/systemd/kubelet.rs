//! A unit that stands in for kubelet: what is ordered before it may not hold it up.

use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::node::{SERVICE, serves, serving};

/// What the unit may cost: the 5 s of its TimeoutStartSec=.
const ALLOWED: Duration = Duration::from_secs(5);
/// Of a machine on which others work too.
const ROOM: Duration = Duration::from_secs(5);
/// More than systemd allows a unit that says nothing of that.
const TRIES: u32 = 7;
/// RestartSec= of the unit.
const PAUSE: Duration = Duration::from_millis(500);
const STARTS: &str = "journalctl --output=cat --unit kekring.service | grep -c ^Starting";
const UNIT: &str = "/etc/systemd/system/kubelet.service";

/// Started at each boot, as kubelet is.
pub fn install(machine: &Machine) {
    machine.write(
        UNIT,
        "[Service]\nType=exec\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n",
    );
    machine.must("systemctl daemon-reload; systemctl enable kubelet.service");
}

/// Starts both at once, as a boot does, and returns how long kubelet waited.
#[track_caller]
pub fn wait_behind(machine: &Machine) -> Duration {
    let asked = uptime(machine);
    machine.must(&format!("systemctl start --no-block {SERVICE} kubelet.service"));
    machine.wait_for("systemctl is-active kubelet.service");
    let started = Duration::from_micros(machine.number("kubelet.service", "ActiveEnterTimestampMonotonic"));
    machine.must("systemctl stop kubelet.service");
    let waited = started.saturating_sub(asked);
    assert!(waited < ALLOWED + ROOM, "kubelet waited {waited:?}");
    waited
}

fn uptime(machine: &Machine) -> Duration {
    let text = machine.must("cut -d ' ' -f 1 /proc/uptime");
    Duration::from_secs_f64(text.parse().unwrap())
}

fn starts(machine: &Machine) -> u32 {
    machine.must(STARTS).parse().unwrap()
}

/// A program in the place of kekring, until `restore` puts that back.
fn replace(machine: &Machine, script: &str) {
    machine.must("test -e /root/kekring || mv /usr/local/bin/kekring /root/kekring");
    machine.must(&format!(
        "printf '#!/bin/sh\\n%s\\n' '{script}' > /usr/local/bin/kekring; chmod 0755 /usr/local/bin/kekring"
    ));
}

pub fn a_program_that_hangs_or_dies_holds_kubelet_up_no_longer_than_its_start_may_take() {
    let machine = serving();
    install(&machine);
    assert_eq!(machine.property(SERVICE, "TimeoutStartUSec"), "5s");
    let connect = "setsid curl --silent --unix-socket /run/kekring/kms.sock http://kekring/";

    for (what, script, tries) in [
        ("dies at once", "exit 2", TRIES),
        (
            "never says READY",
            "trap true TERM; while true; do sleep 1; done",
            1,
        ),
    ] {
        machine.must(&format!("systemctl stop {SERVICE}"));
        replace(&machine, script);

        let first = wait_behind(&machine);
        // kube-apiserver of a kubelet that was restarted: its connection asks for the service again and again.
        machine.must(&format!("{connect} >/dev/null 2>&1 </dev/null &"));
        machine.wait_for("test $(grep -c /run/kekring/kms.sock /proc/net/unix) -ge 2");
        let again = wait_behind(&machine);

        println!("\n{what}: kubelet waited {first:?}, and {again:?} with a client at the socket");
        // It is tried for ever, and not without a pause although the client insists.
        let begun = Instant::now();
        machine.wait_for(&format!("test $({STARTS}) -ge {}", starts(&machine) + tries));
        assert!(
            begun.elapsed() > PAUSE * (tries - 1),
            "{tries} starts in {:?}",
            begun.elapsed()
        );
        machine.must("systemctl is-active kekring.socket kekring-telemetry.socket");
    }
    machine.must("mv /root/kekring /usr/local/bin/kekring");

    machine.wait_for("kekring probe --round-trip");
    serves(&machine);
}
