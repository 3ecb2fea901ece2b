//! Rotation as a connected kube-apiserver sees it.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kekring::crypto::secret::Key32;
use kekring::keyring::lifecycle;
use kekring::keyring::ring::{Activate, UnixTime};
use rustix::process::Signal;

use crate::client::Client;
use crate::ring::{commit_rotation, custody, sealed_under};
use crate::support::{PATIENCE, Plugin, Raised, shown, wait_until};

#[test]
fn rotate_activates_the_prepared_key_and_prepares_the_next() {
    let plugin = Plugin::start();
    let before = plugin.json(&["status"]);

    let outcome = plugin.json(&["rotate"]);

    assert_eq!(outcome["rotated"], true);
    assert_eq!(
        outcome["active"], before["next"],
        "the key that every copy already held"
    );
    assert_ne!(outcome["next"], before["next"]);
    let states: Vec<_> = plugin.json(&["keys", "list"])["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["state"].clone())
        .collect();
    assert_eq!(states, ["deactivated", "active", "pre-active"]);
    assert_eq!(
        Client::connect(&plugin.socket).key_id(),
        outcome["active"].as_str().unwrap()
    );
}

#[test]
fn encrypt_uses_what_status_said_on_that_connection_across_a_rotation() {
    let plugin = Plugin::start();
    let told = Client::connect(&plugin.socket);
    let untold = Client::connect(&plugin.socket);
    let old = told.key_id();

    assert!(plugin.verb(&["rotate"]).status.success());

    assert_eq!(told.encrypt(&[1; 32]).unwrap().key_id, old);
    let new = untold.encrypt(&[1; 32]).unwrap().key_id;
    assert_ne!(new, old);
    assert_eq!(told.key_id(), new);
    assert_eq!(told.encrypt(&[1; 32]).unwrap().key_id, new);
}

#[test]
fn status_and_encrypt_never_disagree_while_keys_rotate_by_themselves() {
    let plugin = Plugin::with("{rotation: {period: 1s, allowShort: true}}");
    let socket = plugin.socket.clone();
    let done = AtomicBool::new(false);

    let mut sealed = Vec::new();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let client = Client::connect(&socket);
                    let mut kept: Vec<kekring::proto::kms::EncryptResponse> = Vec::new();
                    while !done.load(Ordering::SeqCst) {
                        let told = client.key_id();
                        let answer = client.encrypt(&[7; 32]).unwrap();
                        assert_eq!(answer.key_id, told);
                        if kept.last().is_none_or(|last| last.key_id != told) {
                            kept.push(answer);
                        }
                    }
                    kept
                })
            })
            .collect();
        let raised = Raised(&done);
        wait_until("four rotations", PATIENCE, || {
            plugin.json(&["status"])["generation"].as_u64().unwrap() >= 5
        });
        drop(raised);
        for caller in callers {
            sealed.extend(caller.join().unwrap());
        }
    });

    let client = Client::connect(&plugin.socket);
    assert!(sealed.iter().all(|it| client.decrypt(it).unwrap() == [7; 32]));
    let mut seen: Vec<u64> = sealed
        .iter()
        .map(|it| it.key_id[1..].split('-').next().unwrap().parse().unwrap())
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 4, "{seen:?}");
}

#[test]
fn old_seeds_open_after_rotations_and_restarts() {
    let mut plugin = Plugin::start();
    let mut sealed = Vec::new();
    for _ in 0..7 {
        sealed.push(Client::connect(&plugin.socket).encrypt(&[7; 32]).unwrap());
        assert!(plugin.verb(&["rotate"]).status.success());
    }
    plugin.kill();
    plugin.serve();

    let client = Client::connect(&plugin.socket);

    for old in &sealed {
        assert_eq!(client.decrypt(old).unwrap(), [7; 32], "{}", old.key_id);
    }
    let stored = fs::read_dir(plugin.dir.join("ring")).unwrap();
    let kept = stored
        .filter(|it| {
            it.as_ref()
                .unwrap()
                .file_name()
                .to_str()
                .unwrap()
                .ends_with(".ring")
        })
        .count();
    assert_eq!(kept, kekring::store::KEPT);
}

