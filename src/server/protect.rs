//! What keeps the process's memory to itself. Applied before the first thread starts; `status` says what is in force.

use std::fmt;

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// A measure, and whether the kernel granted it.
#[derive(Clone, Debug)]
pub(super) struct Protection {
    pub(super) name: &'static str,
    /// Why it is not in force.
    pub(super) refused: Option<String>,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.refused {
            None => f.write_str(self.name),
            Some(why) => write!(f, "{}: refused ({why})", self.name),
        }
    }
}

/// Applies what the kernel grants and names it; a refusal is named too, and never stops a start.
pub(super) fn apply() -> Vec<Protection> {
    let measures: [(&str, rustix::io::Result<()>); 3] = [
        (
            "not dumpable",
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable),
        ),
        (
            "no core files",
            rustix::process::setrlimit(
                Resource::Core,
                Rlimit {
                    current: Some(0),
                    maximum: Some(0),
                },
            ),
        ),
        ("no new privileges", rustix::thread::set_no_new_privs(true)),
    ];
    // Nothing that this process makes is for others; the socket's own mode is set before it is bound.
    rustix::process::umask(rustix::fs::Mode::RWXO);
    let protection = |(name, result): (&'static str, rustix::io::Result<()>)| Protection {
        name,
        refused: result.err().map(|why| why.to_string()),
    };
    measures.into_iter().map(protection).collect()
}
