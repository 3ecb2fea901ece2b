//! Landlock (landlock(7)): what is not ours cannot be reached, whoever has taken the process over.
//!
//! Rules stand on directories, so that a file which is renewed by renaming stays readable. What is away at the start, such
//! as a disk that is mounted later, must be found when it is back: the rule then stands one directory above what exists of
//! the way to it, since a rule on the directory that a mount hides does not count.
//!
//! *Why not a rule on `/etc` for the files by which names are looked up?* It would show the keys that lie below `/etc`.
//! Theirs are rules on the files: one that is replaced by another is out of reach until the next start.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest interface whose rights are known here; an older kernel gets what it knows (Linux 6.12 has it all).
const KNOWN: ABI = ABI::V6;

/// What getaddrinfo(3) reads, of glibc 2.36 and of musl, and what ld.so(8) reads to find a library.
const LOOKUP: [&str; 6] = [
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
];
/// Where it finds the libraries that nsswitch.conf(5) names beside files and DNS.
const LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];
/// An answer that does not fit a datagram comes by TCP (RFC 1035, section 4.2); UDP is not confined.
const DNS: u16 = 53;

/// What a server needs once it runs.
#[derive(Clone, Debug, Default)]
pub struct Confinement {
    /// Directories of the ring and its mirror: it makes, replaces and removes files in them.
    pub stores: Vec<PathBuf>,
    /// The directory of its socket: the same. Where it is removed it is made again, so in the one above it makes
    /// directories and sockets.
    pub socket: PathBuf,
    /// Files that it reads again, roots and certificates; what lies beside them it can read too.
    pub files: Vec<PathBuf>,
    /// Whether it reads and runs whatever its user can: `systemd-creds` opens a root outside a unit.
    pub runs_programs: bool,
    /// The TCP port on which it listens.
    pub port: Option<u16>,
    /// TCP ports to which it connects, etcd's, of whatever machine: Landlock knows no addresses.
    pub peers: Vec<u16>,
    /// Whether it looks up the names of hosts.
    pub looks_up_names: bool,
    /// Whether systemd is told by an abstract socket, unix(7): then it reaches every one.
    pub abstract_sockets: bool,
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
        files,
        ..
    } = confinement;
    let has_entries = |path: &Path| path.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    let (stores, away): (Vec<_>, Vec<_>) = stores.iter().partition(|path| has_entries(path));
    let (files, hidden): (Vec<_>, Vec<_>) = files.iter().partition(|path| path.exists());
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = vec![
        (socket.as_path(), writing()),
        (above(socket), AccessFs::MakeDir | AccessFs::MakeSock),
    ];
    rules.extend(stores.iter().map(|path| (path.as_path(), writing())));
    rules.extend(away.iter().map(|path| (above(nearest(path)), writing())));
    rules.extend(files.iter().map(|path| (above(path), reading)));
    rules.extend(hidden.iter().map(|path| (above(nearest(path)), reading)));
    if confinement.runs_programs {
        rules.push((Path::new("/"), AccessFs::from_read(KNOWN)));
    }
    let lookup: Vec<_> = match confinement.looks_up_names {
        true => LOOKUP.iter().map(|path| shown(Path::new(path))).collect(),
        false => Vec::new(),
    };
    if confinement.looks_up_names {
        rules.extend(LIBRARIES.map(|path| (Path::new(path), reading)));
    }
    rules.extend(lookup.iter().map(|path| (path.as_path(), readable(path))));
    Ok(Confined {
        status: restrict(&rules, confinement)?,
        away: away.into_iter().chain(hidden).cloned().collect(),
    })
}

fn restrict(
    rules: &[(&Path, BitFlags<AccessFs>)],
    confinement: &Confinement,
) -> Result<RulesetStatus, RulesetError> {
    let scopes = match confinement.abstract_sockets {
        true => Scope::Signal.into(),
        false => Scope::Signal | Scope::AbstractUnixSocket,
    };
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(scopes)?
        .create()?;
    let beneath = rules.iter().filter_map(|(path, rights)| {
        let directory = PathFd::new(path).ok()?;
        Some(Ok::<_, RulesetError>(PathBeneath::new(directory, *rights)))
    });
    let dns = confinement.looks_up_names.then_some(DNS);
    let listens = confinement
        .port
        .iter()
        .map(|port| NetPort::new(*port, AccessNet::BindTcp));
    let peers = confinement
        .peers
        .iter()
        .chain(&dns)
        .map(|port| NetPort::new(*port, AccessNet::ConnectTcp));
    let ports = listens.chain(peers).map(Ok::<_, RulesetError>);
    Ok(ruleset
        .add_rules(beneath)?
        .add_rules(ports)?
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

/// Where the rule for a file of the look-up stands: on the directory that a link leads to, where whoever makes the file
/// puts others into its place (resolv.conf of systemd-resolved or NetworkManager, which may come later); else on the
/// file alone.
fn shown(path: &Path) -> PathBuf {
    let Ok(link) = fs::read_link(path) else {
        return path.to_owned();
    };
    let target = fs::canonicalize(path).unwrap_or_else(|_| above(path).join(link));
    match fs::canonicalize(nearest(above(&target))) {
        // `/etc` and `/run` hold much else.
        Ok(directory) if directory.components().count() > 2 => directory,
        _ => target,
    }
}

/// A right that a rule on a file may give, or one on a directory.
fn readable(path: &Path) -> BitFlags<AccessFs> {
    match path.is_dir() {
        true => AccessFs::ReadFile | AccessFs::ReadDir,
        false => AccessFs::ReadFile.into(),
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::shown;

    #[test]
    fn a_file_of_the_look_up_stands_alone_unless_it_is_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(at("run/resolve")).unwrap();
        fs::write(at("hosts"), "").unwrap();
        fs::write(at("run/resolve/stub.conf"), "").unwrap();
        for (link, target) in [
            ("resolv.conf", "run/resolve/stub.conf"),
            ("later", "run/later/resolv.conf"),
            ("short", "/etc/hosts"),
            ("shorter", "/absent"),
        ] {
            symlink(target, at(link)).unwrap();
        }

        assert_eq!(shown(&at("hosts")), at("hosts"));
        assert_eq!(shown(&at("absent")), at("absent"));
        assert_eq!(shown(&at("resolv.conf")), at("run/resolve"));
        assert_eq!(shown(&at("later")), at("run"));
        assert_eq!(shown(&at("short")).to_str(), Some("/etc/hosts"));
        assert_eq!(shown(&at("shorter")).to_str(), Some("/absent"));
    }
}
