//! A package that meets what it did not bring: another's ring, an installation by hand, a broken configuration, an upgrade
//! that was broken off.

use crate::grpc::Client;
use crate::machine::Machine;
use crate::node::{blocks, fresh, kept, serving, types};
use crate::service::{SERVICE, SOCKET, active, serves};
use crate::support::{page, shown};

const UNITS: [&str; 3] = ["kekring.service", "kekring.socket", "kekring-telemetry.socket"];
const CONFIG: &str = "/etc/kekring/config.yaml";

pub fn a_ring_of_another_user_is_left_alone_until_it_is_handed_over() {
    for (install, tool) in [
        ("dpkg --install kekring_0.1.0_amd64.deb", "dpkg"),
        (
            "rpm --force-debian --nodeps --install kekring-0.1.0-1.x86_64.rpm",
            "rpm",
        ),
    ] {
        let machine = fresh();
        // As a static Pod leaves it.
        machine.must("mkdir -p -m 0700 /var/lib/kekring /run/kekring; touch /var/lib/kekring/gen-1-aabbccdd.ring; mkdir /etc/credstore.encrypted");
        let before = kept(&machine, "/run/kekring");

        let output = machine.sh(install);

        assert!(!output.status.success(), "{tool}: {}", shown(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("it belongs to root"), "{said}");
        assert_eq!(kept(&machine, "/run/kekring"), before, "{tool}");
        assert!(!machine.path("/usr/bin/kekring").exists(), "{tool}");
        assert!(!machine.must("cat /etc/passwd").contains("kekring"), "{tool}");

        let hint = said.split("then: ").nth(1).unwrap().lines().next().unwrap();
        machine.must(hint);
        machine.must(install);
        assert_eq!(
            machine.must("stat -c %U /var/lib/kekring/gen-1-aabbccdd.ring"),
            "kekring"
        );
    }
}

pub fn what_was_installed_by_hand_is_named_and_goes_on() {
    let machine = fresh();
    by_hand(&machine);
    let pid = machine.number(SERVICE, "MainPID");
    let config = machine.must(&format!("cat {CONFIG}"));

    // The configuration is the operator's: it is asked for where there is somebody, and kept where there is not.
    let said =
        machine.must("exec 2>&1; dpkg --force-confdef --force-confold --install kekring_0.2.0_amd64.deb");

    for file in UNITS.map(|unit| format!("/etc/systemd/system/{unit}")) {
        assert!(said.contains(&format!("{file} was put there by hand")), "{said}");
    }
    assert!(
        said.contains("/usr/local/bin/kekring was put there by hand"),
        "{said}"
    );
    assert_eq!(machine.must(&format!("cat {CONFIG}")), config);
    assert_eq!(machine.number(SERVICE, "MainPID"), pid);
    serves(&machine);
    let said = machine.must("exec 2>&1; dpkg --remove kekring");
    assert!(!said.contains("the plugin stops now"), "{said}");
    assert_eq!(machine.number(SERVICE, "MainPID"), pid);
    serves(&machine);

    // And the package takes over when the files by hand are gone.
    let key = active(&machine);
    machine.must("dpkg --install kekring_0.2.0_amd64.deb");
    machine.must(
        "rm /etc/systemd/system/kekring*.service /etc/systemd/system/kekring*.socket /usr/local/bin/kekring",
    );
    machine.must(&format!("systemctl daemon-reload; systemctl restart {SERVICE}"));
    serves(&machine);
    assert_eq!(active(&machine), key);
    assert_eq!(
        machine.must(&format!(
            "readlink /proc/{}/exe",
            machine.number(SERVICE, "MainPID")
        )),
        "/usr/bin/kekring"
    );
}

/// What the page of systemd installs, from the tarball as its own page says.
fn by_hand(machine: &Machine) {
    tarball(machine);
    let blocks = page::blocks("deploy/systemd/README.md").into_iter();
    let install: Vec<String> = blocks
        .filter(|block| block.section == "Install")
        .map(|block| block.text)
        .collect();
    let (first, rest) = install[1].split_once('\n').unwrap();
    assert_eq!(
        first,
        "install -m 0755 target/release/kekring /usr/local/bin/kekring"
    );
    machine.must(&format!("cd kekring-0.1.0-x86_64-linux-musl\n{rest}"));
    for block in &install[2..] {
        machine.must(&format!("cd kekring-0.1.0-x86_64-linux-musl\n{block}"));
    }
    serves(machine);
}

fn tarball(machine: &Machine) {
    for block in blocks("From the tarball", "tarball") {
        types(machine, &block);
    }
}

pub fn the_tarball_is_installed_by_the_page() {
    let machine = fresh();

    tarball(&machine);

    assert_eq!(machine.must("kekring --version"), "kekring 0.1.0");
    assert_eq!(
        machine.must("stat -c '%a %U' /usr/local/bin/kekring /usr/local/share/man/man1/kekring-serve.1"),
        "755 root\n644 root"
    );
    let units = machine.must("cat kekring-0.1.0-x86_64-linux-musl/deploy/systemd/kekring.service");
    assert!(
        units.contains("ExecStart=/usr/local/bin/kekring serve"),
        "{units}"
    );
}

pub fn a_program_that_does_not_accept_the_configuration_is_not_started() {
    let machine = serving("deb");
    let pid = machine.number(SERVICE, "MainPID");
    let config = machine.must(&format!("cat {CONFIG}"));
    machine.write(CONFIG, &format!("{config}\nunheardOf: true\n"));

    let said = machine.must("exec 2>&1; dpkg --force-confold --install kekring_0.2.0_amd64.deb");

    assert!(
        said.contains("the service goes on with the program before"),
        "{said}"
    );
    assert!(said.contains("unheardOf"), "{said}");
    assert_eq!(machine.number(SERVICE, "MainPID"), pid);
    Client::connect(&machine.path(SOCKET)).encrypt(b"a seed").unwrap();

    machine.write(CONFIG, &config);
    let hint = said.split("then: ").nth(1).unwrap().lines().next().unwrap();
    machine.must(hint);
    assert_ne!(machine.number(SERVICE, "MainPID"), pid);
    serves(&machine);
}

pub fn an_upgrade_that_was_broken_off_serves_and_is_finished_later() {
    let machine = serving("deb");
    let (pid, key) = (machine.number(SERVICE, "MainPID"), active(&machine));

    machine.must("dpkg --unpack kekring_0.2.0_amd64.deb");

    assert_eq!(machine.number(SERVICE, "MainPID"), pid);
    serves(&machine);
    // Also across a crash: what starts is the new program.
    machine.must(&format!("systemctl kill --signal=KILL {SERVICE}"));
    machine.wait_for("kekring probe --round-trip");
    assert_eq!(active(&machine), key);
    let pid = machine.number(SERVICE, "MainPID");
    machine.must("dpkg --configure --pending");
    assert_ne!(machine.number(SERVICE, "MainPID"), pid);
    serves(&machine);
    assert_eq!(machine.must("dpkg --audit"), "");
}
