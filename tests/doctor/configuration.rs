//! kekring's configuration, and the files that it names.

use std::fs;
use std::net::TcpListener;

use serde_json::json;

use crate::world::{Node, mode};

#[test]
fn what_others_can_use_is_named_and_the_remedy_takes_it_from_them() {
    let node = Node::good();
    let good = node.doctor();
    let cases = [
        ("config.yaml", 0o622, "configuration/file-mode"),
        ("root.key", 0o644, "configuration/root-file"),
        ("ring", 0o755, "configuration/directory"),
        ("mirror", 0o770, "configuration/directory"),
    ];

    for (name, rights, id) in cases {
        mode(&node.path(name), rights);
        let seen = node.doctor();
        // A root or a ring that is not used for that is another finding too.
        assert_eq!(seen.code, 1, "{name}");
        let new: Vec<_> = seen.troubles().difference(&good.troubles()).cloned().collect();
        let also = ["ring/opens", "ring/root", "ring/copies", "ring/frozen"];
        assert!(
            new.iter().all(|(_, it)| it == id || also.contains(&it.as_str())),
            "{name}: {new:?}"
        );

        node.follow(&seen.finding("failure", id), "");

        node.doctor().no_worse(&good);
    }
}

#[test]
fn a_root_that_is_missing_or_no_file_is_named() {
    let node = Node::good();
    let good = node.doctor();
    let root = node.path("second.key");
    fs::rename(&root, node.path("elsewhere")).unwrap();

    let missing = node.doctor();
    fs::create_dir(&root).unwrap();
    let directory = node.doctor();

    for seen in [missing, directory] {
        let new: Vec<_> = seen
            .troubles()
            .difference(&good.troubles())
            .map(|(_, id)| id.clone())
            .collect();
        assert_eq!(new, ["configuration/root-file", "ring/root"]);
    }
    fs::remove_dir(&root).unwrap();
    fs::rename(node.path("elsewhere"), &root).unwrap();
    node.doctor().no_worse(&good);
}

#[test]
fn a_root_in_the_rings_own_directory_is_worth_a_word() {
    let node = Node::good();
    let good = node.doctor();
    fs::rename(node.path("root.key"), node.path("mirror/root.key")).unwrap();
    let roots = ["mirror/root.key", "second.key"].map(|name| json!({"file": {"path": node.path(name)}}));

    node.configure(json!({"ring": {"roots": roots}}));

    let seen = node.doctor();
    seen.finding("warning", "configuration/root-beside-ring");
    seen.finding("warning", "ring/foreign");
    assert_eq!(seen.code, i32::from(good.code != 0));
}

#[test]
fn a_mirror_is_missed_and_one_on_the_same_disk_is_none() {
    let node = Node::good();
    let same = node.doctor().finding("warning", "configuration/mirror");
    assert!(same.message.contains("same file system"), "{same:?}");

    node.configure(json!({"ring": {"mirror": null}}));

    let none = node.doctor().finding("warning", "configuration/mirror");
    assert!(
        none.message.contains("there is none") && none.remedy.contains("ring.mirror"),
        "{none:?}"
    );
    // /dev/shm is another file system, and no place for a mirror.
    let shm = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir_in("/dev/shm")
        .unwrap();
    node.configure(json!({"ring": {"mirror": shm.path()}}));
    let seen = node.doctor();
    seen.finding("ok", "configuration/mirror");
    let volatile = seen.finding("failure", "machine/file-system");
    assert!(
        volatile.message.contains("tmpfs") && volatile.remedy.contains("on a disk"),
        "{volatile:?}"
    );
}

#[test]
fn a_socket_that_somebody_else_could_replace_is_refused() {
    let node = Node::good();
    let good = node.doctor();
    fs::create_dir(node.path("run")).unwrap();
    mode(&node.path("run"), 0o777);

    let finding = node
        .doctor()
        .only(&good, "failure", "configuration/socket-directory");

    assert!(finding.message.contains("others can write"), "{finding:?}");
    mode(&node.path("run"), 0o755);
    node.doctor().no_worse(&good);
}

#[test]
fn a_port_that_another_program_has_is_named() {
    let node = Node::good();
    let good = node.doctor();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    node.configure(json!({"telemetry": {"listen": other.local_addr().unwrap().to_string()}}));

    node.doctor().only(&good, "warning", "configuration/telemetry");

    drop(other);
    node.doctor().no_worse(&good);
}

#[test]
fn a_period_of_minutes_is_for_tests() {
    let node = Node::good();
    let good = node.doctor();
    node.configure(json!({"rotation": {"period": "10m", "allowShort": true}}));

    let finding = node
        .doctor()
        .only(&good, "warning", "configuration/rotation-period");

    assert!(finding.remedy.contains("30d"));
}

#[test]
fn a_configuration_that_is_not_there_ends_with_2_and_what_can_be_looked_at() {
    let node = Node::good();
    fs::remove_file(&node.plugin.config).unwrap();

    let seen = node.doctor();

    assert_eq!(seen.code, 2);
    let finding = seen.finding("failure", "configuration/valid");
    assert!(
        finding.message.contains("No such file") && finding.remedy.contains("--config FILE"),
        "{finding:?}"
    );
    seen.finding("ok", "manifest/liveness");
}
