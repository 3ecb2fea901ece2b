//! The ring: whether it opens, by which roots, how many ways there are back to it, and what lies beside its files.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use super::finding::Findings;
use crate::cli::failure::Failure;
use crate::cli::place::{file_store, own_custody};
use crate::cli::room;
use crate::cli::root::{Tried, id, tried};
use crate::cli::rotate::clocks;
use crate::config::{Config, Store, shown_duration};
use crate::custody::{Custody, Opened, Passed, Room};
use crate::keyring::NotServing;
use crate::keyring::schedule::{self, Clocks, Due};
use crate::store::{Stray, shell_word};
use crate::telemetry::now;

const DAY: Duration = Duration::from_secs(86_400);

/// Opens the ring, or this node's copy of it. No root but those of the configuration is tried, and nobody is asked.
pub(super) fn open(config: &Config, findings: &mut Findings) -> Option<Opened> {
    let dir = config.ring.store.local();
    let shown = dir.display().to_string();
    if !is_for_us(dir) {
        findings.skipped("ring/opens", shown, "it is another user's", "run it as root");
        return None;
    }
    let custody = match own_custody(config) {
        Ok(custody) => custody,
        Err(why) => {
            fail(&shown, &why, findings);
            return None;
        }
    };
    match custody.open(None, now()) {
        Ok(opened) => {
            let text = format!(
                "ring {}, generation {}, opens",
                opened.ring.id, opened.ring.generation
            );
            findings.ok("ring/opens", &shown, text);
            roots(&custody, &opened, findings);
            beside(&shown, &custody, &opened, findings);
            Some(opened)
        }
        Err(why) => {
            findings.failure("ring/opens", shown, why.to_string(), why.hint());
            None
        }
    }
}

/// Whether this user may use it as it should be. One that is not there is another matter.
fn is_for_us(dir: &Path) -> bool {
    let me = rustix::process::geteuid();
    match fs::metadata(dir) {
        Ok(about) => me.is_root() || about.uid() == me.as_raw(),
        Err(why) => why.kind() != ErrorKind::PermissionDenied,
    }
}

fn fail(subject: &str, why: &Failure, findings: &mut Findings) {
    findings.failure(
        "ring/opens",
        subject,
        why.message(),
        "`kekring config check` tries the configuration",
    );
}

/// One that opens nothing is none, and nobody notices until the other is lost.
fn roots(custody: &Custody, opened: &Opened, findings: &mut Findings) {
    for root in &custody.roots {
        let Tried { root, opens, why } = tried(root.as_ref(), &opened.head.header, opened.ring_key.expose());
        match opens.as_slice() {
            [] => findings.failure(
                "ring/root",
                root,
                format!("it opens no slot: {}", why.unwrap_or_default()),
                "bring the right one back; `kekring root add` makes a slot for a new one",
            ),
            slots => findings.ok("ring/root", root, format!("it opens slot {}", slots.join(", "))),
        }
    }
}

/// What lies among the ring's files and in the mirror that is not the ring: what can go, and what is the only place of a key.
fn beside(shown: &str, custody: &Custody, opened: &Opened, findings: &mut Findings) {
    let found = custody.beside(opened);
    for (_, place) in &found.covered {
        findings.warning(
            "ring/leftover",
            place,
            "it is under a ring key that was replaced, so that a removed root may open it, and the ring has every key of it",
            format!("`rm {}`", shell_word(place)),
        );
    }
    for passed in &found.passed {
        findings.warning(
            "ring/passed-over",
            &passed.place,
            format!("{}; nothing of it counts", passed.holds()),
            format!("`kekring restore {}`", shell_word(&passed.place)),
        );
    }
    for place in &found.unopened {
        findings.warning(
            "ring/unopened",
            place,
            "it opens with no ring key that is at hand here, so nobody knows what it holds",
            format!(
                "`kekring restore {} --open-with -` asks for a recovery code, and without `--open-with` the roots of the configuration are tried; delete nothing that it has not taken in",
                shell_word(place)
            ),
        );
    }
    let unfinished: Vec<String> = opened.unfinished().map(id).collect();
    if !unfinished.is_empty() {
        findings.failure(
            "ring/removal",
            shown,
            "another history of the ring removed a root slot that is still there, and the ring does not rotate",
            format!("`kekring root remove {}`", unfinished.join(" ")),
        );
    }
}

