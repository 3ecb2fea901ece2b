//! Leases: keys that end when nobody says any more that they should stay.

use std::time::Duration;

use tokio::time::Instant;

use super::call::{Ask, Effect, call, unknown};
use super::error::{EtcdError, quoted};
use super::kv::LeaseId;
use super::pool::Pool;
use crate::proto::etcd as wire;

/// Longest lease that etcd grants (`lease.MaxLeaseTTL`), in seconds.
const MAX_SECONDS: u64 = 9_000_000_000;

/// A lease as etcd knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lasts from now on, unless it is kept alive.
    pub left: Duration,
}

/// A lease with what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseDetail {
    /// It, and how long it lasts.
    pub lease: Lease,
    /// How long it lasts each time it is kept alive.
    pub granted: Duration,
    /// The keys that end with it.
    pub keys: Vec<Vec<u8>>,
}

/// etcd makes a lease no shorter than its election time-out, so it may last longer than asked.
pub(super) async fn grant(pool: &Pool, last: Duration, until: Instant) -> Result<Lease, EtcdError> {
    let ask = Ask {
        path: "/etcdserverpb.Lease/LeaseGrant",
        effect: Effect::Write,
        what: format!("get a lease of {last:?}"),
    };
    let seconds = i64::try_from(last.as_secs().clamp(1, MAX_SECONDS)).unwrap_or(i64::MAX);
    let request = wire::LeaseGrantRequest { ttl: seconds, id: 0 };
    let answer: wire::LeaseGrantResponse = call(pool, &ask, &request, until).await?;
    if !answer.error.is_empty() {
        return Err(ask.failed(EtcdError::Refused(quoted(&answer.error))));
    }
    match lease(answer.id, answer.ttl) {
        Some(lease) if answer.id != 0 => Ok(lease),
        _ => Err(ask.failed(unknown("the answer names no lease"))),
    }
}

/// Whether it was there.
pub(super) async fn revoke(pool: &Pool, id: LeaseId, until: Instant) -> Result<bool, EtcdError> {
    let ask = Ask {
        path: "/etcdserverpb.Lease/LeaseRevoke",
        effect: Effect::Write,
        what: format!("revoke lease {:x}", id.0),
    };
    let request = wire::LeaseRevokeRequest { id: id.0 };
    match call::<wire::LeaseRevokeResponse>(pool, &ask, &request, until).await {
        Ok(_) => Ok(true),
        Err(EtcdError::NoLease(_)) => Ok(false),
        Err(why) => Err(why),
    }
}

/// Nothing where there is no such lease any more.
pub(super) async fn detail(
    pool: &Pool,
    id: LeaseId,
    until: Instant,
) -> Result<Option<LeaseDetail>, EtcdError> {
    let ask = Ask {
        path: "/etcdserverpb.Lease/LeaseTimeToLive",
        effect: Effect::Read,
        what: format!("look at lease {:x}", id.0),
    };
    let request = wire::LeaseTimeToLiveRequest { id: id.0, keys: true };
    let answer: wire::LeaseTimeToLiveResponse = match call(pool, &ask, &request, until).await {
        Err(EtcdError::NoLease(_)) => return Ok(None),
        answer => answer?,
    };
    if answer.id != id.0 {
        return Err(ask.failed(EtcdError::Malformed("the answer is about another lease".into())));
    }
    // -1 for one that has ended.
    let Some(lease) = lease(answer.id, answer.ttl) else {
        return Ok(None);
    };
    Ok(Some(LeaseDetail {
        lease,
        granted: seconds(answer.granted_ttl).unwrap_or_default(),
        keys: answer.keys,
    }))
}

/// Says once that it should last; nothing where it has ended. Repeating it harms nobody, so every member is tried.
pub(super) async fn keep_alive(pool: &Pool, id: LeaseId, until: Instant) -> Result<Option<Lease>, EtcdError> {
    let ask = Ask {
        // A stream in etcd's API. One of one question and one answer is on the wire what a plain call is.
        path: "/etcdserverpb.Lease/LeaseKeepAlive",
        effect: Effect::Read,
        what: format!("keep lease {:x} alive", id.0),
    };
    let request = wire::LeaseKeepAliveRequest { id: id.0 };
    let answer: wire::LeaseKeepAliveResponse = match call(pool, &ask, &request, until).await {
        Err(EtcdError::NoLease(_)) => return Ok(None),
        answer => answer?,
    };
    if answer.id != id.0 {
        return Err(ask.failed(EtcdError::Malformed("the answer is about another lease".into())));
    }
    // 0 for one that has ended.
    Ok(lease(answer.id, answer.ttl).filter(|lease| !lease.left.is_zero()))
}

fn lease(id: i64, left: i64) -> Option<Lease> {
    Some(Lease {
        id: LeaseId(id),
        left: seconds(left)?,
    })
}

fn seconds(count: i64) -> Option<Duration> {
    u64::try_from(count).ok().map(Duration::from_secs)
}
