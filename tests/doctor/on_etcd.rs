//! A ring on etcd, where etcd is away, hangs or lets nobody in; tests/ring_on_etcd has one that answers.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use kekring::etcd::{TlsFiles, Validity};
use serde_json::json;

use crate::certificates::Authority;
use crate::world::{Node, mode};

#[test]
fn an_etcd_that_is_away_or_hangs_is_named_in_time() {
    let node = Node::good();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();

    for endpoint in [
        "http://127.0.0.1:1".to_owned(),
        format!("http://127.0.0.1:{port}"),
    ] {
        node.configure(json!({"ring": {"mirror": null, "store": {"file": null, "etcd": {"endpoints": [endpoint], "localCopy": node.path("copy")}}}}));
        let started = Instant::now();

        let seen = node.doctor();

        assert_eq!(seen.code, 1);
        let finding = seen.finding("failure", "ring/etcd");
        assert!(finding.remedy.contains("see that etcd answers"), "{finding:?}");
        assert!(started.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn a_certificate_that_has_ended_is_named_and_so_is_a_key_that_everybody_can_use() {
    let node = Node::good();
    let authority = Authority::new(&node.plugin.dir, "authority");
    let ca = authority.ca_of("authority");
    let with = |cert: &std::path::Path, key: &std::path::Path| {
        node.configure(json!({"ring": {"mirror": null, "store": {"file": null, "etcd": {
            "endpoints": ["https://127.0.0.1:1"], "localCopy": node.path("copy"), "tls": {"ca": ca, "cert": cert, "key": key},
        }}}}));
        node.doctor()
    };
    let good = authority.sign("node", &["cp-1"]);
    let before = with(&good.cert, &good.key);
    before.finding("ok", "ring/etcd-certificate");
    before.finding("ok", "configuration/etcd-key");
    let ended = authority.sign_until("ended", &["cp-1"], 2025);

    let finding = with(&ended.cert, &ended.key).only(&before, "failure", "ring/etcd-certificate");

    assert!(
        finding.message.contains("expired") && finding.remedy.contains("deploy/etcd/README.md"),
        "{finding:?}"
    );
    mode(&good.key, 0o644);
    let seen = with(&good.cert, &good.key);
    let finding = seen.only(&before, "failure", "configuration/etcd-key");
    node.follow(&finding, "");
    with(&good.cert, &good.key).no_worse(&before);
    mode(&ca, 0o666);
    with(&good.cert, &good.key).only(&before, "failure", "configuration/etcd-file");
    mode(&ca, 0o644);
    // Another authority's: how long it is good for nobody here can say.
    let other = Authority::new(&node.plugin.dir, "other").sign("strange", &["cp-1"]);
    with(&other.cert, &other.key).only(&before, "skipped", "ring/etcd-certificate");
    fs::remove_file(&good.cert).unwrap();
    with(&good.cert, &good.key).finding("failure", "configuration/etcd-file");
}

#[test]
fn a_certificate_is_judged_now_and_in_a_month() {
    let dir = crate::support::scratch();
    let authority = Authority::new(dir.path(), "authority");
    let files = TlsFiles {
        ca: authority.ca_of("authority"),
        identity: Some(authority.sign_until("node", &["cp-1"], 2030)),
    };
    // 2030-01-01.
    let end = Duration::from_secs(1_893_456_000);
    let (day, month) = (Duration::from_secs(86_400), Duration::from_secs(30 * 86_400));

    assert_eq!(files.validity(end - month - day, end - day), Some(Validity::Good));
    assert_eq!(files.validity(end - day, end - day + month), Some(Validity::Soon));
    assert_eq!(files.validity(end + day, end + month), Some(Validity::Expired));
    let none = TlsFiles {
        identity: None,
        ..files
    };
    assert_eq!(none.validity(end, end), None);
}
