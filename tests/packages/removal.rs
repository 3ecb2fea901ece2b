//! The package goes, the ring stays.

use crate::grpc::Client;
use crate::node::{blocks, fresh, kept, types};
use crate::service::{SERVICE, SOCKET, active, serves};

/// Beside the ring and the credential.
const MORE: &str = "/etc/kekring/root.key /mnt /root";
/// A root of each kind, and a mirror.
const CONFIG: &str = "apiVersion: kekring/v1alpha1\nkind: Configuration\nring:\n  mirror: /mnt/mirror\n  roots:\n  \
    - credential: {name: kekring-root, encryptedFile: /etc/credstore.encrypted/kekring-root}\n  \
    - file: {path: /etc/kekring/root.key}\n";
const DROP_IN: &str = "[Service]\nReadWritePaths=/mnt/mirror\n";

pub fn remove_and_purge_leave_every_byte_of_ring_and_roots_and_a_new_installation_serves_them() {
    let machine = fresh();
    let install = blocks("Install", "deb");
    types(&machine, &install[0]);
    machine.write("/etc/kekring/config.yaml", CONFIG);
    machine.write("/etc/systemd/system/kekring.service.d/mirror.conf", DROP_IN);
    machine.must("install -d -m 0700 -o kekring -g kekring /mnt/mirror; systemctl daemon-reload");
    for block in &install[1..] {
        types(&machine, block);
    }
    machine.must("kekring rotate; kekring backup /mnt/backup.ring");
    let key = active(&machine);
    let sealed = Client::connect(&machine.path(SOCKET)).encrypt(b"a seed").unwrap();
    let before = kept(&machine, MORE);
    for place in [
        "gen-",
        "/mark",
        "root.key",
        "kekring-root",
        "/mnt/mirror/gen-",
        "/mnt/backup.ring",
        "recovery-code",
    ] {
        assert!(before.contains(place), "{place} is not among\n{before}");
    }

    let remove = blocks("Remove", "deb");
    let said = types(&machine, &remove[0]);
    assert!(said.contains("the plugin stops now"), "{said}");
    assert!(
        said.contains("left as they were") && said.contains("/var/lib/kekring"),
        "{said}"
    );
    assert_eq!(kept(&machine, MORE), before);
    assert!(machine.path("/etc/kekring/config.yaml").exists());
    assert!(!machine.path("/usr/bin/kekring").exists());
    assert!(
        !machine
            .sh(&format!("systemctl is-active {SERVICE} kekring.socket"))
            .status
            .success()
    );

    let said = types(&machine, &remove[1]);
    assert!(said.contains("/etc/credstore.encrypted/kekring-root"), "{said}");
    assert_eq!(kept(&machine, MORE), before);
    assert_eq!(machine.must("stat -c %U /var/lib/kekring"), "kekring");
    let left = "find / -xdev -iname '*kekring*' -not -path '/proc/*' -not -path '/src/*' -not -path '/mnt/*' -not -path '/root/*'";
    assert_eq!(
        machine.must(&format!("{left} -not -path '/var/log/*' | sort")),
        "/etc/credstore.encrypted/kekring-root\n/etc/kekring\n/etc/systemd/system/kekring.service.d\n/var/lib/kekring"
    );

    let said = types(&machine, &install[0]);
    assert!(
        said.contains("there is a ring in /var/lib/kekring, and nothing was started"),
        "{said}"
    );
    assert_eq!(machine.property("kekring.socket", "ActiveState"), "inactive");
    assert_eq!(kept(&machine, MORE), before);
    machine.write("/etc/kekring/config.yaml", CONFIG);
    types(&machine, install.last().unwrap());
    serves(&machine);
    assert_eq!(active(&machine), key);
    assert_eq!(
        Client::connect(&machine.path(SOCKET)).decrypt(&sealed).unwrap(),
        b"a seed"
    );
}

/// As in the making of an image, or a change of the root.
pub fn where_no_systemd_runs_the_scripts_do_what_they_can_and_fail_nothing() {
    let machine = fresh();
    let without = |commands: &str| {
        machine.must(&format!(
            "exec 2>&1\nunshare --mount sh -euc 'mount -t tmpfs none /run\n{commands}'"
        ))
    };

    without("dpkg --install kekring_0.1.0_amd64.deb; test -d /run/kekring");
    assert_eq!(machine.must("stat -c '%U %a' /var/lib/kekring"), "kekring 700");
    without("dpkg --install kekring_0.2.0_amd64.deb; dpkg --purge kekring; getent passwd kekring");
    assert!(!machine.path("/usr/bin/kekring").exists());
    without(
        "PATH=/usr/sbin:/usr/bin:/sbin:/bin rpm --force-debian --nodeps --install kekring-0.1.0-1.x86_64.rpm",
    );
    without(
        "rpm --force-debian --nodeps --upgrade kekring-0.2.0-1.x86_64.rpm; rpm --force-debian --erase kekring",
    );
    assert!(!machine.path("/usr/bin/kekring").exists());

    // A node that was made that way serves after its first boot as any other.
    without("dpkg --install kekring_0.1.0_amd64.deb");
    machine.must("systemctl daemon-reload; systemd-tmpfiles --create kekring.conf");
    for block in &blocks("Install", "deb")[1..] {
        types(&machine, block);
    }
    let before = kept(&machine, "/root");
    machine.must(&format!(
        "systemctl stop kekring.socket kekring-telemetry.socket {SERVICE}"
    ));
    without("dpkg --purge kekring");
    assert_eq!(kept(&machine, "/root"), before);
}