#[test]
fn fresh_skips_the_prepared_key() {
    let plugin = Plugin::start();
    let before = plugin.json(&["status"]);

    let outcome = plugin.json(&["rotate", "--fresh"]);

    assert_ne!(outcome["active"], before["next"]);
    assert_ne!(outcome["active"], before["active"]);
    assert_eq!(outcome["generation"], 3);
}

#[test]
fn a_prepared_key_waits_for_its_activation_by_hand() {
    let plugin = Plugin::with("{rotation: {period: 1s, allowShort: true}}");
    wait_until("a first rotation", PATIENCE, || {
        plugin.json(&["status"])["generation"] != 1
    });

    let prepared = loop {
        // The server rotates at the same time; who loses is told to try again.
        let output = plugin.verb(&["rotate", "--prepare", "-o", "json"]);
        if output.status.success() {
            break serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
        }
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("changed by another process"),
            "{}",
            shown(&output)
        );
    };
    let again = plugin.verb(&["rotate", "--prepare"]);
    // A step of the server that finds something due does it before it says which generation it serves.
    let served = || plugin.json(&["status"])["nodes"][0]["generation"].as_u64();
    wait_until("the server to have taken it", PATIENCE, || {
        served() >= prepared["generation"].as_u64()
    });
    let waiting = plugin.json(&["status"]);
    let activated = plugin.json(&["rotate", "--activate"]);

    assert_eq!(prepared["rotated"], false);
    assert_eq!(again.status.code(), Some(3), "{}", shown(&again));
    assert_eq!(
        waiting["nextRotationSeconds"],
        serde_json::Value::Null,
        "not by itself"
    );
    assert_eq!(waiting["nodes"][0]["nextRotation"], "", "not by itself");
    assert_eq!(waiting["generation"], prepared["generation"]);
    assert_eq!(waiting["active"], prepared["active"]);
    assert_eq!(activated["active"], prepared["next"]);
}

#[test]
fn if_older_than_leaves_a_young_key_alone() {
    let plugin = Plugin::start();

    let young = plugin.json(&["rotate", "--if-older-than", "30d"]);
    let old = plugin.json(&["rotate", "--if-older-than", "0s"]);

    assert_eq!(
        (&young["rotated"], &young["generation"]),
        (&false.into(), &1.into())
    );
    assert_eq!((&old["rotated"], &old["generation"]), (&true.into(), &2.into()));
}

#[test]
fn rotate_says_who_has_not_taken_the_new_key_and_ends_with_4() {
    let plugin = Plugin::start();
    let seen = || plugin.json(&["status"])["nodes"][0]["serving"] == true;
    wait_until("the status file", PATIENCE, seen);
    plugin.signal(Signal::STOP);

    let output = plugin.verb(&["rotate", "--timeout", "1s"]);
    plugin.signal(Signal::CONT);

    assert_eq!(output.status.code(), Some(4), "{}", shown(&output));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("node node-under-test"),
        "{}",
        shown(&output)
    );
    let client = Client::connect(&plugin.socket);
    wait_until("the key to be taken", PATIENCE, || {
        client.key_id().starts_with("k2-")
    });
}

#[test]
fn a_key_that_appears_in_the_store_is_found_by_the_request_that_needs_it() {
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let mut found = 0;

    // By itself the server looks once a second: seldom between a commit and the request that follows it at once.
    for _ in 0..5 {
        let next = commit_rotation(&custody(&plugin));
        let answer = client.decrypt(&sealed_under(&next, next.pre_active().unwrap()));
        found += usize::from(answer.is_ok_and(|plaintext| plaintext == [7; 32]));
    }

    assert!(found >= 3, "{found} of 5");
}

