//! What keeps the process's memory to itself. Applied before the first thread starts; `status` says what is in force.

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Applies what the kernel grants and names it; a refusal is named too, and never stops a start.
pub(super) fn apply() -> Vec<String> {
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
    let shown = |(name, result): &(&str, rustix::io::Result<()>)| match result {
        Ok(()) => (*name).to_owned(),
        Err(why) => format!("{name}: refused ({why})"),
    };
    measures.iter().map(shown).collect()
}