/// What there is to say of a ring that opens.
pub(super) fn look(config: &Config, opened: &Opened, findings: &mut Findings) {
    let shown = config.ring.store.local().display().to_string();
    slots(&shown, opened, findings);
    if opened.ring.development {
        findings.warning(
            "ring/development",
            &shown,
            "it is a development ring: its root key lies beside it",
            "for a cluster that matters, make one by `kekring init`",
        );
    }
    state(&shown, opened, findings);
    copies(&shown, opened, findings);
    backup(&shown, opened, findings);
    room(&shown, config, opened, findings);
    rotation(&shown, config, opened, findings);
}

fn slots(shown: &str, opened: &Opened, findings: &mut Findings) {
    let slots = &opened.head.header.slots;
    match slots.len() {
        0 | 1 => findings.warning(
            "ring/slots",
            shown,
            "there is one root slot only: when that root is lost, so is every Secret",
            "`kekring root add --recovery-code-file FILE`, and move the file off this machine",
        ),
        many => findings.ok("ring/slots", shown, format!("{many} root slots open it")),
    }
    let half = opened.half_removed();
    if !half.is_empty() {
        let names: Vec<&str> = half.iter().map(|slot| slot.name.as_str()).collect();
        let ids: Vec<String> = half.iter().map(id).collect();
        findings.warning(
            "ring/half-removed",
            shown,
            format!(
                "the removal of {} broke off: older generations still open by it",
                names.join(", ")
            ),
            format!("`kekring root remove {}`", ids.join(" ")),
        );
    }
}

/// What keeps it from being changed or used.
fn state(shown: &str, opened: &Opened, findings: &mut Findings) {
    match &opened.refusing {
        Some(why) => findings.failure(
            "ring/serves",
            shown,
            format!("no key can be reported: {why}"),
            match why {
                NotServing::Superseded(_) => {
                    "bring a root that opens the new ring key, as another node has it, and restart `kekring serve`"
                }
                _ => "see what is said of frozen",
            },
        ),
        None => findings.ok("ring/serves", shown, "its active key can be used"),
    }
    match &opened.frozen {
        Some(frozen) if frozen.is_adoptable() => {
            findings.failure(
                "ring/machine",
                shown,
                format!("the ring is frozen: {frozen}"),
                frozen.remedy(),
            );
        }
        Some(frozen) => findings.failure(
            "ring/frozen",
            shown,
            format!("the ring is frozen: {frozen}"),
            frozen.remedy(),
        ),
        None => findings.ok("ring/frozen", shown, "it can be changed"),
    }
    for key in opened.ring.keys.iter().filter(|key| key.suspended) {
        findings.warning(
            "ring/suspended",
            &key.id,
            "the key is suspended: what it encrypted cannot be read",
            format!("`kekring keys resume {}`", key.id),
        );
    }
}

/// What the ring says of itself beyond that, and copies that are not sound.
fn copies(shown: &str, opened: &Opened, findings: &mut Findings) {
    let growth = opened.growth_warning(now());
    match &growth {
        Some(why) => findings.warning(
            "ring/growth",
            shown,
            why,
            "raise rotation.period, and see who rotates",
        ),
        None => findings.ok(
            "ring/growth",
            shown,
            "it grows no faster than its period asks for",
        ),
    }
    // Each of these has a finding of its own.
    let said = [growth, opened.backup_warning(), opened.removal_warning()];
    let passed = opened.passed.iter().map(Passed::warning);
    let said: Vec<String> = said.into_iter().flatten().chain(passed).collect();
    let others = opened.warnings.iter().filter(|it| !said.contains(it));
    let mut sound = true;
    for warning in others {
        sound = false;
        findings.warning(
            "ring/copies",
            shown,
            warning,
            "delete nothing; look for these words in README.md, and `kekring backup FILE` what opens now",
        );
    }
    if sound {
        findings.ok(
            "ring/copies",
            shown,
            "every copy, the mark and the mirror are sound",
        );
    }
}

fn backup(shown: &str, opened: &Opened, findings: &mut Findings) {
    let id = "ring/backup";
    if opened.ring.development {
        return findings.ok(id, shown, "a throw-away ring needs none");
    }
    match opened.backup_warning() {
        Some(why) => findings.warning(
            id,
            shown,
            why,
            "`kekring backup FILE`, and move the file off this machine",
        ),
        None => findings.ok(id, shown, "the last backup has every key"),
    }
}

