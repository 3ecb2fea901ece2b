//! A client of etcd v3: keys, leases and watches, for callers that block.
//!
//! It trusts the authority in the configuration and the order of etcd's revisions; everything that comes back is checked.
//! Every call ends within the time that its caller gives, whatever the members do. What matters most is what an error
//! says of a change: [`EtcdError::Unknown`] alone means that it may have happened. A crash in the middle leaves nothing
//! here; what etcd was sent it may still do.
//!
//! ```text
//! Client ─ call (rounds, deadline) ─▶ pool (members) ─▶ connect (TCP, TLS, HTTP/2) ─▶ etcd
//!          kv, txn, lease, watch, member: what is asked, and whether the answer fits
//! ```

mod auth;
mod call;
mod connect;
mod endpoint;
mod error;
mod file;
mod kv;
mod lease;
mod member;
mod pool;
mod tls;
mod txn;
mod watch;
mod wire;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use auth::User;
pub use call::MAX_REQUEST;
pub use endpoint::Endpoint;
pub use error::EtcdError;
pub use kv::{Found, KeyValue, LeaseId, MAX_KEY, Range, Read, Revision, Span};
pub use lease::{Lease, LeaseDetail};
pub use member::Member;
pub use tls::{Identity, TlsFiles, Validity};
pub use txn::{Compare, MAX_OPERATIONS, Op, OpAnswer, Outcome, Relation, Target, Txn};
pub use watch::{Event, WatchHandle};
pub use wire::MAX_ANSWER;

use pool::{Pool, Slot};

/// For a call whose caller has no better idea.
pub const WITHIN: Duration = Duration::from_secs(2);
/// Longest time that a call may take.
const MAX_WITHIN: Duration = Duration::from_secs(600);
/// How much longer a caller waits for its own thread, which may be held up by a disk.
const GRACE: Duration = Duration::from_millis(200);

/// When a caller of several calls has to be done with all of them.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn within(within: Duration) -> Self {
        Self(Instant::now() + within.min(MAX_WITHIN))
    }

    /// What there is for the next call.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Where etcd is, and who we are to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its members, in the order in which they are tried.
    pub endpoints: Vec<Endpoint>,
    /// For `https://`.
    pub tls: Option<TlsFiles>,
    /// Where etcd has users with passwords.
    pub user: Option<User>,
}

/// A client, with a thread of its own on which its connections live. Share it; its calls run side by side. They block: not
/// for an asynchronous task, and not for the callback of a watch.
pub struct Client {
    pool: Arc<Pool>,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
    thread_id: ThreadId,
    stop: Option<oneshot::Sender<()>>,
}

