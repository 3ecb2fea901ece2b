//! Landlock (landlock(7)): what is not ours cannot be reached, whoever has taken the process over.
//!
//! Rules stand on directories, so that a file which is renewed by renaming stays readable. What is away at the start, such
//! as a disk that is mounted later, must be found when it is back: the rule then stands one directory above what exists of
//! the way to it, since a rule on the directory that a mount hides does not count.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest interface whose rights are known here; an older kernel gets what it knows (Linux 6.12 has it all).
const KNOWN: ABI = ABI::V6;

/// What a server needs once it runs.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// Directories of the ring and its mirror: it makes, replaces and removes files in them.
    pub stores: Vec<PathBuf>,
    /// The directory of its socket: the same. Where it is removed it is made again, so in the one above it makes
    /// directories and sockets.
    pub socket: PathBuf,
    /// Files that it reads again; what lies beside them it can read too.
    pub roots: Vec<PathBuf>,
    /// Whether it reads and runs whatever its user can: `systemd-creds` opens a root outside a unit.
    pub runs_programs: bool,
    /// The TCP port on which it listens.
    pub port: Option<u16>,
    /// The TCP ports that it connects to: etcd's, where several nodes keep the ring.
    pub peers: Vec<u16>,
}

/// How far a process is confined.
#[derive(Debug, PartialEq, Eq)]
pub struct Confined {
    /// What of it this kernel knows.
    pub status: RulesetStatus,
    /// What was away, so that more can be reached.
    pub away: Vec<PathBuf>,
}

/// Confines this thread and those that it starts.
pub fn apply(confinement: &Confinement) -> Result<Confined, RulesetError> {
    let Confinement {
        stores,
        socket,
        roots,
        ..
    } = confinement;
    let has_entries = |path: &Path| path.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    let (stores, away): (Vec<_>, Vec<_>) = stores.iter().partition(|path| has_entries(path));
    let (roots, hidden): (Vec<_>, Vec<_>) = roots.iter().partition(|path| path.exists());
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = vec![
        (socket.as_path(), writing()),
        (above(socket), AccessFs::MakeDir | AccessFs::MakeSock),
    ];
    rules.extend(stores.iter().map(|path| (path.as_path(), writing())));
    rules.extend(away.iter().map(|path| (above(nearest(path)), writing())));
    rules.extend(roots.iter().map(|path| (above(path), reading)));
    rules.extend(hidden.iter().map(|path| (above(nearest(path)), reading)));
    if confinement.runs_programs {
        rules.push((Path::new("/"), AccessFs::from_read(KNOWN)));
    }
    Ok(Confined {
        status: restrict(&rules, confinement)?,
        away: away.into_iter().chain(hidden).cloned().collect(),
    })
}

fn restrict(
    rules: &[(&Path, BitFlags<AccessFs>)],
    confinement: &Confinement,
) -> Result<RulesetStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(Scope::Signal)?
        .create()?;
    let beneath = rules.iter().filter_map(|(path, rights)| {
        let directory = PathFd::new(path).ok()?;
        Some(Ok::<_, RulesetError>(PathBeneath::new(directory, *rights)))
    });
    let own = confinement.port.iter();
    let own = own.map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::BindTcp)));
    let peers = confinement.peers.iter();
    let peers = peers.map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp)));
    Ok(ruleset
        .add_rules(beneath)?
        .add_rules(own)?
        .add_rules(peers)?
        .restrict_self()?
        .ruleset)
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

fn above(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// `path`, or what exists of the way to it.
fn nearest(path: &Path) -> &Path {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
}