/// Every key is kept, and a ring has a greatest length.
fn room(shown: &str, config: &Config, opened: &Opened, findings: &mut Findings) {
    let id = "ring/room";
    let remedy = "set a longer rotation.period, and see by `kekring keys list` who rotates";
    let room = Room::of(opened);
    match room::warning(&room, now(), config.rotation.period) {
        None => findings.ok(id, shown, "rotations have used less than half of their room"),
        Some(why) if room.is_used_up() => findings.failure(id, shown, why, remedy),
        Some(why) => findings.warning(id, shown, why, remedy),
    }
}

/// A server rotates by itself; a day late, nobody has.
fn rotation(shown: &str, config: &Config, opened: &Opened, findings: &mut Findings) {
    let (ring, period) = (&opened.ring, config.rotation.period);
    // What happened since a server's start is nothing to a verb.
    let clocks = Clocks {
        settled: Duration::MAX,
        ..clocks(opened)
    };
    let late = schedule::age(ring, clocks).saturating_sub(schedule::due_age(ring, period));
    due(shown, &schedule::due(ring, clocks, period), late, findings);
}

fn due(shown: &str, due: &Due, late: Duration, findings: &mut Findings) {
    let id = "ring/rotation";
    match due {
        Due::Now if late > DAY => findings.warning(
            id,
            shown,
            format!(
                "the rotation is overdue by {}",
                shown_duration(Duration::from_secs(late.as_secs()))
            ),
            "`kekring status` says what it waits for; `kekring rotate` does it now",
        ),
        Due::Operator => findings.warning(
            id,
            shown,
            "a rotation was prepared by hand, and none happens by itself until it is done",
            "`kekring rotate --activate`",
        ),
        _ => findings.ok(id, shown, "no rotation is overdue"),
    }
}

/// What lies in its directories and is no part of it.
pub(super) fn strays(config: &Config, findings: &mut Findings) {
    let store = file_store(config);
    let shown = config.ring.store.local().display();
    let strays = match store.strays() {
        Ok(strays) => strays,
        Err(why) => {
            return findings.skipped(
                "ring/strays",
                shown,
                format!("cannot list its files: {why}"),
                "run it as root",
            );
        }
    };
    if strays.is_empty() {
        return findings.ok("ring/strays", shown, "nothing but the ring lies there");
    }
    for (path, stray) in strays {
        report(&path, stray, findings);
    }
}

fn report(path: &Path, stray: Stray, findings: &mut Findings) {
    let shown = path.display();
    match stray {
        Stray::Unfinished => findings.warning(
            "ring/unfinished",
            shown,
            "a change of the ring was cut off here; it is no part of the ring",
            "nothing: the next change of the ring removes it",
        ),
        Stray::Lookalike => findings.warning(
            "ring/lookalike",
            shown,
            "it is named nearly as a file of the ring, and is not read",
            "put it where it belongs under its own name, `gen-NUMBER-HASH.ring`, or move it elsewhere",
        ),
        Stray::Foreign => findings.warning(
            "ring/foreign",
            shown,
            "it is no file of a ring",
            "move it elsewhere: the directory is for the ring alone",
        ),
    }
}

/// Where the API server's own etcd says that there are more nodes than a ring in files is for.
pub(super) fn several(config: &Config, members: usize, compared: usize, findings: &mut Findings) {
    let (id, subject) = ("ring/several-file-rings", "ring.store.file");
    let Store::File { .. } = config.ring.store else {
        return findings.ok(id, "ring.store.etcd", "the nodes keep one ring together");
    };
    const REMEDY: &str = "`kekring store move --to etcd`, as deploy/etcd/README.md has it";
    if compared > 0 {
        findings.failure(
            id,
            subject,
            "another control-plane node is compared, and this ring is for one: a file ring on each node is several rings, and none reads what another encrypted",
            REMEDY,
        );
    } else if members > 1 {
        findings.warning(
            id,
            subject,
            format!("etcd has {members} members: where as many API servers run, a file ring on each node is as many rings, and none reads what another encrypted"),
            REMEDY,
        );
    } else {
        findings.ok(id, subject, "nothing here suggests a second control-plane node");
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_rotation_is_overdue_a_day_after_it_was_due() {
        let level = |late| {
            let mut findings = Findings::default();
            due("ring", &Due::Now, late, &mut findings);
            findings.levels().pop().map(|(_, level)| level)
        };

        assert_eq!(level(DAY), Some(Level::Ok));
        assert_eq!(level(DAY + Duration::from_secs(1)), Some(Level::Warning));
    }
}
