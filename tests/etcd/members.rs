//! Three members, some of them away.

use std::time::{Duration, Instant};

use kekring::etcd::{EtcdError, Range, WITHIN};

use crate::cluster::{Cluster, LONG, key, local};
use crate::keys::{always, put};
use crate::outcome::LATE;
use crate::wait::{SOON, wait_for};

pub fn a_frozen_member_costs_a_share_of_the_time_and_no_call() {
    let mut cluster = Cluster::secure(3);
    let leader = leader(&cluster);
    let follower = (leader + 1) % 3;
    let client = cluster.client_of(&[follower, leader, (leader + 2) % 3]);
    client.txn(always(put("/x", "1")), LONG).unwrap();

    cluster.freeze(follower);
    // It answered a moment ago, so that the read is sent to it; then another member is asked.
    let read = client.range(&Range::of(key("/x")), 3 * WITHIN).unwrap();
    assert_eq!(read.kvs[0].value, b"1");
    // From now on that one is first.
    let started = Instant::now();
    for it in 0..10 {
        let value = it.to_string();
        client.txn(always(put("/x", &value)), WITHIN).unwrap();
    }
    assert!(started.elapsed() < WITHIN, "{:?}", started.elapsed());
    cluster.thaw(follower);

    // A member that is killed costs nothing.
    cluster.kill(follower);
    let fresh = cluster.client_of(&[follower, leader]);
    assert!(fresh.txn(always(put("/x", "last")), WITHIN).unwrap().succeeded);
    cluster.run(follower);
    cluster.wait_until_ready();
    let back = cluster.client_of(&[follower]);
    assert_eq!(
        back.range(&Range::of(key("/x")), LONG).unwrap().kvs[0].value,
        b"last"
    );
}

pub fn without_a_quorum_every_call_ends_in_time_and_says_so() {
    let cluster = Cluster::secure(3);
    let leader = leader(&cluster);
    let (second, third) = ((leader + 1) % 3, (leader + 2) % 3);
    let client = cluster.client_of(&[leader, second, third]);
    client.txn(always(put("/x", "1")), LONG).unwrap();
    cluster.freeze(second);
    cluster.freeze(third);

    // As long as the last one believes that it leads, it takes changes, and nobody knows what becomes of them.
    let started = Instant::now();
    let read = client.range(&Range::of(key("/x")), WITHIN).unwrap_err();
    assert!(started.elapsed() < WITHIN + LATE, "{:?}", started.elapsed());
    assert!(
        matches!(&read, EtcdError::NoQuorum(why) if why.contains("read /x")),
        "{read}"
    );
    let alone = cluster.client_of(&[leader]);
    let read = wait_for("the last member to know that it leads nobody", SOON, || {
        let read = alone.range(&Range::of(key("/x")), WITHIN).unwrap_err();
        assert!(matches!(read, EtcdError::NoQuorum(_)), "{read}");
        read.to_string().contains("no leader").then_some(read)
    });
    assert!(read.to_string().contains(cluster.url(leader)), "{read}");

    // Then a change is not even sent.
    let started = Instant::now();
    let write = client.txn(always(put("/x", "2")), WITHIN).unwrap_err();
    assert!(started.elapsed() < WITHIN + LATE, "{:?}", started.elapsed());
    assert!(
        matches!(&write, EtcdError::NoQuorum(why) if why.contains("change /x") && why.contains("no leader")),
        "{write}"
    );
    let lease = client.lease_grant(Duration::from_secs(60), WITHIN).unwrap_err();
    assert!(matches!(lease, EtcdError::NoQuorum(_)), "{lease}");
    // What one member knows is there all the time.
    let known = client.range(&local(key("/x")), WITHIN).unwrap();
    assert_eq!(known.kvs[0].value, b"1");

    cluster.thaw(second);
    cluster.thaw(third);
    wait_for("a quorum", 2 * SOON, || {
        client.txn(always(put("/x", "3")), LONG).ok()
    });
    let found = client.range(&Range::of(key("/x")), LONG).unwrap();
    assert_eq!(
        (found.kvs[0].value.as_slice(), found.kvs[0].version),
        (b"3".as_slice(), 2)
    );
}

pub fn each_member_says_what_it_is() {
    let mut cluster = Cluster::secure(3);
    let client = cluster.client();
    let all = client.status(LONG);

    let members: Vec<_> = all.iter().map(|(_, said)| said.as_ref().unwrap()).collect();
    for (it, (endpoint, _)) in all.iter().enumerate() {
        assert_eq!(endpoint, cluster.url(it));
    }
    for member in &members {
        assert_eq!(member.cluster_id, members[0].cluster_id);
        assert_eq!(member.leader, members[0].leader);
        assert!(member.version.starts_with("3.") && member.db_size > 0 && !member.learner);
        assert!(member.errors.is_empty(), "{member:?}");
    }
    assert!(members.iter().any(|member| Some(member.id) == member.leader));

    cluster.kill(0);
    cluster.freeze(1);
    let within = Duration::from_secs(1);
    let started = Instant::now();
    let all = client.status(within);
    assert!(started.elapsed() < within + LATE, "{:?}", started.elapsed());
    for (it, (_, said)) in all.iter().enumerate().take(2) {
        let why = said.as_ref().unwrap_err();
        assert!(
            matches!(why, EtcdError::Unavailable(text) if text.contains(cluster.url(it))),
            "{why}"
        );
    }
    assert!(all[2].1.is_ok());
}

/// Which of them leads.
pub fn leader(cluster: &Cluster) -> usize {
    let said = cluster.client().status(LONG);
    let leads = |it: &usize| {
        let member = said[*it].1.as_ref().unwrap();
        member.leader == Some(member.id)
    };
    (0..cluster.count()).find(leads).expect("a leader")
}
