//! Watches.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use kekring::etcd::{Client, Event, Revision, Span, WatchHandle};
use serde_json::json;

use crate::cluster::{Cluster, LONG, prefix};
use crate::keys::{always, put};
use crate::wait::SOON;

fn watch(client: &Client, span: Span, from: Option<Revision>) -> (WatchHandle, Receiver<Event>) {
    let (tell, told) = channel();
    let handle = client.watch(span, from, move |event| {
        let _ = tell.send(event);
    });
    (handle, told)
}

/// Everything that is told until a change at `revision` is.
fn until_changed(told: &Receiver<Event>, revision: Revision) -> Vec<Event> {
    let deadline = Instant::now() + SOON;
    let mut all = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = told
            .recv_timeout(left)
            .unwrap_or_else(|_| panic!("told {all:?} and not of {revision:?}"));
        let done = matches!(event, Event::Changed { revision: at } if at >= revision);
        all.push(event);
        if done {
            return all;
        }
    }
}

pub fn a_watch_tells_of_each_change_and_of_what_is_compacted() {
    let cluster = Cluster::plain();
    let client = cluster.client();
    let write = |name: &str| client.txn(always(put(name, "x")), LONG).unwrap().revision;

    let first = write("/w/1");
    let (handle, told) = watch(&client, prefix("/w/"), Some(first));
    assert_eq!(until_changed(&told, first), [Event::Changed { revision: first }]);
    write("/elsewhere");
    let second = write("/w/2");
    assert_eq!(
        until_changed(&told, second),
        [Event::Changed { revision: second }]
    );

    // From a revision that is gone: told so, and then of what comes.
    let third = write("/w/3");
    cluster.gateway(
        "kv/compaction",
        None,
        &json!({"revision": third.0, "physical": true}),
    );
    let (_late, late) = watch(&client, prefix("/w/"), Some(first));
    let events = until_changed(&late, third);
    assert_eq!(
        events,
        [
            Event::Compacted { revision: third },
            Event::Changed { revision: third }
        ]
    );

    // From a revision that etcd has not reached: it is another one than before.
    let (_ahead, ahead) = watch(&client, prefix("/w/"), Some(Revision(third.0 + 1000)));
    let events = until_changed(&ahead, third);
    assert_eq!(events, [Event::Changed { revision: third }]);
    let fourth = write("/w/4");
    until_changed(&ahead, fourth);

    // A handle that is dropped takes its callback with it.
    until_changed(&told, fourth);
    drop(handle);
    let ended = told.recv_timeout(SOON).unwrap_err();
    assert_eq!(ended, std::sync::mpsc::RecvTimeoutError::Disconnected);
}

pub fn a_watch_outlives_a_member_that_is_killed_and_one_that_is_frozen() {
    let mut cluster = Cluster::secure(3);
    let client = cluster.client();
    let watcher = cluster.client_of(&[0, 1, 2]);
    let mut written = 0;
    let mut write = || {
        written += 1;
        let value = written.to_string();
        crate::wait::wait_for("a change", SOON, || {
            client
                .txn(always(put("/w/x", &value)), Duration::from_secs(5))
                .ok()
        })
        .revision
    };
    let (_handle, told) = watch(&watcher, prefix("/w/"), None);
    // Until it is up: "from now on" has begun.
    crate::wait::wait_for("the watch to be up", SOON, || {
        let revision = write();
        let event = told.recv_timeout(Duration::from_millis(500)).ok()?;
        assert!(
            matches!(event, Event::Changed { revision: at } if at <= revision),
            "{event:?}"
        );
        Some(())
    });
    let revision = write();
    until_changed(&told, revision);

    // Killed: noticed at once.
    cluster.kill(0);
    let revision = write();
    let events = until_changed(&told, revision);
    assert!(
        matches!(&events[0], Event::Lost { why } if why.contains("/w/") && why.contains(cluster.url(0))),
        "{events:?}"
    );
    assert_eq!(lost(&events), 1, "{events:?}");
    cluster.run(0);
    cluster.wait_until_ready();

    // Frozen: noticed because it answers no ping. What changed meanwhile is told.
    cluster.freeze(1);
    let revision = write();
    let events = until_changed(&told, revision);
    assert_eq!(lost(&events), 1, "{events:?}");
    cluster.thaw(1);
    let revision = write();
    until_changed(&told, revision);
}

fn lost(events: &[Event]) -> usize {
    events
        .iter()
        .filter(|event| matches!(event, Event::Lost { .. }))
        .count()
}
