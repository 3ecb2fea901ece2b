//! Landlock (landlock(7)): what is not ours cannot be reached, whoever has taken the process over.
//!
//! Rules stand on directories, so that a file which is renewed by renaming stays readable. A directory that does not exist
//! yet is covered by the nearest one above it that does.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest interface whose rights are known here; an older kernel gets what it knows (Linux 6.12 has it all).
const KNOWN: ABI = ABI::V6;

/// What a server needs once it runs.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// Directories in which it makes, replaces and removes files: the ring's, its mirror's, the socket's.
    pub writable: Vec<PathBuf>,
    /// Where it makes directories and sockets, and nothing else: a socket's directory that is removed is made again.
    pub bindable: Vec<PathBuf>,
    /// Directories in which it reads.
    pub readable: Vec<PathBuf>,
    /// Whether it reads and runs whatever its user can: `systemd-creds` opens a root outside a unit.
    pub runs_programs: bool,
    /// The TCP port on which it listens; connecting is never needed.
    pub port: Option<u16>,
}

/// Confines this thread and those that it starts; says how far the kernel went.
pub fn apply(confinement: &Confinement) -> Result<RulesetStatus, RulesetError> {
    Ok(restrict(confinement)?.ruleset)
}

fn restrict(confinement: &Confinement) -> Result<RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::Signal)?
        .create()?;
    let beneath = |paths: &[PathBuf], rights: BitFlags<AccessFs>| {
        let existing = paths.iter().filter_map(|path| PathFd::new(nearest(path)).ok());
        existing
            .map(|directory| Ok::<_, RulesetError>(PathBeneath::new(directory, rights)))
            .collect::<Vec<_>>()
    };
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let running = if confinement.runs_programs {
        vec![PathBuf::from("/")]
    } else {
        Vec::new()
    };
    let ports = confinement
        .port
        .map(|port| Ok::<_, RulesetError>(NetPort::new(port, AccessNet::BindTcp)));
    ruleset
        .add_rules(beneath(&confinement.writable, writing()))?
        .add_rules(beneath(
            &confinement.bindable,
            AccessFs::MakeDir | AccessFs::MakeSock,
        ))?
        .add_rules(beneath(&confinement.readable, reading))?
        .add_rules(beneath(&running, AccessFs::from_read(KNOWN)))?
        .add_rules(ports)?
        .restrict_self()
}

/// Files and sockets; no device, no program, no directory, no link out of here.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeSock
        | AccessFs::RemoveFile
}

/// `path`, or what exists of the way to it.
fn nearest(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
}
