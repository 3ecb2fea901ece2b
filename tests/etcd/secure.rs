//! Certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use kekring::etcd::{EtcdError, Range, TlsFiles};

use crate::certificates::{Authority, files};
use crate::cluster::{Cluster, LONG, client, key};
use crate::outcome::LATE;
use crate::proxy::Proxy;

fn denied(url: &str, tls: TlsFiles) -> String {
    let started = Instant::now();
    let denied = client(&[url], Some(tls), None)
        .range(&Range::of(key("/x")), LONG)
        .unwrap_err();
    // Waiting mends none of it.
    assert!(started.elapsed() < Duration::from_secs(5) + LATE);
    assert!(
        matches!(&denied, EtcdError::Denied(why) if why.contains("read /x") && why.contains(url)),
        "{denied}"
    );
    denied.to_string()
}

pub fn certificates_that_do_not_fit_are_denied_with_what_to_do() {
    let cluster = Cluster::secure(1);
    let authority = cluster.authority.as_ref().unwrap();
    let other = Authority::new(cluster.dir(), "other");
    let good = cluster.tls();
    let url = cluster.url(0);

    // Theirs.
    let why = denied(url, files(other.ca_of("other"), good.identity.clone()));
    assert!(
        why.contains("UnknownIssuer") && why.contains("other.ca.pem"),
        "{why}"
    );
    // etcd listens on one address; from another one a wire leads there.
    let wire = Proxy::start_at("127.0.0.2", url, b"no marker");
    let why = denied(&wire.url().replace("http:", "https:"), good.clone());
    assert!(why.contains("names this host"), "{why}");
    let wire = Proxy::start(url, b"no marker");
    let by_name = wire.url().replace("http://127.0.0.1", "https://localhost");
    let named = client(&[&by_name], Some(good.clone()), None);
    named.range(&Range::of(key("/x")), LONG).unwrap();

    // Ours.
    let expired = authority.sign_until("expired", &["client"], 2021);
    let why = denied(url, files(good.ca.clone(), Some(expired)));
    assert!(
        why.contains("expired.pem") && why.contains("has not expired"),
        "{why}"
    );
    let stranger = other.sign("stranger", &["client"]);
    let why = denied(url, files(good.ca.clone(), Some(stranger)));
    assert!(why.contains("stranger.pem"), "{why}");
    let why = denied(url, files(good.ca.clone(), None));
    assert!(why.contains("no client certificate"), "{why}");

    // Files that are not what they should be.
    let identity = good.identity.clone().unwrap();
    let why = denied(
        url,
        files(cluster.dir().join("absent.pem"), good.identity.clone()),
    );
    assert!(why.contains("absent.pem"), "{why}");
    let why = denied(url, files(identity.key.clone(), good.identity.clone()));
    assert!(why.contains("holds no certificate"), "{why}");
    let open = authority.sign("open", &["client"]);
    fs::set_permissions(&open.key, fs::Permissions::from_mode(0o644)).unwrap();
    let why = denied(url, files(good.ca.clone(), Some(open.clone())));
    assert!(why.contains("chmod 0600"), "{why}");
    let mut mixed = authority.sign("mixed", &["client"]);
    mixed.key = identity.key;
    let why = denied(url, files(good.ca, Some(mixed)));
    assert!(why.contains("renewed together"), "{why}");
}

pub fn a_certificate_that_is_renewed_on_disk_is_used_without_a_restart() {
    let cluster = Cluster::secure(1);
    let authority = cluster.authority.as_ref().unwrap();
    let expired = authority.sign_until("node", &["client"], 2021);
    let client = client(
        &[cluster.url(0)],
        Some(files(cluster.tls().ca, Some(expired.clone()))),
        None,
    );
    let read = |within| client.range(&Range::of(key("/x")), within);

    let denied = read(LONG).unwrap_err();
    assert!(matches!(denied, EtcdError::Denied(_)), "{denied}");
    let renewed = authority.sign("node", &["client"]);
    assert_eq!(renewed.cert, expired.cert);
    read(LONG).unwrap();

    // Half a renewal changes nothing, and neither does a file that is away for a moment.
    let whole = fs::read(&renewed.key).unwrap();
    let another = authority.sign("another", &["client"]);
    fs::write(&renewed.key, fs::read(&another.key).unwrap()).unwrap();
    read(LONG).unwrap();
    fs::remove_file(&renewed.key).unwrap();
    read(LONG).unwrap();
    fs::write(&renewed.key, whole).unwrap();
    fs::set_permissions(&renewed.key, fs::Permissions::from_mode(0o600)).unwrap();
    read(LONG).unwrap();

    // A connection that was made with the old files is not used any more.
    authority.sign_until("node", &["client"], 2021);
    let denied = read(LONG).unwrap_err();
    assert!(matches!(denied, EtcdError::Denied(_)), "{denied}");
}
