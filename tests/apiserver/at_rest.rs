//! What lies in etcd.

use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use kekring::cluster::object;

use crate::etcd::etcd_key;
use crate::lab::Lab;
use crate::plugin::KeyName;
use crate::scan::Wanted;

const PASSWORD: &str = "correct horse battery staple";
const TEXT: &str = "no text of this kind may lie in etcd";
/// The provider is called `kekring` where an operator says nothing else.
const PREFIX: &str = "k8s:enc:kms:v2:kekring:";
/// How kube-apiserver begins the plain text of its own kinds.
const PLAIN_PREFIX: &[u8] = b"k8s\0";

pub fn what_lies_in_etcd_is_encrypted_under_the_active_key_and_reads_back() {
    let lab = Lab::start();
    let (api, active) = (lab.api(), lab.plugin.active_key());

    api.create_secret("login", PASSWORD).unwrap();
    api.create_config_map("page", TEXT).unwrap();

    assert_eq!(api.password("login").unwrap(), PASSWORD);
    assert_eq!(api.object("configmaps", "page").unwrap()["data"]["text"], TEXT);
    for (resource, name, plain) in [("secrets", "login", PASSWORD), ("configmaps", "page", TEXT)] {
        is_ours_and_opens(&lab, &active, &etcd_key(resource, name), plain);
    }
    let files = lab.control_plane.etcd_dir();
    for plain in [PASSWORD, TEXT] {
        assert_eq!(
            files_holding(&files, plain),
            [""; 0],
            "{plain:?} lies in the clear"
        );
    }
    // The search would have found it: the provider's name is in the clear.
    assert_ne!(files_holding(&files, PREFIX), [""; 0]);
    no_key_lies_in_etcd(&lab, &active, &files);
}

/// Nor the seed that the objects are under.
fn no_key_lies_in_etcd(lab: &Lab, active: &KeyName, files: &Path) {
    let value = lab.etcd().value(&etcd_key("secrets", "login"));
    let wrapped = object::parse(&value).unwrap().object.encrypted_dek_source;
    let seed = lab.plugin.open_seed(&active.id, &wrapped).expose().to_vec();
    let keys = lab.plugin.keys();
    let secrets = keys.iter().map(|(name, key)| (name.as_str(), key.clone()));
    let hidden = Wanted::new(secrets.chain([("the seed", seed)]));
    let shown = Wanted::new([("the wrapped seed", wrapped)]);

    let (mut seen, mut bytes) = (0, 0);
    for file in all_files(files) {
        let content = fs::read(&file).unwrap();
        assert_eq!(hidden.found_in(&content), [], "in {}", file.display());
        seen += shown.found_in(&content).len();
        bytes += content.len();
    }

    println!("no key in {} KiB of etcd's files", bytes / 1024);
    assert!(seen > 0, "the search finds what is there");
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                all_files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// By our own decoder, with the seed opened from the stored ring.
fn is_ours_and_opens(lab: &Lab, active: &KeyName, key: &str, plain: &str) {
    let value = lab.etcd().value(key);
    print_beginning(key, &value);

    assert!(
        value.starts_with(PREFIX.as_bytes()),
        "{key} is not under our provider"
    );
    let stored = object::parse(&value).unwrap();
    assert_eq!(stored.object.key_id, active.id, "{key}");
    assert!(stored.object.annotations.is_empty(), "{key} has annotations");
    let seed = lab
        .plugin
        .open_seed(&active.id, &stored.object.encrypted_dek_source);
    let opened = stored.decrypt(&seed, key.as_bytes()).unwrap();
    assert!(
        opened.expose().starts_with(PLAIN_PREFIX),
        "{key} opens to no object"
    );
    assert!(contains(opened.expose(), plain), "{key} opens to another object");
}

/// Thirty-two bytes a line, in hexadecimal and as text.
fn print_beginning(key: &str, value: &[u8]) {
    const LINES: usize = 4;
    println!("\n{key}, {} bytes, begins:", value.len());
    for line in value.chunks(32).take(LINES) {
        let text: String = line
            .iter()
            .map(|byte| {
                if byte.is_ascii_graphic() {
                    char::from(*byte)
                } else {
                    '.'
                }
            })
            .collect();
        println!("  {}  {text}", HEXLOWER.encode(line));
    }
}

/// Every file below `dir` that holds the text.
pub fn files_holding(dir: &Path, text: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_holding(&path, text)
            } else if contains(&fs::read(&path).unwrap_or_default(), text) {
                vec![path.display().to_string()]
            } else {
                Vec::new()
            }
        })
        .collect()
}

/// ASCII text survives the conversion, and the standard library searches a string fast in an unoptimised build too.
fn contains(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}
