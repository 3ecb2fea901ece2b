//! A change of several keys at once, made only where certain keys are still as they were.

use tokio::time::Instant;

use super::call::{Ask, Effect, call, unknown};
use super::error::EtcdError;
use super::kv::{Found, LeaseId, Range, Revision, Span, found, header};
use super::pool::Pool;
use crate::proto::etcd as wire;
use crate::proto::etcd::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::proto::etcd::request_op::Request;
use crate::proto::etcd::response_op::Response;

/// Most comparisons, and most operations of one branch: etcd's `--max-txn-ops`.
pub const MAX_OPERATIONS: usize = 128;

/// All comparisons hold: `then`. Any does not: `otherwise`. One step, for everybody.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// What must hold; with none, `then` is done.
    pub compares: Vec<Compare>,
    /// Done where they hold.
    pub then: Vec<Op>,
    /// Done where they do not.
    pub otherwise: Vec<Op>,
}

/// What must hold of a key; of a span, for every key that is there. A key that is not there has 0 for every number, and no
/// value equals its own.
#[derive(Clone, Debug)]
pub struct Compare {
    /// Which.
    pub span: Span,
    /// How what is there stands to what is given.
    pub relation: Relation,
    /// What of it, and what is given.
    pub target: Target,
}

/// How two things stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are the same.
    Equal,
    /// They are not.
    NotEqual,
    /// What is there is greater.
    Greater,
    /// What is there is less.
    Less,
}

/// What is compared.
#[derive(Clone, PartialEq, Eq)]
pub enum Target {
    /// How often it has changed.
    Version(i64),
    /// When it came to be.
    CreateRevision(Revision),
    /// When it last changed.
    ModRevision(Revision),
    /// What it ends with.
    Lease(LeaseId),
    /// Its bytes.
    Value(Vec<u8>),
}

/// Never the value.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}"),
            Self::CreateRevision(revision) => write!(f, "created at {}", revision.0),
            Self::ModRevision(revision) => write!(f, "changed at {}", revision.0),
            Self::Lease(lease) => write!(f, "lease {:x}", lease.0),
            Self::Value(value) => write!(f, "a value of {} bytes", value.len()),
        }
    }
}

impl Compare {
    /// None of them is there.
    pub fn absent(span: Span) -> Self {
        Self::equal(span, Target::CreateRevision(Revision(0)))
    }

    /// It has not changed since it was read with this revision of its last change.
    pub fn unchanged(key: Span, mod_revision: Revision) -> Self {
        Self::equal(key, Target::ModRevision(mod_revision))
    }

    /// It is so.
    pub fn equal(span: Span, target: Target) -> Self {
        Self {
            span,
            relation: Relation::Equal,
            target,
        }
    }

    fn request(&self) -> wire::Compare {
        let (key, range_end) = self.span.bounds();
        let result = match self.relation {
            Relation::Equal => CompareResult::Equal,
            Relation::NotEqual => CompareResult::NotEqual,
            Relation::Greater => CompareResult::Greater,
            Relation::Less => CompareResult::Less,
        };
        let (target, union) = match &self.target {
            Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(*version)),
            Target::CreateRevision(at) => (CompareTarget::Create, TargetUnion::CreateRevision(at.0)),
            Target::ModRevision(at) => (CompareTarget::Mod, TargetUnion::ModRevision(at.0)),
            Target::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(lease.0)),
            Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(value.clone())),
        };
        wire::Compare {
            result: result.into(),
            target: target.into(),
            key,
            range_end,
            target_union: Some(union),
        }
    }
}

/// One operation.
#[derive(Clone)]
pub enum Op {
    /// Reads, as it is after the operations before. `read` of the range does not matter here: a change is always agreed on.
    Get(Range),
    /// Writes one key, which ends with its lease; lease 0 is none.
    Put {
        /// One key.
        key: Span,
        /// Its new bytes.
        value: Vec<u8>,
        /// What it ends with.
        lease: LeaseId,
    },
    /// Takes away.
    Delete(Span),
}

