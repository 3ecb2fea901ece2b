//! What systemd itself thinks of the unit files, without running them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{in_repository, scratch, shown};

/// Above the unit's own figure, and above that with the drop-in: tenths of a point.
const ALONE: u32 = 5;
const WITH_NETWORK: u32 = 10;

/// The unit files as installed, with a program that is there.
fn units(drop_in: Option<&str>) -> TempDir {
    let dir = scratch();
    for name in ["kekring.service", "kekring.socket", "kekring-telemetry.socket"] {
        let text = fs::read_to_string(in_repository("deploy/systemd").join(name)).unwrap();
        let text = text.replace("/usr/local/bin/kekring", "/bin/true");
        fs::write(dir.path().join(name), text).unwrap();
    }
    if let Some(name) = drop_in {
        let place = dir.path().join("kekring.service.d");
        fs::create_dir(&place).unwrap();
        fs::copy(in_repository("deploy/systemd").join(name), place.join(name)).unwrap();
    }
    dir
}

fn security(units: &Path, threshold: u32) -> Output {
    Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(format!("--threshold={threshold}"))
        .arg(units.join("kekring.service"))
        .output()
        .unwrap()
}

pub fn the_unit_is_exposed_by_half_a_point_at_most_and_by_one_with_a_network() {
    for (drop_in, most) in [(None, ALONE), (Some("network.conf"), WITH_NETWORK)] {
        let units = units(drop_in);

        let output = security(units.path(), most);

        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let figure = text.lines().find(|line| line.contains("Overall exposure"));
        println!("\n{}: {}", drop_in.unwrap_or("alone"), figure.unwrap_or_default());
        assert!(output.status.success(), "{}", shown(&output));
        // The threshold is one that can fail: a tenth of a point is less than any service has.
        assert!(!security(units.path(), 0).status.success());
    }
}

pub fn systemd_has_nothing_to_say_against_the_units() {
    let units = units(Some("network.conf"));

    let output = Command::new("systemd-analyze")
        .arg("verify")
        .args(
            ["kekring.service", "kekring.socket", "kekring-telemetry.socket"].map(|it| units.path().join(it)),
        )
        .output()
        .unwrap();

    assert!(output.status.success(), "{}", shown(&output));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("kekring"), "{said}");
}
