//! Sizes.

use kekring::etcd::{EtcdError, LeaseId, MAX_REQUEST, Op, Range, Span, Txn};

use crate::cluster::{Cluster, LONG, key, prefix};
use crate::keys::{always, put};

pub fn what_is_too_large_is_refused_on_either_side() {
    let cluster = Cluster::plain();
    let client = cluster.client();
    let write = |name: &str, bytes: usize| {
        let op = Op::Put {
            key: key(name),
            value: vec![b'x'; bytes],
            lease: LeaseId(0),
        };
        client.txn(always(op), LONG)
    };

    // The largest that goes, and one above.
    write("/big/0", MAX_REQUEST - 100).unwrap();
    let refused = write("/big/1", MAX_REQUEST).unwrap_err();
    assert!(
        matches!(&refused, EtcdError::TooLarge(why) if why.contains("/big/1") && why.contains("1.5 MiB")),
        "{refused}"
    );

    // More together than one answer may be, and fewer at a time.
    for it in 2..8 {
        write(&format!("/big/{it}"), 1_400_000).unwrap();
    }
    let refused = client.range(&Range::of(prefix("/big/")), LONG).unwrap_err();
    assert!(
        matches!(&refused, EtcdError::TooLarge(why) if why.contains("/big/") && why.contains("fewer keys")),
        "{refused}"
    );
    let page = Range {
        limit: 5,
        ..Range::of(prefix("/big/"))
    };
    assert_eq!(client.range(&page, LONG).unwrap().count, 7);
    // A change is done by then.
    let both = Txn {
        then: vec![put("/small", "x"), Op::Get(Range::of(prefix("/big/")))],
        ..Txn::default()
    };
    let unknown = client.txn(both, LONG).unwrap_err();
    assert!(matches!(unknown, EtcdError::Unknown(_)), "{unknown}");
    assert_eq!(client.range(&Range::of(key("/small")), LONG).unwrap().count, 1);

    // An etcd that takes less.
    let small = Cluster::plain_with(&["--max-request-bytes=10000"]);
    let refused = small
        .client()
        .txn(always(put("/a", &"x".repeat(20_000))), LONG)
        .unwrap_err();
    assert!(
        matches!(&refused, EtcdError::TooLarge(why) if why.contains("--max-request-bytes")),
        "{refused}"
    );
}

pub fn more_operations_and_longer_names_than_there_may_be_are_not_sent() {
    let cluster = Cluster::plain();
    let client = cluster.client();

    let many = Txn {
        then: (0..129).map(|it| put(&format!("/many/{it}"), "x")).collect(),
        ..Txn::default()
    };
    let refused = client.txn(many, LONG).unwrap_err();
    assert!(
        matches!(&refused, EtcdError::TooLarge(why) if why.contains("128")),
        "{refused}"
    );
    for name in [String::new(), "/".repeat(1025)] {
        assert!(matches!(Span::key(name.clone()), Err(EtcdError::Config(_))));
        assert!(matches!(Span::prefix(name), Err(EtcdError::Config(_))));
    }
    let refused = client
        .txn(
            always(Op::Put {
                key: prefix("/a"),
                value: Vec::new(),
                lease: LeaseId(0),
            }),
            LONG,
        )
        .unwrap_err();
    assert!(matches!(refused, EtcdError::Config(_)), "{refused}");
}
