//! What keeps the process's memory and files to itself. Applied before the first thread starts, since each has its own;
//! `status` says what is in force.

use std::fmt;

use landlock::RulesetStatus;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use super::confine::{self, Confined, Confinement};

/// A measure, and whether the kernel granted it.
#[derive(Clone, Debug)]
pub struct Protection {
    pub(super) name: &'static str,
    /// How it is done, where there are several ways.
    how: Option<String>,
    /// Why it is not in force.
    refused: Option<String>,
}

impl Protection {
    /// Whether it is in force.
    pub fn is_in_force(&self) -> bool {
        self.refused.is_none()
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.refused, &self.how) {
            (Some(why), _) => write!(f, "{}: refused ({why})", self.name),
            (None, Some(how)) => write!(f, "{}: {how}", self.name),
            (None, None) => f.write_str(self.name),
        }
    }
}

/// Applies what the kernel grants and names it; a refusal is named too. `memory` is what keeps the keys, or why nothing does.
pub fn apply(confinement: &Confinement, memory: Result<String, String>) -> Vec<Protection> {
    // Nothing that this process makes is for others; the socket's own mode is set before it is bound.
    rustix::process::umask(rustix::fs::Mode::RWXO);
    let no_core = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    vec![
        plain(
            "not dumpable",
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable),
        ),
        plain(
            "no core files",
            rustix::process::setrlimit(Resource::Core, no_core),
        ),
        plain("no new privileges", rustix::thread::set_no_new_privs(true)),
        guarded_memory(memory),
        landlock(confinement),
    ]
}

fn plain(name: &'static str, result: rustix::io::Result<()>) -> Protection {
    Protection {
        name,
        how: None,
        refused: result.err().map(|why| why.to_string()),
    }
}

fn guarded_memory(memory: Result<String, String>) -> Protection {
    Protection {
        name: "guarded memory",
        refused: memory.as_ref().err().cloned(),
        how: memory.ok(),
    }
}

fn landlock(confinement: &Confinement) -> Protection {
    let (how, refused) = match confine::apply(confinement) {
        Ok(Confined {
            status: RulesetStatus::NotEnforced,
            ..
        }) => (None, Some("this kernel does not have it".to_owned())),
        Ok(confined) => (limits(&confined), None),
        Err(why) => (None, Some(why.to_string())),
    };
    Protection {
        name: "landlock",
        how,
        refused,
    }
}

/// In what it confines less than it could.
fn limits(confined: &Confined) -> Option<String> {
    let mut limits = Vec::new();
    if confined.status == RulesetStatus::PartiallyEnforced {
        limits.push("as far as this kernel knows it".to_owned());
    }
    if !confined.away.is_empty() {
        let away: Vec<_> = confined
            .away
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        limits.push(format!(
            "wider than it could be, {} was away at the start",
            away.join(", ")
        ));
    }
    (!limits.is_empty()).then(|| limits.join("; "))
}
