//! From the installation to the way back, by the page, while kube-apiserver's client calls without a pause.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use crate::contents;
use crate::load::Load;
use crate::machine::Machine;
use crate::made::{self, NEWER};
use crate::node::{blocks, fresh, kept, types};
use crate::service::{SERVICE, SOCKET, active, serves};

const UNITS: &str = "kekring.service kekring.socket kekring-telemetry.socket";
const CONFIG: &str = "/etc/kekring/config.yaml";
const RECOVERY: &str = "/root/kekring-recovery-code";
const OPERATORS: &str = "# A line of the operator's.\n";

pub fn a_deb_is_installed_upgraded_and_rolled_back_by_the_page_and_no_request_fails() {
    let machine = installed("deb");

    goes_up_and_down(&machine, "deb", "dpkg-dist");

    assert_eq!(
        machine.must("dpkg --audit; dpkg --verify kekring | grep -v ' c /etc/kekring/config.yaml$' || true"),
        ""
    );
}

pub fn an_rpm_is_installed_upgraded_rolled_back_and_erased_by_the_page_and_no_request_fails() {
    let machine = installed("rpm");
    let entries = contents::of_rpm(&machine.must("rpm --force-debian --query --dump kekring"));
    contents::check(&entries, "root/root", made::TIME, &contents::RPM);
    assert_eq!(
        machine.must("rpm --force-debian --query --configfiles kekring"),
        CONFIG
    );

    goes_up_and_down(&machine, "rpm", "rpmnew");

    let key = active(&machine);
    let before = kept(&machine, RECOVERY);
    let said = types(&machine, &blocks("Remove", "rpm")[0]);
    assert!(said.contains("the plugin stops now"), "{said}");
    assert_eq!(kept(&machine, RECOVERY), before);
    assert!(
        machine
            .must(&format!("cat {CONFIG}.rpmsave"))
            .ends_with(OPERATORS.trim_end())
    );
    assert!(!machine.path("/usr/bin/kekring").exists());

    let said = types(&machine, &blocks("Install", "rpm")[0]);
    assert!(said.contains("there is a ring in /var/lib/kekring"), "{said}");
    machine.must(&format!(
        "mv {CONFIG}.rpmsave {CONFIG}; systemctl enable --now {SERVICE}"
    ));
    serves(&machine);
    assert_eq!(active(&machine), key);
}

/// Installed by the page, at rest until the operator says so, and then serving.
fn installed(place: &str) -> Machine {
    let machine = fresh();
    let started = Instant::now();
    let blocks = blocks("Install", place);
    let said = types(&machine, &blocks[0]);
    assert!(
        said.contains("there is no ring yet, and nothing was started"),
        "{said}"
    );
    is_at_rest(&machine);
    assert_eq!(
        machine.must(&format!("stat -c '%a %U:%G %n' /etc/kekring {CONFIG} /run/kekring /var/lib/kekring; ls -A /var/lib/kekring")),
        "755 root:root /etc/kekring\n644 root:root /etc/kekring/config.yaml\n\
         700 kekring:kekring /run/kekring\n700 kekring:kekring /var/lib/kekring"
    );
    for block in &blocks[1..] {
        types(&machine, block);
    }
    serves(&machine);
    println!(
        "\nfrom the .{place} to a ring that serves: {:.1} s",
        started.elapsed().as_secs_f32()
    );
    let unit = machine.property(SERVICE, "FragmentPath");
    assert!(unit.ends_with("/lib/systemd/system/kekring.service"), "{unit}");
    machine
}

/// Nothing listens, nothing runs, nothing will at the next boot.
fn is_at_rest(machine: &Machine) {
    for unit in UNITS.split(' ') {
        assert_eq!(machine.property(unit, "LoadState"), "loaded", "{unit}");
        assert_eq!(machine.property(unit, "ActiveState"), "inactive", "{unit}");
        assert_eq!(machine.property(unit, "UnitFileState"), "disabled", "{unit}");
    }
    assert!(!machine.path(SOCKET).exists());
}

fn goes_up_and_down(machine: &Machine, place: &str, beside: &str) {
    let key = active(machine);
    let config = machine.must(&format!("cat {CONFIG}"));
    fs::write(machine.path(CONFIG), format!("{config}\n{OPERATORS}")).unwrap();
    let size = fs::metadata(made::program()).unwrap().len();
    let inode = || fs::symlink_metadata(machine.path(SOCKET)).unwrap().ino();
    let (socket, mut pid) = (inode(), machine.number(SERVICE, "MainPID"));
    let mut load = Load::on(&machine.path(SOCKET));

    for (part, more) in [("Upgrade", 5), ("Roll back", 0)] {
        for block in blocks(part, place) {
            types(machine, &block);
        }
        load.goes_on();
        let now = machine.number(SERVICE, "MainPID");
        assert_ne!(now, pid, "{part} did not restart it");
        pid = now;
        let running = fs::metadata(machine.path(&format!("/proc/{pid}/exe"))).unwrap();
        assert_eq!(running.len(), size + more, "{part}");
        assert!(
            fs::read_to_string(machine.path(CONFIG))
                .unwrap()
                .ends_with(OPERATORS),
            "{part}"
        );
        assert_eq!(inode(), socket, "{part} made another socket");
        if more > 0 {
            let theirs = fs::read_to_string(machine.path(&format!("{CONFIG}.{beside}"))).unwrap();
            assert!(theirs.ends_with(NEWER), "{theirs}");
        }
    }

    println!(
        "\n{place}: {} times Status, Encrypt and Decrypt, none failed",
        load.end()
    );
    assert_eq!(active(machine), key);
    serves(machine);
    assert_eq!(
        machine.must(&format!("systemctl is-enabled {UNITS}")),
        "enabled\nenabled\nenabled"
    );
}
