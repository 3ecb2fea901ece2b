//! What is in the packages, without installing them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Command as Verb;

use crate::made::{self, OLD};
use crate::node::PAGE;
use crate::support::{in_repository, page, scratch, shown};

/// Every file beside the manual pages and what `deploy` holds, with its mode. All are root's.
const FILES: [(&str, &str); 13] = [
    ("/etc/kekring/config.yaml", "644"),
    ("/usr/bin/kekring", "755"),
    ("/usr/lib/systemd/system/kekring-telemetry.socket", "644"),
    ("/usr/lib/systemd/system/kekring.service", "644"),
    ("/usr/lib/systemd/system/kekring.socket", "644"),
    ("/usr/lib/sysusers.d/kekring.conf", "644"),
    ("/usr/lib/tmpfiles.d/kekring.conf", "644"),
    ("/usr/share/bash-completion/completions/kekring", "644"),
    ("/usr/share/doc/kekring/CHANGELOG.md", "644"),
    ("/usr/share/doc/kekring/README.md", "644"),
    ("/usr/share/doc/kekring/SECURITY.md", "644"),
    ("/usr/share/fish/vendor_completions.d/kekring.fish", "644"),
    ("/usr/share/man/man1/kekring.1.gz", "644"),
];
/// Only the one or the other has these.
const DEB: [(&str, &str); 3] = [
    ("/usr/share/doc/kekring/changelog.gz", "644"),
    ("/usr/share/doc/kekring/copyright", "644"),
    ("/usr/share/zsh/vendor-completions/_kekring", "644"),
];
pub const RPM: [(&str, &str); 2] = [
    ("/usr/share/licenses/kekring/LICENSE", "644"),
    ("/usr/share/zsh/site-functions/_kekring", "644"),
];
const PLACES: [(&str, &str); 7] = [
    ("verify", "Verify"),
    ("deb", "Install Upgrade Roll back Remove"),
    ("rpm", "Install Upgrade Roll back Remove"),
    ("upgrade", "Upgrade Roll back"),
    ("remove", "Remove"),
    ("tarball", "From the tarball"),
    ("release", "Make a release"),
];

/// A file as a package has it.
#[derive(Debug)]
pub struct Entry {
    pub path: String,
    pub mode: String,
    pub owner: String,
    pub time: String,
}

pub fn the_packages_hold_what_they_should_with_the_rights_that_they_should_have() {
    let deb = made::file(made::old(), ".deb");
    let entries = entries(&deb);
    check(&entries, "0/0", "2026-01-01 00:00", &DEB);

    let control = unpacked(&deb, "control.tar.gz");
    let text = |name: &str| fs::read_to_string(control.path().join(name)).unwrap();
    assert_eq!(text("conffiles"), "/etc/kekring/config.yaml\n");
    for line in [
        "Package: kekring",
        "Version: 0.1.0",
        "Depends: systemd (>= 252)",
        "Section: admin",
    ] {
        assert!(
            text("control").lines().any(|it| it == line),
            "{line} is not in\n{}",
            text("control")
        );
    }
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        assert!(text(script).starts_with("#!/bin/sh\n"), "{script}");
    }

    let files = unpacked(&deb, "data.tar.gz");
    for unit in ["kekring.service", "kekring.socket", "kekring-telemetry.socket"] {
        let ours = fs::read_to_string(in_repository("deploy/systemd").join(unit)).unwrap();
        let packed = fs::read_to_string(files.path().join("usr/lib/systemd/system").join(unit)).unwrap();
        assert_eq!(
            packed,
            ours.replace("=/usr/local/bin/kekring serve\n", "=/usr/bin/kekring serve\n"),
            "{unit}"
        );
        assert_eq!(packed == ours, unit != "kekring.service", "{unit}");
    }
    let ours = fs::read(in_repository("deploy/systemd/config.yaml")).unwrap();
    assert_eq!(
        fs::read(files.path().join("etc/kekring/config.yaml")).unwrap(),
        ours
    );
    let program = fs::read(files.path().join("usr/bin/kekring")).unwrap();
    assert!(program == fs::read(made::program()).unwrap());
}

/// The files of a package are those that are expected, and nothing has another's right, owner or time.
#[track_caller]
pub fn check(entries: &[Entry], owner: &str, time: &str, more: &[(&str, &str)]) {
    let (mut found, mut pages, mut deploy) = (BTreeSet::new(), 0, BTreeSet::new());
    for entry in entries {
        assert_eq!(
            (entry.owner.as_str(), entry.time.as_str()),
            (owner, time),
            "{entry:?}"
        );
        if let Some(place) = entry.path.strip_prefix("/usr/share/doc/kekring/deploy/") {
            assert_eq!(entry.mode, "644", "{entry:?}");
            deploy.insert(PathBuf::from(place));
        } else if entry.path.starts_with("/usr/share/man/man1/kekring-") {
            assert_eq!(entry.mode, "644", "{entry:?}");
            pages += 1;
        } else {
            found.insert((entry.path.as_str(), entry.mode.as_str()));
        }
    }
    let expected: BTreeSet<(&str, &str)> = FILES.iter().chain(more).copied().collect();
    assert_eq!(found, expected);
    assert_eq!(pages, verbs().len());
    assert_eq!(deploy, documents());
}

