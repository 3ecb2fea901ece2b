//! What a confined server can reach, and what a start does where the kernel refuses to protect it.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;

use kekring::server::confine::{self, Confined, Confinement};
use kekring_kit::{Lacking, Missing};
use landlock::{RulesetError, RulesetStatus};

use crate::injected::Injected;
use crate::support::{PATIENCE, Plugin, scratch};

const REFUSED_LANDLOCK: &str = "landlock_create_ruleset:error=EOPNOTSUPP";

/// Somebody else removes the directory; that it is made again is up to us.
fn remade(dir: &Path) -> io::Result<()> {
    let again = dir.join("run-again");
    fs::create_dir(&again)?;
    UnixListener::bind(again.join("socket")).map(drop)
}

/// Everything that is tried, and how it went.
fn tries(
    dir: &Path,
    [free, peer, other]: [u16; 3],
    somebody: &SocketAddr,
) -> Vec<(&'static str, io::Result<()>)> {
    let ring = dir.join("ring");
    let (temporary, last) = (ring.join("temporary"), ring.join("gen-2"));
    vec![
        ("ours: make a file", fs::write(&temporary, "new")),
        ("ours: link it", fs::hard_link(&temporary, &last)),
        ("ours: remove it", fs::remove_file(&temporary)),
        ("ours: replace one", fs::rename(&last, ring.join("gen-1"))),
        ("ours: list", fs::read_dir(&ring).map(drop)),
        (
            "ours: make a socket",
            UnixListener::bind(dir.join("run/socket")).map(drop),
        ),
        ("ours: the socket's directory again", remade(dir)),
        (
            "ours: read a root",
            fs::read(dir.join("roots/root.key")).map(drop),
        ),
        ("ours: listen", TcpListener::bind(("127.0.0.1", free)).map(drop)),
        (
            "ours: connect to etcd's port",
            TcpStream::connect(("127.0.0.1", peer)).map(drop),
        ),
        // What Landlock does not see.
        (
            "ours: connect to somebody's socket in a directory",
            UnixStream::connect(dir.join("elsewhere")).map(drop),
        ),
        ("ours: send by UDP", send_by_udp()),
        (
            "else: connect to somebody's abstract socket",
            UnixStream::connect_addr(somebody).map(drop),
        ),
        (
            "else: write a root",
            fs::write(dir.join("roots/root.key"), "mine"),
        ),
        (
            "else: put a file beside it",
            fs::write(dir.join("roots/other"), "mine"),
        ),
        ("else: make a directory", fs::create_dir("/tmp/kekring-confined")),
        (
            "else: make a link out of it",
            std::os::unix::fs::symlink("/etc/passwd", ring.join("link")),
        ),
        ("else: read", File::open("/etc/passwd").map(drop)),
        ("else: list", fs::read_dir("/").map(drop)),
        ("else: write", fs::write(dir.join("outside"), "mine")),
        (
            "else: run a program",
            Command::new("/bin/true").status().map(drop),
        ),
        (
            "else: connect",
            TcpStream::connect(("127.0.0.1", other)).map(drop),
        ),
        (
            "else: listen elsewhere",
            TcpListener::bind(("127.0.0.1", 0)).map(drop),
        ),
    ]
}

fn send_by_udp() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let own = socket.local_addr()?;
    socket.send_to(b"any", own).map(drop)
}

/// An abstract socket of nobody who is confined. It ends with who holds it.
fn abstract_address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(format!("kekring-{name}-{}", std::process::id())).unwrap()
}

/// What a thread does that is confined; `meanwhile` somebody else, who is not, does something. Confinement is a thread's own.
fn confined<T: Send>(
    confinement: &Confinement,
    meanwhile: impl FnOnce(),
    then: impl FnOnce() -> T + Send,
) -> (Result<Confined, RulesetError>, T) {
    let (say, granted) = channel();
    std::thread::scope(|scope| {
        let (go_on, gone) = channel();
        let thread = scope.spawn(move || {
            let confined = confine::apply(confinement);
            say.send(()).unwrap();
            let _: Result<(), _> = gone.recv();
            (confined, then())
        });
        granted.recv().unwrap();
        meanwhile();
        drop(go_on);
        thread.join().unwrap()
    })
}

