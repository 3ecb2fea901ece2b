//! What each member says of itself.

use tokio::time::{Instant, timeout_at};
use tonic::{Code, Request};

use super::call::{Ask, Effect, Failed, judged};
use super::error::{EtcdError, quoted};
use super::kv::header;
use super::pool::{Pool, STATUS, Slot};
use super::wire::{decoded, encoded, unary};
use crate::proto::etcd as wire;

/// A member of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Of etcd, as "3.6.8".
    pub version: String,
    /// Which etcd it belongs to.
    pub cluster_id: u64,
    /// Its own id.
    pub id: u64,
    /// Whom it takes for the leader; none where it knows of none.
    pub leader: Option<u64>,
    /// A learner has no vote and answers nothing but this.
    pub learner: bool,
    /// Of its database file, in bytes.
    pub db_size: u64,
    /// What it complains of: no leader, alarms.
    pub errors: Vec<String>,
}

/// Asks one. With users, etcd tells this to administrators alone.
pub(super) async fn status(pool: &Pool, slot: &Slot, until: Instant) -> Result<Member, EtcdError> {
    let ask = Ask {
        path: STATUS,
        effect: Effect::ReadLocal,
        what: "ask for the state of a member".into(),
    };
    let endpoint = &slot.endpoint;
    let asked = timeout_at(until, ask_one(pool, slot, &ask, until)).await;
    let silent = || EtcdError::Unavailable("it did not answer in time".into());
    asked
        .unwrap_or_else(|_| Err(silent()))
        .map_err(|why| ask.failed(why.within(|text| format!("{endpoint}: {text}"))))
}

async fn ask_one(pool: &Pool, slot: &Slot, ask: &Ask, until: Instant) -> Result<Member, EtcdError> {
    let either = |failed| match failed {
        Failed::Here(why) | Failed::Final(why) => why,
    };
    let line = pool.ready(slot, false, until).await?;
    let mut request = Request::new(encoded(&wire::StatusRequest {}));
    if let Some(login) = &pool.login {
        let token = login.token(&line, until).await.map_err(either)?;
        token.put(&mut request);
    }
    let (traced, trace) = line.traced();
    let answer = unary(&line, traced, STATUS, request).await;
    let answer = answer.map_err(|status| {
        pool.forget_token();
        if trace.said() && status.code() == Code::PermissionDenied {
            let text = quoted(status.message());
            return EtcdError::Denied(format!("{text}; etcd tells this to the role root alone"));
        }
        either(judged(ask, &status, &trace))
    })?;
    let status: wire::StatusResponse = decoded(answer)?;
    let (_, cluster_id) = header(status.header.as_ref()).map_err(EtcdError::Malformed)?;
    Ok(Member {
        version: quoted(&status.version),
        cluster_id,
        id: status.header.map_or(0, |header| header.member_id),
        leader: Some(status.leader).filter(|leader| *leader != 0),
        learner: status.is_learner,
        db_size: u64::try_from(status.db_size).unwrap_or_default(),
        errors: status.errors.iter().map(|error| quoted(error)).collect(),
    })
}
