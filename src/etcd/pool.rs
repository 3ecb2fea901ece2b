//! The members, the connection to each, and which of them answered last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request};

use super::auth::Login;
use super::call::unary;
use super::connect::{self, Line};
use super::endpoint::Endpoint;
use super::error::{EtcdError, chain, quoted, words};
use super::tls::Tls;
use crate::proto::etcd::{StatusRequest, StatusResponse};

/// How long the last answer of a member stands for its being there, with a leader.
const FRESH: Duration = Duration::from_secs(1);
/// Longest time for a connection and a first answer, of a member that is there; another round may follow.
const GREETING: Duration = Duration::from_secs(2);
/// How long to wait for a connection to say what it ended of.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Of etcd's API: refuse at once where there is no leader (`rpctypes.MetadataRequireLeaderKey`).
pub(super) const REQUIRE_LEADER: (&str, &str) = ("hasleader", "true");
pub(super) const STATUS: &str = "/etcdserverpb.Maintenance/Status";

pub(super) struct Pool {
    slots: Vec<Slot>,
    last_good: AtomicUsize,
    tls: Option<Tls>,
    pub(super) login: Option<Login>,
}

struct Slot {
    endpoint: Endpoint,
    line: Mutex<Option<Held>>,
}

#[derive(Clone)]
struct Held {
    line: Line,
    /// When it last answered as a member with a leader.
    heard: Option<Instant>,
}

/// What a member says when it is greeted.
enum Greeting {
    Leader,
    /// In its own words.
    NoLeader(String),
    Learner,
}

impl Pool {
    pub(super) fn new(endpoints: Vec<Endpoint>, tls: Option<Tls>, login: Option<Login>) -> Self {
        let slot = |endpoint| Slot {
            endpoint,
            line: Mutex::default(),
        };
        Self {
            slots: endpoints.into_iter().map(slot).collect(),
            last_good: AtomicUsize::new(0),
            tls,
            login,
        }
    }

