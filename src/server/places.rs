//! The places that connections take, and who has to go where they are not enough.
//!
//! Whoever is admitted is trusted, but a client that leaks connections must not keep kube-apiserver out: a newcomer takes
//! the place of the connection that is worth least. kube-apiserver has a few connections and asks on each of them every
//! minute, so that none of its own is ever that one. Memory is shared out by the same rule: what unfinished requests hold
//! is counted, and where it is too much, the connection that holds most is closed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::connection::{Connection, Reported};
use super::peer::{Peer, Throttle};
use crate::telemetry::Metrics;

/// Open connections at most; kube-apiserver has one for each provider entry, and a second while it reloads.
pub const MAX_CONNECTIONS: usize = 256;
/// A process with more connections than this makes room by its own, where there is no place left.
pub const GREEDY: usize = 32;
/// A connection that asked nothing for so long can be spared: kube-apiserver asks each minute.
pub const QUIET: Duration = Duration::from_secs(300);
/// What all unfinished requests may hold, in bytes.
pub const MAX_HELD: usize = 24 << 20;
/// At most one line of log in so long about connections that had to go.
const CUT_LOG: Duration = Duration::from_secs(10);

/// The open connections, each in its place.
pub struct Places {
    table: Mutex<Table>,
    held: AtomicUsize,
    log: Throttle,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Table {
    last: u64,
    taken: BTreeMap<u64, Place>,
}

struct Place {
    connection: Arc<Connection>,
    task: Option<AbortHandle>,
}

impl Places {
    /// All of them free.
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            table: Mutex::default(),
            held: AtomicUsize::new(0),
            log: Throttle::new(CUT_LOG),
            metrics,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Peer and last report of each connection that speaks HTTP/2, oldest first.
    pub(super) fn open(&self) -> Vec<(Peer, Option<Reported>)> {
        let table = self.table();
        let connections = table.taken.values().map(|place| &place.connection);
        let greeted = connections.filter(|it| it.greeted.load(Ordering::Relaxed));
        greeted.map(|it| (it.peer, it.reported())).collect()
    }

    /// A place for a newcomer, if need be another's; `None` where every connection is worth as much.
    pub(super) fn enter(self: &Arc<Self>, connection: &Arc<Connection>) -> Option<Taken> {
        let mut table = self.table();
        if table.taken.len() >= MAX_CONNECTIONS {
            let others = table
                .taken
                .iter()
                .map(|(number, place)| (*number, Standing::of(&place.connection)));
            let victim = spared(&others.collect::<Vec<_>>(), pid(connection))?;
            self.cut(
                &mut table,
                victim,
                "too many connections: one was closed for a newcomer",
            );
        }
        table.last += 1;
        let number = table.last;
        let place = Place {
            connection: Arc::clone(connection),
            task: None,
        };
        table.taken.insert(number, place);
        Some(Taken {
            places: Arc::clone(self),
            number,
        })
    }

    /// What ends the connection in this place.
    pub(super) fn served_by(&self, number: u64, task: AbortHandle) {
        let mut table = self.table();
        if let Some(place) = table.taken.get_mut(&number) {
            place.task = Some(task);
        }
    }

    /// A request of this connection holds more than before.
    pub(super) fn hold(&self, connection: &Connection, bytes: usize) {
        if connection.cut.load(Ordering::Relaxed) {
            return;
        }
        connection.held.fetch_add(bytes, Ordering::Relaxed);
        if self.held.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_HELD {
            return;
        }
        let mut table = self.table();
        let held = |place: &Place| place.connection.held.load(Ordering::Relaxed);
        let heaviest = table.taken.iter().max_by_key(|(_, place)| held(place));
        if let Some(number) = heaviest.map(|(number, _)| *number) {
            self.cut(
                &mut table,
                number,
                "unfinished requests hold too much memory: the connection with most was closed",
            );
        }
    }

