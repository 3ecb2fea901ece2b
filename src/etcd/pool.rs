//! The members, the connection to each, and which of them answered last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request};

use super::auth::Login;
use super::connect::{self, Line};
use super::endpoint::Endpoint;
use super::error::{EtcdError, chain, quoted, words};
use super::tls::Tls;
use super::wire::{decoded, encoded, unary};
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
    slots: Vec<Arc<Slot>>,
    last_good: AtomicUsize,
    tls: Option<Tls>,
    pub(super) login: Option<Login>,
}

/// One member.
pub(super) struct Slot {
    number: usize,
    pub(super) endpoint: Endpoint,
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
        let slot = |(number, endpoint)| {
            Arc::new(Slot {
                number,
                endpoint,
                line: Mutex::default(),
            })
        };
        Self {
            slots: endpoints.into_iter().enumerate().map(slot).collect(),
            last_good: AtomicUsize::new(0),
            tls,
            login,
        }
    }

    /// Every member, in the order of the configuration.
    pub(super) fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// Every member, the one that worked last first.
    pub(super) fn order(&self) -> Vec<&Slot> {
        let first = self.last_good.load(Ordering::Relaxed);
        let (before, from) = self.slots.split_at(first.min(self.slots.len()));
        from.iter().chain(before).map(Arc::as_ref).collect()
    }

    /// The token may be why something failed where that cannot be told; the next call gets another.
    pub(super) fn forget_token(&self) {
        if let Some(login) = &self.login {
            login.forget_any();
        }
    }

    /// The member answered: it is asked first from now on. With `leader`, what it answered needs one.
    pub(super) fn worked(&self, slot: &Slot, leader: bool) {
        self.last_good.store(slot.number, Ordering::Relaxed);
        if leader && let Some(held) = slot.held().as_mut() {
            held.heard = Some(Instant::now());
        }
    }

    /// A connection on which the member has just answered; with `leader`, as one that has a leader. Nothing of the call
    /// itself has been sent when this fails.
    pub(super) async fn ready(&self, slot: &Slot, leader: bool, until: Instant) -> Result<Line, EtcdError> {
        let until = until.min(Instant::now() + GREETING);
        let held = slot.held().clone();
        if let Some(Held { line, heard }) = held
            && self.is_current(&line)
        {
            if heard.is_some_and(|heard| heard.elapsed() < FRESH) {
                return Ok(line);
            }
            // A connection that has died in silence must leave time for another.
            let half = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
            if let Ok(greeting) = self.greet(&line, half).await {
                return slot.take(line, &greeting, leader);
            }
        }
        *slot.held() = None;
        let (line, greeting) = self.open(slot, until).await?;
        slot.take(line, &greeting, leader)
    }

    /// A connection of one's own, on which the member has answered.
    pub(super) async fn own(&self, slot: &Slot, until: Instant) -> Result<Line, EtcdError> {
        Ok(self.open(slot, until).await?.0)
    }

    async fn open(&self, slot: &Slot, until: Instant) -> Result<(Line, Greeting), EtcdError> {
        let opened = timeout_at(until, connect::open(&slot.endpoint, self.tls.as_ref())).await;
        let late = |_| EtcdError::Unavailable("it did not take a connection in time".into());
        let (line, connection) = opened.map_err(late)??;
        let why = match self.greet(&line, until).await {
            Ok(greeting) => return Ok((line, greeting)),
            Err(why) => why,
        };
        // What the connection itself ended of tells more: a certificate that was refused, bytes that are no HTTP/2.
        let patience = until.min(Instant::now() + LAST_WORDS);
        let ended = timeout_at(patience, connection).await;
        Err(match (line.refusal(), &self.tls, ended) {
            (Some(why), Some(tls), _) => tls.failure(why),
            (_, _, Ok(Ok(Err(why)))) => EtcdError::Unavailable(chain(&why)),
            _ => why,
        })
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
        let mut request = Request::new(encoded(&StatusRequest {}));
        let (name, value) = REQUIRE_LEADER;
        request
            .metadata_mut()
            .insert(name, tonic::metadata::MetadataValue::from_static(value));
        let (traced, trace) = line.traced();
        let asked = unary(line, traced, STATUS, request);
        match timeout_at(until, asked).await {
            Err(_) => Err(EtcdError::Unavailable("it did not answer in time".into())),
            Ok(Ok(answer)) => match decoded::<StatusResponse>(answer)?.is_learner {
                true => Ok(Greeting::Learner),
                false => Ok(Greeting::Leader),
            },
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
    /// The member did not answer in time: it is greeted before anything else is sent to it.
    pub(super) fn silent(&self) {
        if let Some(held) = self.held().as_mut() {
            held.heard = None;
        }
    }

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
