//! Leases.

use std::time::Duration;

use kekring::etcd::{LeaseId, Op, Range};

use crate::cluster::{Cluster, LONG, key};
use crate::keys::always;
use crate::wait::{SOON, wait_for};

pub fn a_lease_ends_with_its_keys_unless_it_is_kept_alive() {
    let cluster = Cluster::plain();
    let client = cluster.client();
    let hang = |name: &str, lease| {
        let op = Op::Put {
            key: key(name),
            value: b"here".to_vec(),
            lease,
        };
        client.txn(always(op), LONG).unwrap();
    };
    let is_there = |name: &str| !client.range(&Range::of(key(name)), LONG).unwrap().kvs.is_empty();

    let short = client.lease_grant(Duration::from_secs(2), LONG).unwrap();
    let kept = client.lease_grant(Duration::from_secs(2), LONG).unwrap();
    let revoked = client.lease_grant(Duration::from_secs(600), LONG).unwrap();
    for (name, lease) in [("/short", &short), ("/kept", &kept), ("/revoked", &revoked)] {
        hang(name, lease.id);
    }
    let detail = client.lease_detail(revoked.id, LONG).unwrap().unwrap();
    assert_eq!(detail.keys, [b"/revoked".to_vec()]);
    assert_eq!(detail.granted, Duration::from_secs(600));
    assert!(detail.lease.left > Duration::from_secs(500), "{detail:?}");
    let found = client.range(&Range::of(key("/revoked")), LONG).unwrap();
    assert_eq!(found.kvs[0].lease, revoked.id);

    wait_for("the short lease to end", SOON, || {
        let alive = client.lease_keep_alive_once(kept.id, LONG).unwrap();
        assert!(alive.is_some_and(|lease| lease.left >= Duration::from_secs(2)));
        (!is_there("/short")).then_some(())
    });
    assert!(is_there("/kept") && is_there("/revoked"));

    assert!(client.lease_revoke(revoked.id, LONG).unwrap());
    assert!(!is_there("/revoked"));
    for ended in [short.id, revoked.id, LeaseId(12345)] {
        assert!(!client.lease_revoke(ended, LONG).unwrap());
        assert_eq!(client.lease_keep_alive_once(ended, LONG).unwrap(), None);
        assert_eq!(client.lease_detail(ended, LONG).unwrap(), None);
    }
}
