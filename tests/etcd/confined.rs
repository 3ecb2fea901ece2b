//! What a client reaches from a process that is confined as a server is: its etcd, its files, and nothing else.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;

use kekring::config::{Config, EtcdStore, Store};
use kekring::etcd::{Client, Endpoint, EtcdError, Identity, Range};
use kekring::server::confine::{self, Confinement};
use kekring_kit::Missing;
use landlock::RulesetStatus;

use crate::cluster::{Cluster, LONG, key};

/// What a server of this store reaches: the ports, the files, and what it takes to look names up.
fn confinement(etcd: &EtcdStore) -> Confinement {
    let endpoints = etcd.client().unwrap().endpoints;
    Confinement {
        files: etcd.files().into_iter().map(Path::to_owned).collect(),
        peers: endpoints.iter().map(Endpoint::port).collect(),
        looks_up_names: endpoints.iter().any(Endpoint::is_named),
        ..Confinement::default()
    }
}

/// As the parser reads it.
fn configured(dir: &Path, etcd: &str) -> EtcdStore {
    let text = format!(
        "{{apiVersion: kekring/v1alpha1, kind: Configuration, node: {{name: cp-1}}, \
         ring: {{store: {{etcd: {etcd}}}, roots: [{{file: {{path: /a}}}}]}}}}"
    );
    let file = dir.join("config.yaml");
    fs::write(&file, text).unwrap();
    match Config::load(&file).unwrap().ring.store {
        Store::Etcd(etcd) => etcd,
        Store::File { .. } => panic!("a ring on etcd"),
    }
}

/// What a thread does that is confined. Confinement is a thread's own, and that of those that it starts.
fn confined<T: Send>(confinement: &Confinement, then: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let granted = confine::apply(confinement).unwrap();
            assert_eq!(granted.status, RulesetStatus::FullyEnforced);
            then()
        });
        thread.join().unwrap()
    })
}

/// Whether this kernel can confine a server.
pub fn kernel() -> Result<(), Missing> {
    let granted = std::thread::spawn(|| confine::apply(&Confinement::default()));
    match granted.join().unwrap() {
        Ok(granted) if granted.status == RulesetStatus::FullyEnforced => Ok(()),
        other => Err(Missing::Tool(format!("a kernel with all of Landlock: {other:?}"))),
    }
}

fn refused<T>(tried: io::Result<T>) -> bool {
    tried.is_err_and(|why| why.kind() == ErrorKind::PermissionDenied)
}

/// Whether a port of this machine may be connected to; nobody needs to listen there.
fn may_connect(port: u16) -> bool {
    !refused(TcpStream::connect(("127.0.0.1", port)))
}

pub fn a_confined_client_reaches_etcd_by_name_and_no_other_port() {
    let cluster = Cluster::plain();
    let by_address = cluster.url(0).to_owned();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = other.local_addr().unwrap().port();

    for (url, named) in [(&by_address, false), (&by_name, true)] {
        let etcd = configured(cluster.dir(), &format!("{{endpoints: [{url}]}}"));

        let (read, others) = confined(&confinement(&etcd), || {
            let client = Client::new(etcd.client().unwrap()).unwrap();
            let read = client.range(&Range::of(key("/x")), LONG);
            let hosts = fs::read("/etc/hosts").is_ok();
            (read, (may_connect(other), may_connect(53), hosts))
        });

        read.unwrap();
        assert_eq!(others, (false, named, named), "{url}");
    }
}

pub fn a_confined_process_that_looks_names_up_reads_what_that_takes_and_no_more() {
    let confinement = Confinement {
        looks_up_names: true,
        ..Confinement::default()
    };
    let library = library();

    let (needed, nothing_else) = confined(&confinement, || {
        let needed =
            ["/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"].map(|path| fs::read(path).map(drop));
        let library = fs::File::open(library).map(drop);
        let else_ = [
            fs::read("/etc/passwd").map(drop),
            fs::read_dir("/etc").map(drop),
            fs::write("/etc/hosts", "").map(drop),
            fs::read("/proc/self/environ").map(drop),
            TcpListener::bind("127.0.0.1:0").map(drop),
        ];
        (needed.into_iter().chain([library]).collect::<Vec<_>>(), else_)
    });

    for tried in needed {
        // Not every machine has each of them.
        assert!(!refused(tried));
    }
    for tried in nothing_else {
        assert!(refused(tried));
    }
}

/// A library that this very program was started with.
fn library() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libraries = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let mut libraries = libraries.filter(|path| path.contains("/libc.so"));
    libraries.next().expect("the C library").into()
}

/// As renewals do: others, renamed into their place.
fn install(pki: &Path, identity: &Identity) {
    for (name, from) in [("node.pem", &identity.cert), ("node.key", &identity.key)] {
        fs::copy(from, pki.join("unfinished")).unwrap();
        fs::rename(pki.join("unfinished"), pki.join(name)).unwrap();
    }
}

pub fn a_confined_client_uses_a_renewed_certificate_and_reads_its_neighbours_alone() {
    let cluster = Cluster::secure(1);
    let authority = cluster.authority.as_ref().unwrap();
    let [pki, secrets, elsewhere] = ["pki", "secrets", "elsewhere"].map(|name| cluster.dir().join(name));
    for dir in [&pki, &secrets, &elsewhere] {
        fs::create_dir(dir).unwrap();
        fs::write(dir.join("password"), "hunter2").unwrap();
        fs::set_permissions(dir.join("password"), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::copy(cluster.tls().ca, pki.join("ca.pem")).unwrap();
    install(&pki, &authority.sign_until("expired", &["client"], 2021));
    let (url, shown) = (cluster.url(0).replace("127.0.0.1", "localhost"), pki.display());
    let etcd = configured(
        cluster.dir(),
        &format!(
            "{{endpoints: [{url}], tls: {{ca: {shown}/ca.pem, cert: {shown}/node.pem, key: {shown}/node.key}}, \
             user: {{name: kekring, passwordFile: {}/password}}}}",
            secrets.display()
        ),
    );
    let ((say_expired, expired), (say_renewed, renewed)) = (channel(), channel());

    let (before, after, passwords) = std::thread::scope(|scope| {
        let (pki, authority) = (&pki, authority);
        scope.spawn(move || {
            let () = expired.recv().unwrap();
            install(pki, &authority.sign("renewed", &["client"]));
            say_renewed.send(()).unwrap();
        });
        let passwords = [pki, &secrets, &elsewhere].map(|dir| dir.join("password"));
        let (reach, etcd) = (confinement(&etcd), &etcd);
        confined(&reach, move || {
            let client = Client::new(etcd.client().unwrap()).unwrap();
            let read = || client.range(&Range::of(key("/x")), LONG);
            let before = read();
            say_expired.send(()).unwrap();
            let () = renewed.recv().unwrap();
            (before, read(), passwords.map(fs::read))
        })
    });

    assert!(matches!(before, Err(EtcdError::Denied(_))), "{before:?}");
    after.unwrap();
    let [beside, ours, elsewhere] = passwords;
    assert!(beside.is_ok() && ours.is_ok() && refused(elsewhere));
}