    /// It gives that back.
    pub(super) fn release(&self, connection: &Connection, bytes: usize) {
        if !connection.cut.load(Ordering::Relaxed) {
            connection.held.fetch_sub(bytes, Ordering::Relaxed);
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn cut(&self, table: &mut Table, number: u64, why: &'static str) {
        let Some(place) = table.taken.remove(&number) else {
            return;
        };
        // Its requests end a little later; what they hold counts no more.
        place.connection.cut.store(true, Ordering::Relaxed);
        self.held.fetch_sub(
            place.connection.held.swap(0, Ordering::Relaxed),
            Ordering::Relaxed,
        );
        if let Some(task) = place.task {
            task.abort();
        }
        self.metrics.connections_cut.inc();
        if let Some(untold) = self.log.admit(Instant::now()) {
            tracing::warn!(peer = %place.connection.peer, untold, "{why}");
        }
    }
}

/// A place, until this is dropped.
pub(super) struct Taken {
    places: Arc<Places>,
    pub(super) number: u64,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.places.table().taken.remove(&self.number);
    }
}

/// What a connection's worth is judged by.
#[derive(Clone, Copy)]
struct Standing {
    pid: Option<i32>,
    /// How long ago it last asked; `None` where it never did.
    quiet: Option<Duration>,
}

impl Standing {
    fn of(connection: &Connection) -> Self {
        Self {
            pid: pid(connection),
            quiet: connection.quiet(),
        }
    }
}

/// The kernel shows 0 for a process outside of our namespace: that could be any.
fn pid(connection: &Connection) -> Option<i32> {
    connection.peer.pid.filter(|pid| *pid > 0)
}

/// Which of these goes, oldest first, when one more comes from `newcomer`.
fn spared(others: &[(u64, Standing)], newcomer: Option<i32>) -> Option<u64> {
    let mut counts: BTreeMap<i32, usize> = BTreeMap::new();
    for pid in others.iter().filter_map(|(_, it)| it.pid).chain(newcomer) {
        *counts.entry(pid).or_default() += 1;
    }
    let greediest = counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .filter(|(_, count)| *count > GREEDY);
    let silent = |whose: &dyn Fn(&Standing) -> bool| {
        let mut silent = others.iter().filter(|(_, it)| it.quiet.is_none() && whose(it));
        silent.next().map(|(number, _)| *number)
    };
    let quietest = |whose: &dyn Fn(&Standing) -> bool| {
        let asked = others.iter().filter(|(_, it)| it.quiet.is_some() && whose(it));
        asked.max_by_key(|(_, it)| it.quiet).map(|(number, _)| *number)
    };
    if let Some((pid, _)) = greediest {
        let its = |it: &Standing| it.pid == Some(pid);
        return silent(&its).or_else(|| quietest(&its));
    }
    silent(&|_| true).or_else(|| quietest(&|it| it.quiet > Some(QUIET)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes, how many connections each has, and for how long these were quiet.
    fn standing(groups: &[(Option<i32>, usize, Option<u64>)]) -> Vec<(u64, Standing)> {
        let all = groups.iter().flat_map(|(pid, count, quiet)| {
            let quiet = quiet.map(Duration::from_secs);
            std::iter::repeat_n(Standing { pid: *pid, quiet }, *count)
        });
        (1..).zip(all).collect()
    }

    #[test]
    fn who_never_asked_goes_first_and_the_oldest_of_those() {
        let others = standing(&[
            (Some(1), 1, Some(70)),
            (Some(2), 30, None),
            (Some(3), 30, Some(1)),
        ]);

        assert_eq!(spared(&others, Some(9)), Some(2));
        assert_eq!(spared(&others, None), Some(2));
    }

    #[test]
    fn a_process_with_many_connections_makes_room_by_its_own() {
        let its_silent = standing(&[(Some(1), 1, None), (Some(2), 200, Some(9)), (Some(2), 2, None)]);
        let its_quietest = standing(&[
            (Some(1), 1, None),
            (Some(2), 200, Some(9)),
            (Some(2), 1, Some(50)),
        ]);

        assert_eq!(spared(&its_silent, Some(9)), Some(202));
        assert_eq!(spared(&its_quietest, Some(9)), Some(202));
        assert_eq!(spared(&its_quietest, Some(2)), Some(202));
    }

    #[test]
    fn who_asks_each_minute_stays_among_processes_that_nobody_can_tell_apart() {
        let recent = standing(&[(None, 1, Some(75)), (None, 255, Some(1))]);
        let leaked = standing(&[(None, 1, Some(75)), (None, 255, Some(301))]);

        assert_eq!(spared(&recent, None), None);
        assert!(spared(&leaked, None).is_some_and(|number| number > 1));
    }

    #[test]
    fn nobody_goes_for_one_more_of_many_processes_that_all_ask() {
        let processes: Vec<_> = (1..=8).map(|pid| (Some(pid), 32, Some(60))).collect();

        assert_eq!(spared(&standing(&processes), Some(9)), None);
        // The newcomer's own process would now have more than it may.
        assert!(spared(&standing(&processes), Some(3)).is_some_and(|it| (65..=96).contains(&it)));
    }
}
