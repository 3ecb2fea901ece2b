//! Honest API servers, one on each node, that never stop: each asks for Status, encrypts, and has every other node open
//! that at once; and each opens what was ever encrypted under any key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kekring::proto::kms::EncryptResponse;

use crate::client::Client;
use crate::lab::sequence;
use crate::support::{PATIENCE, Plugin, wait_until};

/// Between two rounds of one API server: far more often than a real one, and machine enough for the rest.
const PACE: Duration = Duration::from_millis(15);
/// More of them tell nothing new.
const MOST_FAILURES: usize = 5;

pub struct Watch {
    stop: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    rounds: Vec<AtomicUsize>,
    failures: Mutex<Vec<String>>,
    /// One for each key that was ever used.
    sealed: Mutex<BTreeMap<u64, EncryptResponse>>,
}

impl Watch {
    /// Of nodes that serve, and go on serving.
    pub fn over<'a>(nodes: impl IntoIterator<Item = &'a Plugin>) -> Self {
        let sockets: Vec<PathBuf> = nodes.into_iter().map(|node| node.socket.clone()).collect();
        let seen = Arc::new(Seen {
            rounds: sockets.iter().map(|_| AtomicUsize::new(0)).collect(),
            ..Seen::default()
        });
        let (mut stop, mut threads) = (Vec::new(), Vec::new());
        for own in 0..sockets.len() {
            let (sender, stopped) = mpsc::channel();
            let (sockets, seen) = (sockets.clone(), Arc::clone(&seen));
            stop.push(sender);
            threads.push(thread::spawn(move || serve(own, &sockets, &seen, &stopped)));
        }
        Self { stop, threads, seen }
    }

    /// Until each has done so many more rounds.
    #[track_caller]
    pub fn more(&self, rounds: usize) {
        let counts = || self.seen.rounds.iter().map(|it| it.load(Ordering::SeqCst));
        let wanted: Vec<usize> = counts().map(|count| count + rounds).collect();
        wait_until("more rounds", 2 * PATIENCE, || {
            self.check();
            counts().zip(&wanted).all(|(count, wanted)| count >= *wanted)
        });
    }

    /// Not one call may have failed so far.
    #[track_caller]
    pub fn check(&self) {
        let failures = self.seen.failures.lock().unwrap();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    /// Ends, and gives one of each key.
    #[track_caller]
    pub fn end(self) -> Vec<EncryptResponse> {
        self.more(3);
        drop(self.stop);
        for thread in self.threads {
            thread.join().expect("an API server to its end");
        }
        let rounds: usize = self.seen.rounds.iter().map(|it| it.load(Ordering::SeqCst)).sum();
        let sealed: Vec<_> = self.seen.sealed.lock().unwrap().values().cloned().collect();
        println!(
            "       {rounds} rounds under {} keys without a failure",
            sealed.len()
        );
        let failures = self.seen.failures.lock().unwrap();
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        sealed
    }
}

fn serve(own: usize, sockets: &[PathBuf], seen: &Seen, stopped: &Receiver<()>) {
    let clients: Vec<Client> = sockets.iter().map(|socket| Client::connect(socket)).collect();
    let mut highest = 0;
    for round in 0.. {
        if let Err(why) = once(own, &clients, seen, round, &mut highest) {
            let mut failures = seen.failures.lock().unwrap();
            if failures.len() < MOST_FAILURES {
                failures.push(format!("round {round} of node {}: {why}", own + 1));
            }
        }
        seen.rounds[own].fetch_add(1, Ordering::SeqCst);
        if stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn once(own: usize, clients: &[Client], seen: &Seen, round: usize, highest: &mut u64) -> Result<(), String> {
    let status = clients[own].status().map_err(|why| format!("Status: {why}"))?;
    let now = sequence(&status.key_id);
    if now < *highest {
        return Err(format!("it reports {} after sequence {highest}", status.key_id));
    }
    *highest = now;
    let seed: Vec<u8> = [round.to_be_bytes(), own.to_be_bytes(), [7; 8], [8; 8]].concat();
    let sealed = clients[own]
        .encrypt(&seed)
        .map_err(|why| format!("Encrypt: {why}"))?;
    if sealed.key_id != status.key_id {
        return Err(format!(
            "it encrypts under {} and reports {}",
            sealed.key_id, status.key_id
        ));
    }
    for (node, client) in clients.iter().enumerate() {
        match client.decrypt(&sealed) {
            Ok(opened) if opened == seed => {}
            Ok(_) => {
                return Err(format!(
                    "node {} opens {} to something else",
                    node + 1,
                    sealed.key_id
                ));
            }
            Err(why) => {
                return Err(format!(
                    "node {} does not open {}: {why}",
                    node + 1,
                    sealed.key_id
                ));
            }
        }
    }
    let mut all = seen.sealed.lock().unwrap();
    all.entry(now).or_insert(sealed);
    let old = all.values().nth(round % all.len()).cloned().unwrap();
    drop(all);
    let opened = clients[own].decrypt(&old);
    opened
        .map(drop)
        .map_err(|why| format!("what {} sealed earlier: {why}", old.key_id))
}

/// Each of these nodes opens each of these.
#[track_caller]
pub fn all_open(nodes: &[Plugin], sealed: &[EncryptResponse]) {
    for (number, node) in nodes.iter().enumerate() {
        let client = Client::connect(&node.socket);
        for one in sealed {
            let opened = client.decrypt(one);
            assert!(
                opened.is_ok(),
                "node {} and {}: {opened:?}",
                number + 1,
                one.key_id
            );
        }
    }
}