    /// Every member, the one that worked last first.
    pub(super) fn order(&self) -> Vec<usize> {
        let count = self.slots.len();
        let first = self.last_good.load(Ordering::Relaxed);
        (0..count).map(|step| (first + step) % count).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// The token may be why something failed where that cannot be told; the next call gets another.
    pub(super) fn forget_token(&self) {
        if let Some(login) = &self.login {
            login.forget_any();
        }
    }

    pub(super) fn shown(&self, member: usize) -> String {
        self.slots
            .get(member)
            .map(|slot| slot.endpoint.to_string())
            .unwrap_or_default()
    }

    /// The member answered: it is asked first from now on. With `leader`, what it answered needs one.
    pub(super) fn worked(&self, member: usize, leader: bool) {
        self.last_good.store(member, Ordering::Relaxed);
        if leader
            && let Some(slot) = self.slots.get(member)
            && let Some(held) = slot.held().as_mut()
        {
            held.heard = Some(Instant::now());
        }
    }

    /// The member did not answer in time: greet it before anything else is sent to it.
    pub(super) fn silent(&self, member: usize) {
        if let Some(slot) = self.slots.get(member)
            && let Some(held) = slot.held().as_mut()
        {
            held.heard = None;
        }
    }

    /// A connection on which the member has just answered; with `leader`, as one that has a leader. Nothing of the call
    /// itself has been sent when this fails.
    pub(super) async fn ready(&self, member: usize, leader: bool, until: Instant) -> Result<Line, EtcdError> {
        let until = until.min(Instant::now() + GREETING);
        let Some(slot) = self.slots.get(member) else {
            return Err(EtcdError::Config("there is no such endpoint".into()));
        };
        let held = slot.held().clone();
        if let Some(Held { line, heard }) = held
            && self.is_current(&line)
        {
            if !leader || heard.is_some_and(|heard| heard.elapsed() < FRESH) {
                return Ok(line);
            }
            if let Ok(greeting) = self.greet(&line, until).await {
                return slot.take(line, &greeting, leader);
            }
        }
        *slot.held() = None;
        let (line, greeting) = self.open(member, until).await?;
        slot.take(line, &greeting, leader)
    }

    /// A connection of one's own, on which the member has answered.
    pub(super) async fn own(&self, member: usize, until: Instant) -> Result<Line, EtcdError> {
        Ok(self.open(member, until).await?.0)
    }

    async fn open(&self, member: usize, until: Instant) -> Result<(Line, Greeting), EtcdError> {
        let slot = self
            .slots
            .get(member)
            .ok_or_else(|| EtcdError::Config("there is no such endpoint".into()))?;
        let silent = |what: &str| EtcdError::Unavailable(format!("{what} in time"));
        let opened = timeout_at(until, connect::open(&slot.endpoint, self.tls.as_ref())).await;
        let (line, connection) = opened.map_err(|_| silent("it did not take a connection"))??;
        let refused = match timeout_at(until, self.greet(&line, until)).await {
            Err(_) => return Err(silent("it took a connection and did not answer")),
            Ok(Ok(greeting)) => return Ok((line, greeting)),
            Ok(Err(why)) => why,
        };
        // What the connection itself ended of tells more: a certificate that was refused, bytes that are no HTTP/2.
        let patience = until.min(Instant::now() + LAST_WORDS);
        let ended = timeout_at(patience, connection).await;
        if let (Some(why), Some(tls)) = (line.refusal(), &self.tls) {
            return Err(tls.failure(why));
        }
        match ended {
            Ok(Ok(Err(why))) => Err(EtcdError::Unavailable(chain(&why))),
            _ => Err(refused),
        }
    }

    /// Whether it lives, and was made with the files as they are now.
    fn is_current(&self, line: &Line) -> bool {
        let files = match (&self.tls, &line.stamp) {
            (Some(tls), Some(stamp)) => tls.load().is_ok_and(|loaded| loaded.stamp == *stamp),
            _ => true,
        };
        files && !line.is_closed()
    }

    /// Asks for what changes nothing and needs no right. Any answer of its own says that the member is there.
    async fn greet(&self, line: &Line, until: Instant) -> Result<Greeting, EtcdError> {
        let mut request = Request::new(StatusRequest {});
        let (name, value) = REQUIRE_LEADER;
        request
            .metadata_mut()
            .insert(name, tonic::metadata::MetadataValue::from_static(value));
        let (traced, trace) = line.traced();
        let asked = unary::<_, StatusResponse>(traced, line.origin(), STATUS, request);
        match timeout_at(until, asked).await {
            Err(_) => Err(EtcdError::Unavailable("it did not answer in time".into())),
            Ok(Ok(status)) if status.is_learner => Ok(Greeting::Learner),
            Ok(Ok(_)) => Ok(Greeting::Leader),
            Ok(Err(status)) if trace.said() && status.code() == Code::Unavailable => {
                Ok(Greeting::NoLeader(quoted(status.message())))
            }
            // With users, this question is an administrator's; the leader was asked for before that.
            Ok(Err(_)) if trace.said() => Ok(Greeting::Leader),
            Ok(Err(status)) => Err(EtcdError::Unavailable(words(&status))),
        }
    }
}

impl Slot {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the connection whatever the member says of itself, and gives it out where that is enough.
    fn take(&self, line: Line, greeting: &Greeting, leader: bool) -> Result<Line, EtcdError> {
        let heard = matches!(greeting, Greeting::Leader).then(Instant::now);
        *self.held() = Some(Held {
            line: line.clone(),
            heard,
        });
        match greeting {
            Greeting::NoLeader(why) if leader => Err(EtcdError::NoQuorum(format!(
                "{why}: fewer than half of the members reach each other; see `etcdctl endpoint status --cluster`"
            ))),
            Greeting::Learner if leader => Err(EtcdError::NoQuorum(
                "it is a learner, which neither writes nor reads the present; name voting members".into(),
            )),
            _ => Ok(line),
        }
    }
}
