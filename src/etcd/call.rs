//! One call: from member to member until one answers, within the caller's time.
//!
//! A read is repeated freely. A change is sent once: where nothing of it has left, or where a member's own word is that it
//! did nothing, the next member is asked; in every other case its outcome is unknown, and the caller is told so.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Request, Status};

use super::auth::Token;
use super::connect::Trace;
use super::error::{EtcdError, quoted, words};
use super::pool::{Pool, Slot};
use super::wire::{MAX_ANSWER, decoded, encoded, unary};

/// Largest request that is sent, in bytes: etcd's `--max-request-bytes` is 1.5 MiB, and it adds a header of its own.
pub const MAX_REQUEST: usize = 3 * 512 * 1024 - 1024;
/// Before the second round through the members, and twice that before the next, up to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(800));

/// etcd's text for a request above its limit: it has no code of its own (`rpctypes.ErrGRPCRequestTooLarge`).
const SAYS_TOO_LARGE: &str = "etcdserver: request is too large";
/// etcd's text for a request of nobody where users are wanted (`rpctypes.ErrGRPCUserEmpty`).
const SAYS_NO_USER: &str = "etcdserver: user name is empty";

/// What a call does to etcd.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Reads what a quorum agrees on.
    Read,
    /// Reads what one member knows.
    ReadLocal,
    /// Changes something, or may.
    Write,
}

/// A call, for the wire and for people.
#[derive(Clone)]
pub(super) struct Ask {
    /// Of the gRPC method.
    pub(super) path: &'static str,
    pub(super) effect: Effect,
    /// What it does to what: "read /kekring/".
    pub(super) what: String,
}

impl Ask {
    /// "cannot WHAT in etcd (METHOD): WHY"
    pub(super) fn failed(&self, why: EtcdError) -> EtcdError {
        let method = self.path.rsplit('/').next().unwrap_or_default();
        why.within(|text| format!("cannot {} in etcd ({method}): {text}", self.what))
    }

    fn writes(&self) -> bool {
        self.effect == Effect::Write
    }

    fn needs_leader(&self) -> bool {
        self.effect != Effect::ReadLocal
    }
}

/// Why one member gave no answer.
pub(super) enum Failed {
    /// Another member may: nothing was changed.
    Here(EtcdError),
    /// All would say the same, or nobody can be asked again.
    Final(EtcdError),
}

/// Asks until a member answers.
pub(super) async fn call<A>(
    pool: &Pool,
    ask: &Ask,
    message: &impl Message,
    until: Instant,
) -> Result<A, EtcdError>
where
    A: Message + Default,
{
    let answer = rounds(pool, ask, encoded(message), until).await?;
    decoded(answer).map_err(|why| {
        ask.failed(if ask.writes() {
            unknown(&why.to_string())
        } else {
            why
        })
    })
}