#[test]
fn a_key_that_no_store_holds_is_not_found_and_nothing_changes() {
    let plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    client.key_id();

    let request = kekring::proto::kms::DecryptRequest {
        ciphertext: vec![1; 142],
        key_id: "k9-00112233445566778899aabbccddeeff".into(),
        ..Default::default()
    };
    let status = client.decrypt_with(request).unwrap_err();

    assert_eq!(status.code(), tonic::Code::NotFound);
    assert_eq!(plugin.json(&["status"])["generation"], 1);
}

#[test]
fn sighup_takes_a_ring_that_a_verb_wrote() {
    let plugin = Plugin::start();
    let output = plugin.verb(&["rotate", "--timeout", "0s", "-o", "json"]);
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    plugin.signal(Signal::HUP);

    let client = Client::connect(&plugin.socket);

    wait_until("the new key", PATIENCE, || {
        client.key_id() == outcome["active"].as_str().unwrap()
    });
}

#[test]
fn a_rotation_that_was_cut_off_after_its_first_phase_is_finished_by_the_server() {
    let mut plugin = Plugin::prepared("{}");
    let custody = custody(&plugin);
    let opened = custody.open(None, UnixTime(1)).unwrap();
    let fresh = Key32::generate().unwrap();
    let proposed =
        lifecycle::propose_fresh(&opened.ring, fresh, [7; 16], Activate::Auto, UnixTime(1)).unwrap();
    let key_id = proposed.proposal.as_ref().unwrap().key_id.to_string();
    custody.commit(&opened, proposed, UnixTime(1)).unwrap();

    plugin.serve();

    let client = Client::connect(&plugin.socket);
    wait_until("the proposed key", PATIENCE, || client.key_id() == key_id);
}

#[test]
fn impossible_times_in_the_ring_neither_stop_a_start_nor_cause_a_storm_of_rotations() {
    for time in [0, 1, u64::MAX - 1, u64::MAX] {
        let mut plugin = Plugin::prepared("{}");
        let custody = custody(&plugin);
        let opened = custody.open(None, UnixTime(time)).unwrap();
        let next = lifecycle::activate(&opened.ring, Key32::generate().unwrap(), UnixTime(time)).unwrap();
        custody.commit(&opened, next, UnixTime(time)).unwrap();

        plugin.serve();

        let status = plugin.json(&["status"]);
        let seconds = status["nextRotationSeconds"].as_u64().unwrap();
        assert!(seconds > 0, "not due at once, whatever the clocks say: {status}");
        assert!(plugin.json(&["keys", "list"])["keys"].as_array().unwrap().len() == 3);
        assert_eq!(Client::connect(&plugin.socket).status().unwrap().healthz, "ok");
        assert!(plugin.verb(&["rotate"]).status.success());
    }
}

#[test]
fn a_suspended_key_does_not_decrypt_until_it_is_resumed_also_after_a_restart() {
    let mut plugin = Plugin::start();
    let client = Client::connect(&plugin.socket);
    let sealed = client.encrypt(&[7; 32]).unwrap();
    assert!(plugin.verb(&["rotate"]).status.success());

    let suspended = plugin.json(&["keys", "suspend", &sealed.key_id]);
    let refused = client.decrypt(&sealed).unwrap_err();
    plugin.kill();
    plugin.serve();
    let client = Client::connect(&plugin.socket);
    let still = client.decrypt(&sealed).unwrap_err();
    let resumed = plugin.json(&["keys", "resume", &sealed.key_id]);

    assert_eq!(suspended["state"], "suspended");
    assert_eq!(
        (refused.code(), still.code()),
        (tonic::Code::FailedPrecondition, tonic::Code::FailedPrecondition)
    );
    assert_eq!(resumed["state"], "deactivated");
    assert_eq!(client.decrypt(&sealed).unwrap(), [7; 32]);
}
