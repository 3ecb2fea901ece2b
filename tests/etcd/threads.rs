//! The client's thread, and those of its callers.

use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use kekring::etcd::{Client, EtcdError, Range};
use rustix::thread::gettid;

use crate::cluster::{Cluster, LONG, key, prefix};
use crate::keys::{always, put};
use crate::wait::{SOON, wait_for};

pub fn a_client_serves_blocking_threads_and_ends_with_its_thread() {
    let cluster = Cluster::plain();
    let client = Arc::new(cluster.client());

    // Of a runtime of another's, all at the same time.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let calls: Vec<_> = (0..16)
            .map(|it| {
                let client = Arc::clone(&client);
                tokio::task::spawn_blocking(move || {
                    client.txn(always(put(&format!("/t/{it}"), "x")), LONG).unwrap();
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
    });
    assert_eq!(client.range(&Range::of(prefix("/t/")), LONG).unwrap().count, 16);

    // Not of its own callback, which would wait for itself.
    let (tell, told) = channel();
    let inside = Arc::new(Mutex::new(Some(Arc::clone(&client))));
    let shared = Arc::clone(&inside);
    let handle = client.watch(prefix("/t/"), None, move |_| {
        if let Some(client) = shared.lock().unwrap().as_ref() {
            let _ = tell.send((gettid(), client.range(&Range::of(key("/t/1")), LONG)));
        }
    });
    let (thread, refused) = wait_for("the callback to be called", SOON, || {
        client.txn(always(put("/t/1", "y")), LONG).unwrap();
        told.recv_timeout(std::time::Duration::from_millis(200)).ok()
    });
    assert!(matches!(refused, Err(EtcdError::Config(_))), "{refused:?}");

    // With the client its thread is gone.
    let thread = format!("/proc/self/task/{}", thread.as_raw_nonzero());
    assert!(Path::new(&thread).exists());
    inside.lock().unwrap().take();
    drop(handle);
    let client: Client = Arc::into_inner(client).expect("the last one");
    drop(client);
    assert!(!Path::new(&thread).exists());
}
