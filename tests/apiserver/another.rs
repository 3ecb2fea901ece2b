//! The way from kekring to another KMS provider, a plugin in Go, and back, by the commands of deploy/leaving/README.md.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::entry::Objects;
use crate::form::Form;
use crate::golang::Program;
use crate::lab::Lab;
use crate::page;
use crate::plugin::Plugin;
use crate::process::Process;
use crate::wait::{SOON, wait_for};

const PAGE: &str = "deploy/leaving/README.md";
/// What the page calls the other provider.
const OTHER: &str = "other";
/// The key that it says it has.
const OTHER_KEY: &str = "reference-key-1";

pub static REFERENCE: Program = Program::new("compare-reference", "benches/compare/reference", "go.mod", "");

pub fn to_another_kms_provider_and_back_everything_is_readable_at_every_step() {
    let mut lab = Lab::with(Plugin::start_new, |plugin| {
        Some(plugin.encryption_configuration())
    });
    let dir = lab.dir().to_owned();
    let (ours, theirs) = (
        Form::ours(&lab.plugin.active_key().id),
        Form::Kms {
            provider: OTHER.into(),
            key_id: OTHER_KEY.into(),
        },
    );
    let mut objects = Objects::default();
    objects.add(&lab, "before");
    assert_eq!(objects.forms(&lab), objects.all(&ours));
    let other = serve(&dir);

    // There: it can be read, then it writes, then kekring is not in the file any more, and does not run.
    let there = commands("To another KMS provider");
    by_hand(&mut lab, |providers| providers.insert(1, entry(&dir)));
    objects.add(&lab, "readable");
    assert_eq!(objects.forms(&lab), objects.all(&ours));
    typed(&mut lab, &there[0]);
    objects.add(&lab, "there");
    objects.rewrite(&lab);
    assert_eq!(objects.forms(&lab), objects.all(&theirs));
    by_hand(&mut lab, |providers| {
        providers.retain(|it| it["kms"]["name"] != "kekring");
    });
    assert!(lab.plugin.stop().success());
    lab.control_plane.restart_api_server();
    objects.are_readable(&lab);

    // And back, to the same ring.
    let back = commands("And back");
    lab.plugin.start();
    typed(&mut lab, &back[0]);
    let added = objects.add(&lab, "back");
    assert_eq!(added.forms(&lab), added.all(&theirs));
    typed(&mut lab, &back[1]);
    objects.add(&lab, "again");
    objects.rewrite(&lab);
    assert_eq!(objects.forms(&lab), objects.all(&ours));
    by_hand(&mut lab, |providers| {
        providers.retain(|it| it["kms"]["name"] != OTHER);
    });
    other.kill();
    lab.control_plane.restart_api_server();
    objects.are_readable(&lab);
}

/// Another plugin, on a socket of its own.
fn serve(dir: &Path) -> Process {
    let socket = dir.join("other.sock");
    let mut command = Command::new(REFERENCE.path().unwrap());
    command.arg("-socket").arg(&socket);
    let process = Process::start("the other plugin", &mut command, dir.join("other.log"));
    wait_for("the other plugin", SOON, || socket.exists().then_some(()));
    process
}

fn entry(dir: &Path) -> Value {
    let endpoint = format!("unix://{}/other.sock", dir.display());
    json!({"kms": {"apiVersion": "v2", "name": OTHER, "endpoint": endpoint, "timeout": "3s"}})
}

/// What an operator does with an editor.
fn by_hand(lab: &mut Lab, change: impl FnOnce(&mut Vec<Value>)) {
    let file = std::fs::read_to_string(lab.control_plane.encryption_file()).unwrap();
    let mut configuration: Value = serde_saphyr::from_str(&file).unwrap();
    change(configuration["resources"][0]["providers"].as_array_mut().unwrap());
    lab.control_plane.reload(&configuration.to_string());
}

/// Each block begins with what makes the next configuration.
fn commands(section: &str) -> Vec<Vec<String>> {
    let blocks = page::blocks(PAGE)
        .into_iter()
        .filter(|it| it.section == section && it.language == "sh");
    let options = blocks.filter_map(|block| {
        let line = block
            .text
            .lines()
            .find(|it| it.starts_with("kekring config encryption"))?;
        let words = line.split(" --out ").next()?.split(' ').skip(3);
        Some(words.map(str::to_owned).collect())
    });
    options.collect()
}

/// Makes a configuration by the page's options, of the one in use, and lets kube-apiserver take it.
fn typed(lab: &mut Lab, options: &[String]) {
    let in_use = lab.control_plane.encryption_file().display().to_string();
    let options: Vec<&str> = options
        .iter()
        .map(|it| {
            if it == "/etc/kubernetes/kekring/encryption.yaml" {
                &in_use
            } else {
                it.as_str()
            }
        })
        .collect();
    let next = lab.plugin.encryption(&options);
    lab.control_plane.reload(&next);
}