pub fn every_verb_has_its_page_and_is_completed_in_each_shell() {
    let files = unpacked(&made::file(made::old(), ".deb"), "data.tar.gz");
    let share = files.path().join("usr/share");

    let scripts = [
        "bash-completion/completions/kekring",
        "zsh/vendor-completions/_kekring",
        "fish/vendor_completions.d/kekring.fish",
    ];
    for script in scripts {
        let text = fs::read_to_string(share.join(script)).unwrap();
        for verb in verbs() {
            let word = verb.split(' ').next_back().unwrap();
            assert!(text.contains(word), "{script} does not know {verb}");
        }
    }
    for verb in verbs() {
        let name = format!("man/man1/kekring-{}.1.gz", verb.replace(' ', "-"));
        let output = Command::new("gzip")
            .arg("-dc")
            .arg(share.join(&name))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(".SH NAME\n") && text.contains(".SH SYNOPSIS\n"),
            "{name}: {text}"
        );
    }
}

pub fn another_place_and_another_hour_make_the_same_bytes() {
    let scratch = scratch();
    let elsewhere = scratch.path().join("another place/kekring");
    fs::create_dir_all(&elsewhere).unwrap();
    made::copy(&elsewhere);
    let program = elsewhere.join("another-name");
    fs::copy(made::program(), &program).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .arg(elsewhere.join("deploy/release/packages.sh"))
        .args(["--version", OLD])
        .arg(&program)
        .arg("out")
        .current_dir(&scratch)
        .env("SOURCE_DATE_EPOCH", made::TIME)
        .env("TMPDIR", &elsewhere)
        .env("TZ", "Asia/Tokyo")
        .env("LANG", "tr_TR.UTF-8");

    let output = command.output().unwrap();

    assert!(output.status.success(), "{}", shown(&output));
    for end in [".deb", ".rpm", ".tar.gz"] {
        let (here, there) = (
            made::file(made::old(), end),
            made::file(&scratch.path().join("out"), end),
        );
        assert_eq!(here.file_name(), there.file_name());
        assert!(
            fs::read(here).unwrap() == fs::read(there).unwrap(),
            "{end} is another"
        );
    }
    let output = made::packages_sh(&elsewhere)
        .env_remove("SOURCE_DATE_EPOCH")
        .args(["x", "y"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    let output = made::packages_sh(&elsewhere).arg("x").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
}

/// Each is typed by a trial here, or by the one in tests/deploy that makes a release.
pub fn every_block_of_the_page_is_for_a_place_that_is_tried() {
    for block in page::blocks(PAGE) {
        assert_eq!(block.language, "sh", "{}", block.text);
        assert!(!block.place.is_empty(), "{}", block.text);
        for place in &block.place {
            let (_, sections) = PLACES.iter().find(|(name, _)| name == place).unwrap();
            assert!(sections.contains(&block.section), "{place} in {}", block.section);
        }
    }
}

/// What a tar file in a `.deb` lists, without its directories, which are all root's and open.
fn entries(deb: &Path) -> Vec<Entry> {
    let script = "set -o pipefail; ar p \"$0\" data.tar.gz | TZ=UTC tar -tzv --numeric-owner";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(deb)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut entries = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let entry = Entry {
            path: fields[5].trim_start_matches('.').to_owned(),
            mode: octal(&fields[0][1..]),
            owner: fields[1].to_owned(),
            time: format!("{} {}", fields[3], fields[4]),
        };
        if fields[0].starts_with('d') {
            assert_eq!(
                (entry.mode.as_str(), entry.owner.as_str()),
                ("755", "0/0"),
                "{line}"
            );
        } else {
            assert!(fields[0].starts_with('-'), "{line}");
            entries.push(entry);
        }
    }
    entries
}

/// `rwxr-xr-x` as 755.
fn octal(letters: &str) -> String {
    let bits = letters
        .bytes()
        .fold(0_u32, |sum, letter| sum << 1 | u32::from(letter != b'-'));
    format!("{bits:o}")
}

/// One of the archives in a `.deb`, taken out.
fn unpacked(deb: &Path, member: &str) -> tempfile::TempDir {
    let scratch = scratch();
    let script = "set -o pipefail; ar p \"$0\" \"$1\" | tar -xz --no-same-owner -C \"$2\"";
    let output = Command::new("bash")
        .args(["-c", script])
        .arg(deb)
        .arg(member)
        .arg(scratch.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    scratch
}

/// Every verb, and every word above one.
fn verbs() -> Vec<String> {
    fn below(command: &Verb, above: &str, names: &mut Vec<String>) {
        for verb in command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        {
            let name = format!("{above}{}", verb.get_name());
            below(verb, &format!("{name} "), names);
            names.push(name);
        }
    }
    let mut names = Vec::new();
    below(&kekring::cli::command(), "", &mut names);
    assert!(names.len() > 25, "{names:?}");
    names
}

/// What `deploy` holds for an operator: all but scripts, and what packages are made by.
fn documents() -> BTreeSet<PathBuf> {
    let root = in_repository("deploy");
    let (mut found, mut places) = (BTreeSet::new(), vec![root.clone()]);
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = place.strip_prefix(&root).unwrap().to_owned();
        let ours = name.starts_with("release") && !name.ends_with("README.md");
        let script = name.extension().is_some_and(|it| it == "sh") && !name.ends_with("rewrite/rewrite.sh");
        if !ours && !script {
            found.insert(name);
        }
    }
    found
}

/// What an installed `.rpm` lists.
pub fn of_rpm(dump: &str) -> Vec<Entry> {
    let fields = dump.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let files = fields.filter(|fields| !fields[4].starts_with("04"));
    files
        .map(|fields| Entry {
            path: fields[0].to_owned(),
            mode: fields[4].trim_start_matches("0100").to_owned(),
            owner: format!("{}/{}", fields[5], fields[6]),
            time: fields[2].to_owned(),
        })
        .collect()
}
