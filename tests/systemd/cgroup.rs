//! A control group for each container: systemd makes the groups of its units below the one that it finds itself in, and
//! two of them in one place would take each other's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::PATIENCE;

/// The group that this process is in, in each hierarchy that systemd uses to track processes.
pub fn hierarchies() -> Result<Vec<PathBuf>, String> {
    let ours = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found = Vec::new();
    for mount in mounts.lines() {
        let fields: Vec<&str> = mount.split(' ').collect();
        let named = match fields[2] {
            "cgroup2" => "0::",
            "cgroup" if fields[3].contains("name=systemd") => ":name=systemd:",
            _ => continue,
        };
        let line = ours.lines().find_map(|line| line.split_once(named));
        if let Some((_, path)) = line {
            found.push(Path::new(fields[1]).join(path.trim_start_matches('/')));
        }
    }
    let writable = |place: &PathBuf| rustix::fs::access(place, rustix::fs::Access::WRITE_OK).is_ok();
    if found.is_empty() || !found.iter().all(writable) {
        return Err("control groups that it may write".to_owned());
    }
    Ok(found)
}

/// Removed when dropped, with all that systemd left below.
pub struct Groups(pub Vec<PathBuf>);

impl Groups {
    pub fn new(name: &str) -> Self {
        let places = hierarchies().unwrap().into_iter().map(|place| place.join(name));
        let groups = Self(places.collect());
        for place in &groups.0 {
            fs::create_dir(place).unwrap();
        }
        groups
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // A process that was killed is in its group until it is reaped.
        let deadline = Instant::now() + PATIENCE;
        for place in &self.0 {
            while place.exists() && Instant::now() < deadline {
                remove(place);
                pause();
            }
            assert!(
                !place.exists() || std::thread::panicking(),
                "{} is left",
                place.display()
            );
        }
    }
}

#[allow(clippy::disallowed_methods)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

fn remove(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(place);
}