/// Never the value.
impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Get(range) => write!(f, "get {}", range.span),
            Self::Put { key, value, .. } => write!(f, "put {key} ({} bytes)", value.len()),
            Self::Delete(span) => write!(f, "delete {span}"),
        }
    }
}

impl Op {
    fn span(&self) -> &Span {
        match self {
            Self::Get(range) => &range.span,
            Self::Put { key, .. } => key,
            Self::Delete(span) => span,
        }
    }

    fn request(&self) -> wire::RequestOp {
        let request = match self {
            Self::Get(range) => Request::RequestRange(range.request()),
            Self::Put { key, value, lease } => Request::RequestPut(wire::PutRequest {
                key: key.bounds().0,
                value: value.clone(),
                lease: lease.0,
            }),
            Self::Delete(span) => {
                let (key, range_end) = span.bounds();
                Request::RequestDeleteRange(wire::DeleteRangeRequest { key, range_end })
            }
        };
        wire::RequestOp {
            request: Some(request),
        }
    }

    fn answer(&self, answer: wire::ResponseOp, revision: Revision) -> Result<OpAnswer, String> {
        match (self, answer.response) {
            (Self::Get(range), Some(Response::ResponseRange(mut answer))) => {
                // Within a transaction, a header names the revision alone.
                answer.header = Some(wire::ResponseHeader {
                    revision: revision.0,
                    cluster_id: 1,
                    ..Default::default()
                });
                Ok(OpAnswer::Found(found(range, answer)?))
            }
            (Self::Put { .. }, Some(Response::ResponsePut(_))) => Ok(OpAnswer::Put),
            (Self::Delete(_), Some(Response::ResponseDeleteRange(answer))) => u64::try_from(answer.deleted)
                .map(OpAnswer::Deleted)
                .map_err(|_| "it deleted fewer than no keys".into()),
            (op, _) => Err(format!("the answer to {op:?} is one to something else")),
        }
    }
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the comparisons held.
    pub succeeded: bool,
    /// etcd's latest revision after it; where it changed something, that of the change.
    pub revision: Revision,
    /// Which etcd it was.
    pub cluster_id: u64,
    /// One for each operation of the branch that was done.
    pub answers: Vec<OpAnswer>,
}

/// What an operation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpAnswer {
    /// It was written.
    Put,
    /// So many were there and are no more.
    Deleted(u64),
    /// It was read.
    Found(Found),
}

pub(super) async fn txn(pool: &Pool, txn: &Txn, until: Instant) -> Result<Outcome, EtcdError> {
    let ask = Ask {
        path: "/etcdserverpb.KV/Txn",
        effect: if txn.writes() { Effect::Write } else { Effect::Read },
        what: txn.describe(),
    };
    txn.check().map_err(|why| ask.failed(why))?;
    let answer: wire::TxnResponse = call(pool, &ask, &txn.request(), until).await?;
    txn.outcome(answer).map_err(|why| {
        ask.failed(if txn.writes() {
            unknown(&why)
        } else {
            EtcdError::Malformed(why)
        })
    })
}

impl Txn {
    /// Whether any branch may change something.
    pub(super) fn writes(&self) -> bool {
        let mut all = self.then.iter().chain(&self.otherwise);
        all.any(|op| !matches!(op, Op::Get(_)))
    }

    /// "change /a and 2 more".
    pub(super) fn describe(&self) -> String {
        let verb = if self.writes() { "change" } else { "read" };
        let mut spans = self.then.iter().chain(&self.otherwise).map(Op::span);
        let compared = self.compares.iter().map(|compare| &compare.span).next();
        let first = spans.next().or(compared);
        let more = match spans.count() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{verb} {}{more}", first.map(Span::to_string).unwrap_or_default())
    }

    pub(super) fn check(&self) -> Result<(), EtcdError> {
        let most = [self.compares.len(), self.then.len(), self.otherwise.len()];
        if let Some(count) = most.into_iter().find(|count| *count > MAX_OPERATIONS) {
            return Err(EtcdError::TooLarge(format!(
                "{count} operations at once, etcd's limit is {MAX_OPERATIONS}"
            )));
        }
        let many = |op: &&Op| matches!(op, Op::Put { key, .. } if !key.bounds().1.is_empty());
        if let Some(op) = self.then.iter().chain(&self.otherwise).find(many) {
            return Err(EtcdError::Config(format!(
                "{op:?} is of a prefix, and one key is written"
            )));
        }
        Ok(())
    }