async fn rounds(pool: &Pool, ask: &Ask, message: Bytes, until: Instant) -> Result<Bytes, EtcdError> {
    if message.len() > MAX_REQUEST {
        return Err(ask.failed(EtcdError::TooLarge(format!(
            "the request is {} bytes, etcd's limit is 1.5 MiB",
            message.len()
        ))));
    }
    let mut pause = PAUSES.0;
    let mut last = None;
    loop {
        let mut words = Vec::new();
        let order = pool.order();
        for (place, slot) in order.iter().enumerate() {
            let share = share(until, order.len().saturating_sub(place));
            let failed = match attempt(pool, slot, ask, &message, share, until).await {
                Ok(answer) => {
                    pool.worked(slot, ask.needs_leader());
                    return Ok(answer);
                }
                Err(failed) => failed,
            };
            let endpoint = slot.endpoint.to_string();
            match failed {
                Failed::Final(why) => {
                    return Err(ask.failed(why.within(|text| format!("{endpoint}: {text}"))));
                }
                Failed::Here(why) => words.push((endpoint, why)),
            }
        }
        // Nothing that waiting mends.
        let hopeless = words.iter().all(|(_, why)| {
            !matches!(
                why,
                EtcdError::Unavailable(_) | EtcdError::NoQuorum(_) | EtcdError::Malformed(_)
            )
        });
        // A last round that had no time says less than the one before.
        let in_time = Instant::now() < until;
        if in_time || last.is_none() {
            last = EtcdError::all(words);
        }
        let next = Instant::now() + jittered(pause);
        if hopeless || next >= until {
            let why = last.unwrap_or_else(|| EtcdError::Unavailable("there was no time".into()));
            return Err(ask.failed(why));
        }
        sleep(next.saturating_duration_since(Instant::now())).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// When to give up on a member: the others have a right to their share of what time there is.
fn share(until: Instant, members: usize) -> Instant {
    let now = Instant::now();
    let left = until.saturating_duration_since(now);
    now + left / u32::try_from(members.max(1)).unwrap_or(u32::MAX)
}

/// Between half of it and all of it, by chance, so that many clients do not come back at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    let chance = RandomState::new().build_hasher().finish() % 1024;
    pause / 2 + pause / 2 * u32::try_from(chance).unwrap_or(0) / 1024
}

/// Asks one member, and once more with a new token where it does not take the one that we have.
async fn attempt(
    pool: &Pool,
    slot: &Slot,
    ask: &Ask,
    message: &Bytes,
    share: Instant,
    until: Instant,
) -> Result<Bytes, Failed> {
    let line = pool.ready(slot, ask.needs_leader(), share).await;
    let line = line.map_err(Failed::Here)?;
    // A change has all the time that is left: there is no second member for it.
    let limit = if ask.writes() { until } else { share };
    let mut renewed = false;
    loop {
        let token = match &pool.login {
            Some(login) => Some(login.token(&line, share).await?),
            None => None,
        };
        let (traced, trace) = line.traced();
        let request = request(message.clone(), token.as_ref(), limit);
        let asked = unary(&line, traced, ask.path, request);
        let status = match timeout_at(limit, asked).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => status,
            Err(_) => {
                slot.silent();
                return Err(unanswered(ask, &trace));
            }
        };
        if trace.said()
            && !renewed
            && let (Some(login), Some(token)) = (&pool.login, &token)
            // etcd's words for a token that is not, or no longer, good; nothing was done.
            && matches!(status.code(), Code::Unauthenticated | Code::InvalidArgument)
        {
            login.forget(token);
            renewed = true;
            continue;
        }
        if !trace.said() {
            slot.silent();
        }
        return Err(judged(ask, &status, &trace));
    }
}

fn request(message: Bytes, token: Option<&Token>, limit: Instant) -> Request<Bytes> {
    let mut request = Request::new(message);
    // So that etcd does not go on for nobody.
    request.set_timeout(limit.saturating_duration_since(Instant::now()));
    if let Some(token) = token {
        token.put(&mut request);
    }
    request
}

fn unanswered(ask: &Ask, trace: &Arc<Trace>) -> Failed {
    if ask.writes() && trace.sent() {
        return Failed::Final(unknown("no answer came in time"));
    }
    // It answered a greeting a moment ago.
    Failed::Here(if ask.needs_leader() {
        EtcdError::NoQuorum(
            "the member is there and did not answer in time: no quorum, or too slow; see `etcdctl endpoint status --cluster`"
                .into(),
        )
    } else {
        EtcdError::Unavailable("it did not answer in time".into())
    })
}

