//! The ring that a verb is tried on, and what has become of it.

use std::fs;
use std::path::Path;

use kekring::custody::Opened;
use serde_json::json;

use crate::cases::Case;
use crate::support::{Plugin, shown};
use crate::witness::{Site, Witness};

/// The roots and the machine of a world; a ring's mirror is always there.
pub fn configure(plugin: &Plugin) {
    let root = |name| json!({"file": {"path": plugin.dir.join(name)}});
    let mut roots = vec![root("root.key")];
    if plugin.dir.join("two-roots").exists() {
        roots.push(root("second.key"));
    }
    let tweaks = json!({
        "node": {"machineIdFile": plugin.dir.join("machine-id")},
        "ring": {"mirror": plugin.dir.join("mirror"), "roots": roots},
    });
    plugin.configure(&tweaks.to_string());
}

/// The arguments in one world.
pub fn args(case: &Case, plugin: &Plugin) -> Vec<String> {
    let dir = plugin.dir.display().to_string();
    let mut args: Vec<String> = case.args.iter().map(|arg| arg.replace("{dir}", &dir)).collect();
    if let Some(at) = args.iter().position(|arg| arg == "{slot}") {
        args[at] = fs::read_to_string(plugin.dir.join("slot")).unwrap();
    }
    if let Some(at) = args.iter().position(|arg| arg == "{old}") {
        args[at] = fs::read_to_string(plugin.dir.join("old")).unwrap();
    }
    if let Some(at) = args.iter().position(|arg| arg == "{generation}") {
        args[at] = plugin.newest().file_stem().unwrap().to_str().unwrap().to_owned();
    }
    if !args.iter().any(|arg| arg == "--dev") {
        args.extend(["--config".to_owned(), plugin.config.display().to_string()]);
    }
    args
}

pub fn site(plugin: &Plugin) -> Site {
    let mut site = Site::within(&plugin.dir);
    site.machine = plugin.dir.join("machine-id");
    if plugin.dir.join("dev").exists() {
        site = Site::within(&plugin.dir.join("dev"));
        site.development = true;
        site.roots.truncate(1);
    }
    site
}

#[track_caller]
pub fn must(plugin: &Plugin, args: &[&str]) {
    let output = plugin.verb(args);
    assert!(output.status.success(), "{args:?}: {}", shown(&output));
}

pub fn machine(plugin: &Plugin, id: &str) {
    fs::write(plugin.dir.join("machine-id"), id).unwrap();
    configure(plugin);
}

/// A ring of three generations and four keys, mirrored.
pub fn ring(plugin: &Plugin) -> Option<Witness> {
    machine(plugin, "one");
    must(plugin, &["init", "--no-recovery"]);
    must(plugin, &["rotate"]);
    must(plugin, &["rotate"]);
    witness(plugin)
}

pub fn witness(plugin: &Plugin) -> Option<Witness> {
    Some(Witness::of(&site(plugin).open().unwrap()))
}

pub fn old_key(plugin: &Plugin) {
    let opened = site(plugin).open().unwrap();
    fs::write(plugin.dir.join("old"), opened.ring.keys[0].id.as_str()).unwrap();
}

pub fn two_roots(plugin: &Plugin) {
    fs::write(plugin.dir.join("two-roots"), "").unwrap();
    configure(plugin);
}

pub fn lose_newest(plugin: &Plugin) {
    let newest = plugin.newest();
    fs::remove_file(plugin.dir.join("mirror").join(newest.file_name().unwrap())).unwrap();
    fs::remove_file(newest).unwrap();
}

pub fn backed_up(plugin: &Plugin) -> Option<Witness> {
    let witness = ring(plugin);
    must(plugin, &["backup", plugin.dir.join("backup").to_str().unwrap()]);
    witness
}

/// The ring and its mirror as they were before `since`.
pub fn rolled_back(plugin: &Plugin, since: impl Fn()) {
    let dirs = ["ring", "mirror"].map(|name| (plugin.dir.join(name), plugin.dir.join(format!("{name}.was"))));
    for (dir, was) in &dirs {
        fs::create_dir(was).unwrap();
        fs::set_permissions(was, fs::metadata(dir).unwrap().permissions()).unwrap();
        copy(dir, was);
    }
    since();
    for (dir, was) in dirs {
        fs::remove_dir_all(&dir).unwrap();
        fs::rename(was, dir).unwrap();
    }
}

/// A ring of one generation, and a backup of it.
pub fn backed_up_early(plugin: &Plugin, name: &str) -> Option<Witness> {
    machine(plugin, "one");
    must(plugin, &["init", "--no-recovery"]);
    must(plugin, &["backup", plugin.dir.join(name).to_str().unwrap()]);
    witness(plugin)
}

/// The id of a root's slot.
pub fn slot_of(plugin: &Plugin, root: &str) -> String {
    let slots = plugin.json(&["root", "list"])["slots"].clone();
    let slots = slots.as_array().unwrap();
    let slot = slots
        .iter()
        .find(|slot| slot["name"].as_str().unwrap().ends_with(root));
    slot.unwrap()["id"].as_str().unwrap().to_owned()
}

pub fn suspended(opened: &Opened) -> bool {
    opened.ring.keys[0].suspended
}

pub fn active(opened: &Opened) -> u64 {
    opened.ring.active().unwrap().id.sequence()
}

/// Whether one root alone opens the newest generation.
pub fn opens_with(plugin: &Plugin, name: &str) -> bool {
    let mut site = site(plugin);
    site.roots = vec![plugin.dir.join(name)];
    site.open().is_ok()
}

/// Copies a world, all but its configuration, which names its own directory.
pub fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() && entry.file_name() != "config.yaml" {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