impl Client {
    /// Connects to nothing yet: that etcd is away, or a file, is for the calls to say.
    pub fn new(config: Config) -> Result<Self, EtcdError> {
        if config.endpoints.is_empty() {
            return Err(EtcdError::Config("etcd has no endpoints".into()));
        }
        let secured = config.endpoints.iter().find(|it| it.server_name().is_some());
        if let (Some(endpoint), None) = (secured, &config.tls) {
            return Err(EtcdError::Config(format!(
                "the etcd endpoint {endpoint} needs the authority of etcd's certificates: name the file"
            )));
        }
        let pool = Arc::new(Pool::new(
            config.endpoints,
            config.tls.map(tls::Tls::new),
            config.user.map(auth::Login::new),
        ));
        let failed =
            |why: std::io::Error| EtcdError::Unavailable(format!("cannot start a thread for etcd: {why}"));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("etcd".into())
            .spawn(move || {
                // Either way the client is gone.
                let _ = runtime.block_on(stopped);
                // A name that is still being looked up holds nobody up.
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        Ok(Self {
            pool,
            runtime: handle,
            thread_id: thread.thread().id(),
            thread: Some(thread),
            stop: Some(stop),
        })
    }

    /// Reads keys.
    pub fn range(&self, range: &Range, within: Duration) -> Result<Found, EtcdError> {
        let range = range.clone();
        let what = format!("read {}", range.span);
        self.wait(&what, false, within, move |pool, until| async move {
            kv::range(&pool, &range, until).await
        })
    }

    /// Changes keys where they are still as they were. [`EtcdError::Unknown`] says that this may have happened.
    pub fn txn(&self, txn: Txn, within: Duration) -> Result<Outcome, EtcdError> {
        let (what, writes) = (txn.describe(), txn.writes());
        self.wait(&what, writes, within, move |pool, until| async move {
            txn::txn(&pool, &txn, until).await
        })
    }

    /// A new lease that lasts about so long (whole seconds, at least one); etcd makes it longer than its own election
    /// time-out. After [`EtcdError::Unknown`] there may be one that ends by itself.
    pub fn lease_grant(&self, last: Duration, within: Duration) -> Result<Lease, EtcdError> {
        self.wait("get a lease", true, within, move |pool, until| async move {
            lease::grant(&pool, last, until).await
        })
    }

    /// Starts its time anew, once; nothing where it has ended. May be repeated.
    pub fn lease_keep_alive_once(&self, id: LeaseId, within: Duration) -> Result<Option<Lease>, EtcdError> {
        self.wait(
            "keep a lease alive",
            false,
            within,
            move |pool, until| async move { lease::keep_alive(&pool, id, until).await },
        )
    }

    /// Ends it, with its keys; says whether it was there. May be repeated.
    pub fn lease_revoke(&self, id: LeaseId, within: Duration) -> Result<bool, EtcdError> {
        self.wait("revoke a lease", true, within, move |pool, until| async move {
            lease::revoke(&pool, id, until).await
        })
    }

    /// How long it lasts, and its keys; nothing where it has ended.
    pub fn lease_detail(&self, id: LeaseId, within: Duration) -> Result<Option<LeaseDetail>, EtcdError> {
        self.wait("look at a lease", false, within, move |pool, until| async move {
            lease::detail(&pool, id, until).await
        })
    }

    /// Tells of changes from a revision on, or from when the watch is up, until the handle is dropped or the client is. `tell` runs on
    /// the client's thread: it must return at once, and any call of this client in it fails.
    pub fn watch(
        &self,
        span: Span,
        from: Option<Revision>,
        tell: impl FnMut(Event) + Send + 'static,
    ) -> WatchHandle {
        let watch = watch::Watch::new(span, from, tell);
        let task = self.runtime.spawn(watch.run(Arc::clone(&self.pool)));
        WatchHandle(task.abort_handle())
    }

    /// What each member says of itself, in the order of the configuration; all are asked at the same time.
    pub fn status(&self, within: Duration) -> Vec<(String, Result<Member, EtcdError>)> {
        let ask = |slot: &Arc<Slot>| {
            let (slot, shown) = (Arc::clone(slot), slot.endpoint.to_string());
            let started = self.start(within, move |pool, until| async move {
                member::status(&pool, &slot, until).await
            });
            (shown, started)
        };
        let asked: Vec<_> = self.pool.slots().iter().map(ask).collect();
        asked
            .into_iter()
            .map(|(shown, started)| {
                (
                    shown,
                    self.answer("ask for the state of a member", false, started),
                )
            })
            .collect()
    }

    fn wait<T, F>(
        &self,
        what: &str,
        writes: bool,
        within: Duration,
        work: impl FnOnce(Arc<Pool>, Instant) -> F,
    ) -> Result<T, EtcdError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EtcdError>> + Send + 'static,
    {
        let asked = self.start(within, work);
        self.answer(what, writes, asked)
    }

    /// Begins a call on the client's thread.
    fn start<T, F>(&self, within: Duration, work: impl FnOnce(Arc<Pool>, Instant) -> F) -> Started<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EtcdError>> + Send + 'static,
    {
        let until = Instant::now() + within.min(MAX_WITHIN);
        let (done, answer) = sync_channel(1);
        let work = work(Arc::clone(&self.pool), until);
        // Within itself this thread would wait for itself.
        let task = (thread::current().id() != self.thread_id).then(|| {
            self.runtime.spawn(async move {
                // Nobody waits any more.
                let _ = done.send(work.await);
            })
        });
        Started { until, answer, task }
    }

    /// Waits for it, and never longer than it was given.
    fn answer<T>(&self, what: &str, writes: bool, started: Started<T>) -> Result<T, EtcdError> {
        let Some(task) = started.task else {
            return Err(EtcdError::Config(format!(
                "cannot {what} in etcd: the callback of a watch must not call its client"
            )));
        };
        let left = started.until.saturating_duration_since(Instant::now()) + GRACE;
        let why = match started.answer.recv_timeout(left) {
            Ok(answer) => return answer,
            Err(RecvTimeoutError::Timeout) => {
                "its thread is held up, by a disk or by the callback of a watch"
            }
            Err(RecvTimeoutError::Disconnected) => "its thread has failed",
        };
        task.abort();
        Err(if writes {
            call::unknown(why)
        } else {
            EtcdError::Unavailable(why.to_owned())
        }
        .within(|text| format!("cannot {what} in etcd: {text}")))
    }
}

/// A call that has begun; no task where it must not.
struct Started<T> {
    until: Instant,
    answer: Receiver<Result<T, EtcdError>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Client {
    /// Ends its thread, its connections and its watches.
    fn drop(&mut self) {
        self.stop.take();
        // Dropped by the callback of a watch, it ends after that.
        if let Some(thread) = self.thread.take()
            && thread::current().id() != self.thread_id
        {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}
