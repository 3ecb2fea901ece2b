//! What is known of a change that went wrong.

use std::time::{Duration, Instant};

use kekring::etcd::{EtcdError, Range, WITHIN};

use crate::cluster::{Cluster, LONG, client, key, local};
use crate::keys::{always, put};
use crate::proxy::{Fault, Proxy};
use crate::wait::{SOON, wait_for};

const MARKER: &[u8] = b"sealed-marker";
/// More than this beyond its time is too late, on a machine with much else to do.
pub const LATE: Duration = Duration::from_secs(1);

pub fn a_change_whose_answer_is_lost_is_unknown_and_is_sent_once() {
    let cluster = Cluster::plain();
    let direct = cluster.client();

    for (fault, happens) in [
        (Fault::LoseAnswers, true),
        (Fault::CutAfter, true),
        (Fault::CutBefore, false),
    ] {
        let proxy = Proxy::start(cluster.url(0), MARKER);
        // A second way to etcd: a client that repeated the change would find it.
        let broken = client(&[&proxy.url(), cluster.url(0)], None, None);
        proxy.set(fault);
        let name = format!("/{fault:?}");
        let within = Duration::from_secs(3);

        let started = Instant::now();
        let unknown = broken
            .txn(always(put(&name, "sealed-marker")), within)
            .unwrap_err();

        assert!(
            started.elapsed() < within + LATE,
            "{fault:?}: {:?}",
            started.elapsed()
        );
        assert!(
            matches!(&unknown, EtcdError::Unknown(why) if why.contains(&name)
                && why.contains(&proxy.url()) && !why.contains("sealed")),
            "{fault:?}: {unknown}"
        );
        assert_eq!(proxy.seen(), 1, "{fault:?}");
        if happens {
            wait_for("etcd to have done it", SOON, || {
                let found = direct.range(&Range::of(key(&name)), LONG).unwrap();
                found.kvs.first().map(|kv| assert_eq!(kv.version, 1))
            });
        } else {
            assert_eq!(direct.range(&Range::of(key(&name)), LONG).unwrap().count, 0);
        }
        // Reads go on by the other way, and the client is none the worse.
        assert!(broken.range(&Range::of(key(&name)), LONG).is_ok());
        proxy.set(Fault::None);
        assert!(broken.txn(always(put("/after", "x")), LONG).unwrap().succeeded);
    }
}

pub fn a_change_that_never_left_is_made_by_another_member() {
    let cluster = Cluster::plain();
    let proxy = Proxy::start(cluster.url(0), MARKER);
    let write = |name: &str| always(put(name, "sealed-marker"));

    // It took connections and answered until a moment ago.
    let alone = client(&[&proxy.url()], None, None);
    let both = client(&[&proxy.url(), cluster.url(0)], None, None);
    for client in [&alone, &both] {
        assert!(client.txn(always(put("/before", "x")), LONG).unwrap().succeeded);
    }
    proxy.set(Fault::Silent);
    // In the second after an answer nobody can know.
    let quiet = Instant::now();
    wait_for("the last answer to be a second old", SOON, || {
        (quiet.elapsed() > Duration::from_millis(1100)).then_some(())
    });

    let within = Duration::from_millis(800);
    let started = Instant::now();
    let unavailable = alone.txn(write("/silent"), within).unwrap_err();
    assert!(started.elapsed() < within + LATE, "{:?}", started.elapsed());
    assert!(
        matches!(&unavailable, EtcdError::Unavailable(why) if why.contains("change /silent")
            && why.contains(&proxy.url()) && why.contains("in time")),
        "{unavailable}"
    );
    assert!(both.txn(write("/both"), LONG).unwrap().succeeded);
    assert_eq!(proxy.seen(), 0);
    let found = both.range(&Range::of(key("/both")), LONG).unwrap();
    assert_eq!(found.kvs[0].version, 1);
    assert_eq!(both.range(&Range::of(key("/silent")), LONG).unwrap().count, 0);

    // Nobody listens.
    let nobody = client(&["http://127.0.0.1:1"], None, None);
    let unavailable = nobody
        .txn(write("/nobody"), Duration::from_millis(200))
        .unwrap_err();
    assert!(
        matches!(&unavailable, EtcdError::Unavailable(why) if why.contains("http://127.0.0.1:1")
            && why.contains("refused")),
        "{unavailable}"
    );
}

pub fn a_connection_that_died_in_silence_is_replaced_within_the_call() {
    let cluster = Cluster::plain();
    let proxy = Proxy::start(cluster.url(0), MARKER);
    let client = client(&[&proxy.url()], None, None);
    let die = || {
        client.range(&Range::of(key("/x")), LONG).unwrap();
        proxy.set(Fault::SilentOld);
        // One call may be lost to it: the connection was good a moment ago.
        let _ = client.range(&local(key("/x")), Duration::from_millis(300));
    };

    die();
    client.range(&Range::of(key("/x")), WITHIN).unwrap();
    die();
    client.range(&local(key("/x")), WITHIN).unwrap();
    die();
    assert!(
        client
            .txn(always(put("/x", "sealed-marker")), WITHIN)
            .unwrap()
            .succeeded
    );
    assert_eq!(proxy.seen(), 1);
}
