//! The plugin answers, and has no key that it may encrypt with.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use crate::lab::Lab;
use crate::load::Load;
use crate::plugin::Plugin;
use crate::ready::{SEED_LIFE, wait_until_ready, wait_until_unready};
use crate::wait::{SOON, wait_for};

/// So many refused writes in a row, and none between them that succeeds, show that writing has stopped.
const REFUSED: usize = 50;
const BELOW: &str = "the ring is below its mark";
const NO_ROOT: &str = "with any configured root";

/// An operator puts an older copy of the ring in the place of the newer one, and starts the plugin again.
pub fn a_plugin_below_its_mark_stops_every_write_and_no_cached_read_until_it_is_mended() {
    let mut lab = Lab::start();
    let api = lab.api();
    let key = lab.plugin.rotate();
    lab.write_until_under(&key);
    let load = Load::new(lab.api());

    load.during(|| {
        assert!(lab.plugin.stop().success());
        let newest = take_newest_generation_away(&lab.plugin);
        lab.plugin.spawn();
        let since = Instant::now();
        wait_until_unready(&api);
        the_cause_is_named_everywhere(&lab, BELOW, "FailedPrecondition");
        wait_for("writes to stop", SEED_LIFE + SOON, || {
            (!load.failures().is_empty()).then_some(())
        });
        let (stopped, written) = (since.elapsed(), load.written());
        wait_for("refused writes", SOON, || {
            (load.failures().len() >= REFUSED).then_some(())
        });
        load.reads_go_on();
        assert_eq!(load.written(), written, "a write was let through");
        fs::rename(&newest.1, &newest.0).unwrap();
        wait_until_ready(&api);
        load.go_on();
        println!(
            "\n{written} writes until they stopped, {:.0} s after the restart; {} in all, {} refused, {} reads",
            stopped.as_secs_f32(),
            load.written(),
            load.failures().len(),
            load.reads()
        );
    });

    let expired = |why: &String| why.starts_with("cannot write") && why.contains(" expired at ");
    let other: Vec<String> = load.failures().into_iter().filter(|why| !expired(why)).collect();
    assert_eq!(other, [""; 0]);
    assert_eq!(lab.plugin.active_key(), key);
    for name in [load.secret(0), load.newest()] {
        assert_eq!(lab.key_of_secret(&name), key.id);
        assert_eq!(api.password(&name).unwrap(), name);
    }
}

/// A start needs the root. It is back before kube-apiserver stops writing, and nobody has to start the plugin again.
pub fn a_root_that_is_gone_at_a_restart_fails_no_request_and_is_enough_when_it_is_back() {
    let mut lab = Lab::start();
    let (api, key) = (lab.api(), lab.plugin.active_key());
    let root = lab.plugin.ring_dir().with_file_name("root.key");
    let aside = root.with_extension("aside");
    let load = Load::new(lab.api());

    load.during(|| {
        assert!(lab.plugin.stop().success());
        fs::rename(&root, &aside).unwrap();
        lab.plugin.spawn();
        wait_until_unready(&api);
        the_cause_is_named_everywhere(&lab, NO_ROOT, "Unavailable");
        load.go_on();
        fs::rename(&aside, &root).unwrap();
        wait_until_ready(&api);
        load.go_on();
    });

    println!("\n{} writes and {} reads", load.written(), load.reads());
    assert_eq!(load.failures(), [""; 0]);
    assert_eq!(lab.key_of_secret(&load.newest()), key.id);
}

/// Out of the ring's directory; says where it was and where it is.
fn take_newest_generation_away(plugin: &Plugin) -> (PathBuf, PathBuf) {
    let entries = fs::read_dir(plugin.ring_dir()).unwrap();
    let number = |path: &PathBuf| -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix("gen-")?.split('-').next()?.parse().ok()
    };
    let newest = entries.map(|entry| entry.unwrap().path()).max_by_key(number);
    let newest = newest
        .filter(|path| number(path) > Some(1))
        .expect("a second generation");
    let aside = plugin.ring_dir().with_file_name("set-aside.ring");
    fs::rename(&newest, &aside).unwrap();
    (newest, aside)
}

fn the_cause_is_named_everywhere(lab: &Lab, cause: &str, code: &str) {
    let readiness = lab.api().get("/readyz/kms-providers").unwrap();
    assert_eq!(readiness.status, 500);
    assert!(readiness.body.contains(cause), "{readiness:?}");
    assert!(readiness.body.contains(code), "{readiness:?}");
    let ours = |event: &Value| {
        event["level"] == "ERROR" && event["message"].as_str().is_some_and(|text| text.contains(cause))
    };
    assert!(lab.plugin.events().iter().any(ours), "our log does not name it");
    wait_for("the cause in the log of kube-apiserver", SOON, || {
        lab.control_plane.api_server().log().contains(cause).then_some(())
    });
}