    pub(super) fn request(&self) -> wire::TxnRequest {
        wire::TxnRequest {
            compare: self.compares.iter().map(Compare::request).collect(),
            success: self.then.iter().map(Op::request).collect(),
            failure: self.otherwise.iter().map(Op::request).collect(),
        }
    }

    /// An answer that fits, or why it does not.
    pub(super) fn outcome(&self, answer: wire::TxnResponse) -> Result<Outcome, String> {
        let (revision, cluster_id) = header(answer.header.as_ref())?;
        let asked = if answer.succeeded {
            &self.then
        } else {
            &self.otherwise
        };
        if answer.responses.len() != asked.len() {
            return Err(format!(
                "it answers {} operations of {}",
                answer.responses.len(),
                asked.len()
            ));
        }
        let pairs = asked.iter().zip(answer.responses);
        let mut answers = pairs
            .map(|(op, answer)| op.answer(answer, revision))
            .collect::<Result<Vec<_>, _>>()?;
        for answer in &mut answers {
            if let OpAnswer::Found(found) = answer {
                found.cluster_id = cluster_id;
            }
        }
        Ok(Outcome {
            succeeded: answer.succeeded,
            revision,
            cluster_id,
            answers,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::{LeaseId, Op, OpAnswer, Range, Span, Txn};
    use crate::proto::etcd as wire;
    use crate::proto::etcd::response_op::Response;

    fn txn() -> Txn {
        let put = Op::Put {
            key: Span::key("/a").unwrap(),
            value: b"hunter2".to_vec(),
            lease: LeaseId(0),
        };
        Txn {
            compares: Vec::new(),
            then: vec![put, Op::Delete(Span::key("/b").unwrap())],
            otherwise: vec![Op::Get(Range::of(Span::key("/a").unwrap()))],
        }
    }

    fn answer(succeeded: bool, responses: Vec<Response>) -> wire::TxnResponse {
        let response = |it| wire::ResponseOp { response: Some(it) };
        wire::TxnResponse {
            header: Some(wire::ResponseHeader {
                cluster_id: 7,
                revision: 9,
                ..Default::default()
            }),
            succeeded,
            responses: responses.into_iter().map(response).collect(),
        }
    }

    #[test]
    fn the_answer_is_one_to_the_branch_that_was_done() {
        let put = || Response::ResponsePut(wire::PutResponse::default());
        let deleted = |deleted| {
            Response::ResponseDeleteRange(wire::DeleteRangeResponse {
                header: None,
                deleted,
            })
        };
        let read = || Response::ResponseRange(wire::RangeResponse::default());

        let done = txn().outcome(answer(true, vec![put(), deleted(1)])).unwrap();
        assert_eq!(done.answers, [OpAnswer::Put, OpAnswer::Deleted(1)]);
        let not = txn().outcome(answer(false, vec![read()])).unwrap();
        assert!(matches!(&not.answers[..], [OpAnswer::Found(found)] if found.cluster_id == 7));

        for (succeeded, responses) in [
            (true, vec![put()]),
            (true, vec![deleted(1), put()]),
            (true, vec![put(), deleted(-1)]),
            (true, vec![read()]),
            (false, vec![put()]),
            (false, Vec::new()),
        ] {
            assert!(txn().outcome(answer(succeeded, responses)).is_err());
        }
        let mut none = answer(true, vec![put(), deleted(1)]);
        none.header = None;
        assert!(txn().outcome(none).is_err());
    }

    #[test]
    fn no_value_is_shown() {
        let shown = format!("{:?} {}", txn(), txn().describe());

        assert!(shown.contains("/a") && !shown.contains("hunter2"), "{shown}");
    }

    proptest! {
        #[test]
        fn no_bytes_of_an_answer_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(answer) = wire::TxnResponse::decode(bytes.as_slice()) {
                let _ = txn().outcome(answer);
            }
        }
    }
}
