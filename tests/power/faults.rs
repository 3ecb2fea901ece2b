//! A server on a disk that is full, read-only, failing, slow or away: it serves, it says why it does not rotate, and it
//! goes on by itself once the disk is back.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tonic::Code;

use crate::support::{KEKRING, Killed, PATIENCE, from_nowhere, wait_until};
use crate::world::{RETRIED, World, attached};

const FULL: &str = "No space left on device";
const READ_ONLY: &str = "Read-only file system";
const IO: &str = "Input/output error";

pub fn a_full_disk_stops_rotations_and_neither_requests_nor_a_start() {
    let mut world = World::served(false, "2s");

    let filler = world.disk.fill();
    world.assert_refuses(FULL);
    assert!(world.plugin.stop().success());
    world.plugin.serve();
    world.assert_refuses(FULL);

    drop(filler);
    world.assert_recovers();
}

pub fn a_disk_that_becomes_read_only_stops_rotations_and_neither_requests_nor_a_start() {
    let mut world = World::served(false, "2s");

    world.disk.remount("ro");
    world.assert_refuses(READ_ONLY);
    assert!(world.plugin.stop().success());
    world.plugin.serve();
    world.assert_refuses(READ_ONLY);

    world.disk.remount("rw");
    world.assert_recovers();
}

pub fn a_sync_that_fails_stops_a_rotation_and_the_next_one_succeeds() {
    let world = World::served(false, "2s");

    let injected = attached(&world, &["-e", "trace=fsync", "-e", "inject=fsync:error=EIO"]);
    wait_until("the reason in the status", RETRIED, || {
        world.complains("rotation is due and is not done") && world.complains(IO)
    });
    assert!(world.plugin.log().contains(IO));
    assert!(world.site().false_generations().is_empty());
    world.assert_serves(&world.client());

    drop(injected);
    world.assert_recovers();
}

pub fn a_full_mirror_stops_rotations_and_not_requests() {
    let world = World::served(true, "2s");

    let filler = world.disk.fill();
    world.assert_refuses(FULL);

    drop(filler);
    world.assert_recovers();
}

pub fn a_mirror_that_is_away_stops_rotations_and_neither_requests_nor_a_start() {
    let mut world = World::served(true, "2s");

    world.disk.unmount_busy();
    wait_until("the reason in the status", RETRIED, || {
        world.complains("rotation is due and is not done")
    });
    world.assert_verb_refuses("No such file or directory");
    world.assert_serves(&world.client());
    assert!(world.plugin.stop().success());
    world.plugin.serve();
    world.assert_serves(&world.client());

    world.disk.mount();
    world.assert_recovers();
}

pub fn a_complaint_about_a_rotation_ends_when_an_operator_has_rotated() {
    let world = World::served(false, "1m");
    let filler = world.disk.fill();
    world.assert_refuses(FULL);

    drop(filler);
    wait_until("a rotation", RETRIED, || {
        world.plugin.verb(&["rotate"]).status.success()
    });

    // Half of the time until the server rotates by itself.
    wait_until("the end of the complaint", PATIENCE, || world.is_content());
}

pub fn requests_are_answered_in_time_while_a_rotation_hangs_on_the_disk() {
    let world = World::served(false, "2s");
    let hanging = || {
        let names = fs::read_dir(world.disk.at.join("ring")).unwrap();
        names
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(".tmp-"))
    };

    let delay = "inject=fsync:delay_enter=4000000";
    let injected = attached(&world, &["-e", "trace=fsync", "-e", delay]);
    wait_until("a rotation that hangs", PATIENCE, hanging);
    let client = world.client();
    let mut rounds = 0;
    while hanging() {
        world.assert_serves(&client);
        rounds += 1;
    }

    assert!(rounds >= 10, "{rounds} rounds of requests while it hung");
    drop(injected);
    world.assert_recovers();
}

pub fn a_newest_generation_that_cannot_be_read_changes_nothing_in_a_running_server() {
    let world = World::served(false, "30d");
    let rotated = world.plugin.verb(&["rotate"]);
    assert!(rotated.status.success());
    let newest = newest(&world);

    let args = ["-P", &newest, "-e", "trace=read", "-e", "inject=read:error=EIO"];
    let injected = attached(&world, &args);
    world.plugin.signal(Signal::HUP);
    wait_until("the reason in the status", PATIENCE, || {
        world.complains("the ring in memory is kept")
    });
    world.assert_serves(&world.client());

    drop(injected);
    world.plugin.signal(Signal::HUP);
    wait_until("the end of the complaint", PATIENCE, || world.is_content());
    world.assert_recovers();
}

pub fn a_newest_generation_that_cannot_be_read_at_a_start_leaves_decrypt_and_no_older_key_is_reported() {
    let mut world = World::served(false, "30d");
    assert!(world.plugin.verb(&["rotate"]).status.success());
    let sealed = world.client().encrypt(b"sealed under the newest key").unwrap();
    assert!(world.plugin.stop().success());

    let newest = newest(&world);
    let mut command = Command::new("strace");
    from_nowhere(&mut command);
    // The server is our own child, and strace its grandchild.
    command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-P", &newest]);
    command.args(["-e", "trace=read", "-e", "inject=read:error=EIO"]);
    command
        .arg(KEKRING)
        .arg("serve")
        .arg("--config")
        .arg(&world.plugin.config);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let served = Killed(command.spawn().unwrap());
    wait_until("it to answer", PATIENCE, || {
        world.plugin.verb(&["probe", "--alive"]).status.success()
    });

    let client = world.client();
    world.assert_decrypts_what_is_old(&client);
    assert_eq!(client.decrypt(&sealed).unwrap(), b"sealed under the newest key");
    let status = client.status();
    assert!(
        status.as_ref().is_err_and(|why| why.code() != Code::Unknown)
            || status.is_ok_and(|it| it.healthz != "ok"),
        "it has already reported a newer key"
    );
    assert!(served.stop().success());
    world.plugin.serve();
    world.assert_recovers();
}

fn newest(world: &World) -> String {
    let opened = world.site().open().unwrap();
    let path = world.site().ring.join(&opened.head.name);
    path.display().to_string()
}