#[test]
fn a_confined_process_reaches_its_own_files_alone() -> Result<(), Missing> {
    let dir = scratch();
    for name in ["ring", "roots", "run"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("ring/gen-0"), "here").unwrap();
    let root = dir.path().join("roots/root.key");
    fs::write(&root, "first").unwrap();
    let somebody = abstract_address("somebody");
    let _abstract = UnixListener::bind_addr(&somebody).unwrap();
    let _in_a_directory = UnixListener::bind(dir.path().join("elsewhere")).unwrap();
    let listening = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [free, peer, other] = listening.each_ref().map(|it| it.local_addr().unwrap().port());
    let [unused, _peer, _other] = listening;
    drop(unused);
    let confinement = Confinement {
        stores: vec![dir.path().join("ring")],
        socket: dir.path().join("run"),
        files: vec![root.clone()],
        port: Some(free),
        peers: vec![peer],
        ..Confinement::default()
    };
    let renew = || {
        // A root that is renewed is another file under the same name.
        fs::write(dir.path().join("roots/new"), "second").unwrap();
        fs::rename(dir.path().join("roots/new"), &root).unwrap();
    };

    let ports = [free, peer, other];
    let (granted, tried) = confined(&confinement, renew, || tries(dir.path(), ports, &somebody));

    let fully = Confined {
        status: RulesetStatus::FullyEnforced,
        away: Vec::new(),
    };
    let enforced = granted.as_ref().is_ok_and(|it| *it == fully);
    enforced.or_needs(&format!("a kernel with all of Landlock: {granted:?}"))?;
    for (what, outcome) in tried {
        match outcome {
            Ok(()) => assert!(what.starts_with("ours"), "{what} went well"),
            Err(why) => {
                assert!(what.starts_with("else"), "{what}: {why}");
                assert_eq!(why.kind(), io::ErrorKind::PermissionDenied, "{what}: {why}");
            }
        }
    }
    assert_eq!(fs::read(root).unwrap(), b"second");
    Ok(())
}

#[test]
fn what_is_away_at_the_start_is_reached_when_it_is_back() -> Result<(), Missing> {
    let dir = scratch();
    let [disk, stick] = ["disk", "stick"].map(|name| dir.path().join(name));
    fs::create_dir(&disk).unwrap();
    let confinement = Confinement {
        stores: vec![disk.join("ring")],
        socket: dir.path().join("run"),
        files: vec![stick.join("root.key")],
        ..Confinement::default()
    };
    let (ring, root) = (disk.join("ring"), stick.join("root.key"));
    let mount = || {
        // As a mount does, other directories come into the place of those that were there.
        fs::remove_dir(&disk).unwrap();
        fs::create_dir_all(disk.join("ring")).unwrap();
        fs::create_dir(&stick).unwrap();
        fs::write(stick.join("root.key"), "key").unwrap();
    };

    let (granted, (written, read)) = confined(&confinement, mount, || {
        (fs::write(ring.join("gen-1"), "new"), fs::read(root))
    });

    let granted = granted.ok().or_needs("Landlock")?;
    assert_eq!(granted.away, [disk.join("ring"), stick.join("root.key")]);
    written.unwrap();
    assert_eq!(read.unwrap(), b"key");
    Ok(())
}

#[test]
#[needs(strace)]
fn a_refused_protection_is_named_and_serving_goes_on() {
    let plugin = Plugin::prepared("{}");
    let refusals = ["memfd_secret:error=ENOSYS", "mlock:error=EPERM", REFUSED_LANDLOCK];

    let injected = Injected::serve(&plugin, &refusals);

    let protections = injected.protections(&plugin);
    assert!(
        protections.contains("guarded memory: refused (memfd_secret: "),
        "{protections}"
    );
    assert!(protections.contains("landlock: refused ("), "{protections}");
    assert!(protections.contains("\"no new privileges\""), "{protections}");
}

#[test]
#[needs(strace)]
fn where_hardening_is_required_a_refused_protection_stops_the_start() {
    let plugin = Plugin::prepared("{hardening: require}");
    let before = fs::read_dir(plugin.dir.join("ring")).unwrap().count();

    for (refusals, name) in [
        (&[REFUSED_LANDLOCK][..], "landlock"),
        (
            &["memfd_secret:error=ENOSYS", "mlock:error=EPERM"],
            "guarded memory",
        ),
    ] {
        let output = Injected::output(&plugin, refusals);

        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{said}");
        let start = format!("error: cannot serve under hardening: require: {name}: refused (");
        assert!(said.starts_with(&start), "{said}");
        assert!(said.contains("\nhint: "), "{said}");
        assert!(!plugin.socket.exists());
    }
    assert_eq!(fs::read_dir(plugin.dir.join("ring")).unwrap().count(), before);
}

#[test]
fn where_hardening_is_required_a_kernel_that_grants_it_serves() {
    let mut plugin = Plugin::prepared("{hardening: require}");

    plugin.serve();

    let protections = plugin.json(&["status"])["nodes"][0]["protections"].to_string();
    assert!(!protections.contains("refused"), "{protections}");
}

/// It is told by a socket that the scope would keep it from, and serves confined all the same.
#[test]
fn systemd_is_told_by_an_abstract_socket_too() {
    let manager = abstract_address("manager");
    let told = UnixDatagram::bind_addr(&manager).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut plugin = Plugin::prepared("{}");
    let mut serve = plugin.command(&["serve"]);
    let name = manager.as_abstract_name().unwrap();
    serve.env("NOTIFY_SOCKET", format!("@{}", String::from_utf8_lossy(name)));

    plugin.spawn_as(serve);

    let mut message = [0; 4096];
    let length = told.recv(&mut message).expect("a message in time");
    let text = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(text.starts_with("READY=1\nSTATUS="), "{text}");
    plugin.wait_until_it_answers();
}
