//! The order of the calls that make a file durable: its bytes before it has a name, its name before the verb goes on.

use std::fs;
use std::process::Command;

use crate::support::{KEKRING, Plugin, shown};

/// A call on files: its text, with a path for each descriptor.
struct Calls(Vec<String>);

impl Calls {
    fn of(plugin: &Plugin, verb: &[&str]) -> Self {
        let log = plugin.dir.join("strace.log");
        let output = Command::new("strace")
            .args(["-f", "-y", "-qq", "-s", "4096", "-o"])
            .arg(&log)
            .args([
                "-e",
                "trace=openat,mkdir,mkdirat,fsync,fdatasync,link,linkat,rename,renameat,renameat2",
            ])
            .arg(KEKRING)
            .args(verb)
            .arg("--config")
            .arg(&plugin.config)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        let text = fs::read_to_string(log).unwrap();
        Self(text.lines().map(str::to_owned).collect())
    }

    /// Where the first call from `start` on is that contains each of `parts`.
    #[track_caller]
    fn find(&self, start: usize, parts: &[&str]) -> usize {
        let found = self
            .0
            .iter()
            .skip(start)
            .position(|call| parts.iter().all(|part| call.contains(part)) && !call.contains(") = -1 "));
        found.map(|at| start + at).unwrap_or_else(|| {
            panic!("{parts:?} is not among:\n{}", self.0[start..].join("\n"));
        })
    }

    /// The name that a file has before the call at `at` gives it another.
    fn source(&self, at: usize) -> String {
        self.0[at].split('"').nth(1).unwrap().to_owned()
    }

    /// Asserts that the file named by the first call with `parts` was synced before and its directory after.
    #[track_caller]
    fn assert_durable(&self, start: usize, parts: &[&str], dir: &str) -> usize {
        let named = self.find(start, parts);
        let synced = self.find(0, &["sync(", &format!("<{}>", self.source(named))]);
        assert!(synced < named, "{}", self.0.join("\n"));
        self.find(named, &["fsync(", &format!("<{dir}>")])
    }
}

#[test]
#[needs(strace)]
fn a_generation_and_then_the_mark_are_synced_before_and_after_they_are_named() {
    let plugin = Plugin::unmade("{}");
    let (ring, mirror) = (plugin.dir.join("ring"), plugin.dir.join("mirror"));
    plugin.configure(&format!("{{ring: {{mirror: {}}}}}", mirror.display()));
    assert!(plugin.verb(&["init", "--no-recovery"]).status.success());

    let calls = Calls::of(&plugin, &["rotate"]);

    let mut done = 0;
    for (dir, name) in [
        (&ring, "gen-2-"),
        (&mirror, "gen-2-"),
        (&mirror, "mark"),
        (&ring, "mark"),
    ] {
        let dir = dir.to_str().unwrap();
        let how = if name == "mark" { "rename" } else { "link" };
        let call = [how, &format!("{dir}/{name}")];
        if name != "mark" {
            let named = calls.find(done, &call);
            let again = calls.find(0, &["openat(", &calls.source(named), "O_RDONLY"]);
            assert!(again < named, "it is read back before it has its name");
        }
        done = calls.assert_durable(done, &call, dir);
    }
}

#[test]
#[needs(strace)]
fn a_root_key_and_a_recovery_code_are_synced_before_and_after_they_are_named() {
    let plugin = Plugin::unmade("{}");
    let code = plugin.dir.join("code");

    let calls = Calls::of(&plugin, &["init", "--recovery-code-file", code.to_str().unwrap()]);

    let dir = plugin.dir.to_str().unwrap();
    let done = calls.assert_durable(0, &[&format!("{dir}/root.key\"")], dir);
    let done = calls.assert_durable(done, &[&format!("{dir}/code\"")], dir);
    let first = calls.find(done, &["link", "ring/gen-1-"]);
    assert!(done < first, "the code is safe before anything hangs on it");
}

#[test]
#[needs(strace)]
fn the_directories_of_a_new_ring_are_named_durably_before_anything_lies_in_them() {
    let plugin = Plugin::unmade("{}");
    let (above, ring) = (plugin.dir.join("above"), plugin.dir.join("above/ring"));
    plugin.configure(&format!(
        "{{ring: {{store: {{file: {{dir: {}}}}}}}}}",
        ring.display()
    ));

    let calls = Calls::of(&plugin, &["init", "--no-recovery"]);

    let (dir, above) = (plugin.dir.to_str().unwrap(), above.to_str().unwrap());
    let made = calls.find(0, &["mkdir", &format!("\"{above}\"")]);
    calls.find(made, &["fsync(", &format!("<{dir}>")]);
    let made = calls.find(made, &["mkdir", &format!("\"{above}/ring\"")]);
    let synced = calls.find(made, &["fsync(", &format!("<{above}>")]);
    let first = calls.find(0, &["link", "above/ring/gen-1-"]);
    assert!(synced < first, "{}", calls.0.join("\n"));
}
