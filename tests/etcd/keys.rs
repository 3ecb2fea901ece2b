//! Keys of one member.

use kekring::etcd::{
    Compare, EtcdError, LeaseId, Op, OpAnswer, Range, Read, Relation, Revision, Target, Txn,
};
use serde_json::json;

use crate::cluster::{Cluster, LONG, key, local, names, prefix};

pub fn put(name: &str, value: &str) -> Op {
    Op::Put {
        key: key(name),
        value: value.into(),
        lease: LeaseId(0),
    }
}

/// Changes whatever is there.
pub fn always(op: Op) -> Txn {
    Txn {
        then: vec![op],
        ..Txn::default()
    }
}

pub fn a_transaction_changes_keys_only_where_they_are_as_they_were() {
    let cluster = Cluster::plain();
    let client = cluster.client();
    let create = |value: &str| Txn {
        compares: vec![Compare::absent(key("/ring/head"))],
        then: vec![put("/ring/head", value), put("/ring/gen/1", value)],
        otherwise: vec![Op::Get(Range::of(prefix("/ring/")))],
    };

    // Made once.
    let made = client.txn(create("first"), LONG).unwrap();
    assert!(made.succeeded);
    assert_eq!(made.answers, [OpAnswer::Put, OpAnswer::Put]);
    let again = client.txn(create("second"), LONG).unwrap();
    assert!(!again.succeeded);
    let [OpAnswer::Found(found)] = again.answers.as_slice() else {
        panic!("{again:?}")
    };
    assert_eq!(names(found), ["/ring/gen/1", "/ring/head"]);
    let head = &found.kvs[1];
    assert_eq!(
        (head.value.as_slice(), head.version, head.mod_revision),
        (b"first".as_slice(), 1, made.revision)
    );
    assert_eq!(found.cluster_id, made.cluster_id);

    // Changed by one of two who read the same.
    let change = |value: &str| Txn {
        compares: vec![Compare::unchanged(key("/ring/head"), head.mod_revision)],
        then: vec![put("/ring/head", value)],
        otherwise: Vec::new(),
    };
    assert!(client.txn(change("mine"), LONG).unwrap().succeeded);
    let lost = client.txn(change("theirs"), LONG).unwrap();
    assert!(!lost.succeeded && lost.answers.is_empty());

    // And taken away.
    let gone = client.txn(always(Op::Delete(prefix("/ring/"))), LONG).unwrap();
    assert_eq!(gone.answers, [OpAnswer::Deleted(2)]);
    assert!(
        client
            .range(&Range::of(prefix("/ring/")), LONG)
            .unwrap()
            .kvs
            .is_empty()
    );
}

pub fn a_comparison_of_a_prefix_holds_for_every_key_that_is_there() {
    let cluster = Cluster::plain();
    let client = cluster.client();
    let made = client.txn(always(put("/ring/head", "mine")), LONG).unwrap();
    client.txn(always(put("/ring/gen/1", "x")), LONG).unwrap();
    let compare = |relation, target| Compare {
        span: prefix("/ring/"),
        relation,
        target,
    };
    for (compares, holds) in [
        (
            vec![compare(Relation::Less, Target::ModRevision(Revision(1000)))],
            true,
        ),
        (
            vec![compare(Relation::Equal, Target::ModRevision(made.revision))],
            false,
        ),
        (vec![compare(Relation::Greater, Target::Version(0))], true),
        (vec![Compare::absent(prefix("/ring/"))], false),
        (vec![Compare::absent(prefix("/other/"))], true),
        (
            vec![compare(Relation::NotEqual, Target::Value(b"y".to_vec()))],
            true,
        ),
        (vec![compare(Relation::Equal, Target::Lease(LeaseId(0)))], true),
        (
            vec![Compare::equal(key("/ring/head"), Target::Value(b"mine".to_vec()))],
            true,
        ),
    ] {
        let text = format!("{compares:?}");
        let txn = Txn {
            compares,
            then: vec![Op::Get(local(key("/ring/head")))],
            otherwise: Vec::new(),
        };
        assert_eq!(client.txn(txn, LONG).unwrap().succeeded, holds, "{text}");
    }
}

pub fn what_etcd_does_not_do_is_refused_and_names_the_key() {
    let cluster = Cluster::plain();
    let client = cluster.client();

    let twice = Txn {
        then: vec![put("/a", "1"), put("/a", "2")],
        ..Txn::default()
    };
    let refused = client.txn(twice, LONG).unwrap_err();
    assert!(
        matches!(&refused, EtcdError::Refused(why) if why.contains("duplicate key") && why.contains("change /a")),
        "{refused}"
    );
    let missing = Op::Put {
        key: key("/a"),
        value: b"hunter2".to_vec(),
        lease: LeaseId(77),
    };
    let refused = client.txn(always(missing), LONG).unwrap_err();
    assert!(
        matches!(&refused, EtcdError::NoLease(why) if !why.contains("hunter2")),
        "{refused}"
    );
}

pub fn keys_come_in_pages_and_as_they_were() {
    let cluster = Cluster::plain();
    let client = cluster.client();
    let mut revisions = Vec::new();
    for name in ["/k/c", "/k/a", "/k/b", "/kz", "/k/d", "/l"] {
        revisions.push(client.txn(always(put(name, name)), LONG).unwrap().revision);
    }

    // In pages, keys only.
    let mut span = prefix("/k/");
    let mut pages = Vec::new();
    loop {
        let range = Range {
            limit: 3,
            keys_only: true,
            ..Range::of(span.clone())
        };
        let found = client.range(&range, LONG).unwrap();
        assert!(found.kvs.iter().all(|kv| kv.value.is_empty()));
        pages.push(names(&found));
        let Some(last) = found.kvs.last().filter(|_| found.more) else {
            break;
        };
        span = span.after(&last.key);
    }
    assert_eq!(pages, [vec!["/k/a", "/k/b", "/k/c"], vec!["/k/d"]]);

    // One member's word, and the past.
    let range = local(prefix("/k/"));
    assert_eq!(client.range(&range, LONG).unwrap().count, 4);
    let then = Range {
        at: Some(revisions[1]),
        ..Range::of(prefix("/k/"))
    };
    let found = client.range(&then, LONG).unwrap();
    assert_eq!(names(&found), ["/k/a", "/k/c"]);
    assert_eq!(found.revision, revisions[5]);
    assert_eq!(found.kvs[1].create_revision, revisions[0]);
    assert_eq!(found.kvs[1].value, b"/k/c");

    // The past goes.
    cluster.gateway(
        "kv/compaction",
        None,
        &json!({"revision": revisions[4].0, "physical": true}),
    );
    for at in [revisions[1], Revision(revisions[5].0 + 1000)] {
        let range = Range {
            at: Some(at),
            ..Range::of(prefix("/k/"))
        };
        let gone = client.range(&range, LONG).unwrap_err();
        assert!(
            matches!(&gone, EtcdError::Compacted(why) if why.contains("/k/") && why.contains(cluster.url(0))),
            "{gone}"
        );
    }
    assert_eq!(Range::of(key("/k/a")).read, Read::Linearizable);
}