/// What an answer that is none means.
pub(super) fn judged(ask: &Ask, status: &Status, trace: &Arc<Trace>) -> Failed {
    let text = quoted(status.message());
    if !trace.said() {
        return match status.code() {
            // tonic's own code for an answer above the limit that it was given.
            Code::OutOfRange if !ask.writes() => Failed::Final(EtcdError::TooLarge(format!(
                "the answer is above {} MiB; ask for fewer keys at once",
                MAX_ANSWER / (1024 * 1024)
            ))),
            _ if ask.writes() && trace.sent() => Failed::Final(unknown(&words(status))),
            _ => Failed::Here(EtcdError::Unavailable(words(status))),
        };
    }
    match status.code() {
        Code::PermissionDenied => Failed::Final(EtcdError::Denied(format!(
            "{text}; grant it with `etcdctl role grant-permission --prefix=true ROLE readwrite PREFIX`"
        ))),
        Code::Unauthenticated => Failed::Final(EtcdError::Denied(format!(
            "{text}; check the user and its password file"
        ))),
        Code::InvalidArgument if text == SAYS_NO_USER => Failed::Final(EtcdError::Denied(format!(
            "{text}; etcd wants a user: name one with a password file, or one that the client certificate is for"
        ))),
        Code::InvalidArgument if text == SAYS_TOO_LARGE => Failed::Final(EtcdError::TooLarge(format!(
            "{text}; see etcd's --max-request-bytes"
        ))),
        Code::OutOfRange => Failed::Final(EtcdError::Compacted(text)),
        Code::NotFound => Failed::Final(EtcdError::NoLease(text)),
        Code::FailedPrecondition | Code::Unimplemented => Failed::Here(EtcdError::Refused(text)),
        code if said_no(code) => Failed::Final(EtcdError::Refused(text)),
        // Among these are etcd's own time-outs, after which a change may still happen.
        _ if ask.writes() => Failed::Final(unknown(&text)),
        Code::Unavailable => Failed::Here(EtcdError::NoQuorum(text)),
        code => Failed::Here(EtcdError::Unavailable(format!("{text} ({code:?})"))),
    }
}

/// The codes by which etcd refuses before, or instead of, doing anything (`rpctypes`, v3.6).
pub(super) fn said_no(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::Unimplemented
    )
}

pub(super) fn unknown(why: &str) -> EtcdError {
    EtcdError::Unknown(format!("it was sent, and what became of it is not known: {why}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tonic::{Code, Status};

    use super::super::connect::Trace;
    use super::super::error::EtcdError;
    use super::{Ask, Effect, Failed, jittered, judged};

    fn judge(effect: Effect, code: Code, sent: bool, said: bool) -> (bool, EtcdError) {
        let ask = Ask {
            path: "/etcdserverpb.KV/Txn",
            effect,
            what: "change /a".into(),
        };
        let trace = Arc::new(Trace::of(sent, said));
        match judged(&ask, &Status::new(code, "its words"), &trace) {
            Failed::Here(why) => (false, why),
            Failed::Final(why) => (true, why),
        }
    }

    const CODES: [Code; 16] = [
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
        Code::Unauthenticated,
    ];

    #[test]
    fn a_change_that_was_sent_is_unknown_unless_etcd_itself_says_that_it_did_nothing() {
        let certain = [
            Code::InvalidArgument,
            Code::NotFound,
            Code::AlreadyExists,
            Code::PermissionDenied,
            Code::ResourceExhausted,
            Code::FailedPrecondition,
            Code::OutOfRange,
            Code::Unimplemented,
            Code::Unauthenticated,
        ];
        for code in CODES {
            for (sent, said) in [(true, true), (true, false), (false, false)] {
                let (done, why) = judge(Effect::Write, code, sent, said);
                let unknown = matches!(why, EtcdError::Unknown(_));
                let expected = sent && !(said && certain.contains(&code));
                assert_eq!(unknown, expected, "{code:?} sent {sent} said {said}: {why}");
                // Never to be sent to another member.
                assert!(done || !unknown);
            }
        }
    }

    #[test]
    fn a_read_is_never_unknown_and_goes_on_where_another_member_may_answer() {
        for code in CODES {
            for said in [true, false] {
                let (done, why) = judge(Effect::Read, code, true, said);
                assert!(!matches!(why, EtcdError::Unknown(_)));
                let passing = matches!(why, EtcdError::Unavailable(_) | EtcdError::NoQuorum(_));
                assert!(done != passing || code == Code::FailedPrecondition || code == Code::Unimplemented);
            }
        }
    }

    #[test]
    fn a_pause_is_half_of_it_to_all_of_it() {
        for _ in 0..1000 {
            let pause = jittered(Duration::from_millis(100));
            assert!((50..=100).contains(&pause.as_millis()), "{pause:?}");
        }
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }
}
