//! Reading keys, and changing them where they are still as they were.

use std::fmt;

use tokio::time::Instant;

use super::call::{Ask, Effect, call};
use super::error::EtcdError;
use super::pool::Pool;
use crate::proto::etcd as wire;

/// Longest key or prefix, in bytes: etcd has no limit of its own, kube-apiserver's keys stay below 800.
pub const MAX_KEY: usize = 1024;

/// A point in etcd's history: each change has a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

/// A lease; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaseId(pub i64);

/// One key, or many.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    key: Vec<u8>,
    /// As etcd has it: empty for one key, else the first key that is not meant; a zero byte for all that follow.
    end: Vec<u8>,
}

impl Span {
    /// One key.
    pub fn key(key: impl Into<Vec<u8>>) -> Result<Self, EtcdError> {
        let key = bounded(key.into())?;
        Ok(Self { key, end: Vec::new() })
    }

    /// Every key that begins so.
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Result<Self, EtcdError> {
        let key = bounded(prefix.into())?;
        let end = after(&key);
        Ok(Self { key, end })
    }

    /// The keys of this span that come after `key`: the next page.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        let mut next = key.to_vec();
        next.push(0);
        Self {
            key: next.max(self.key.clone()),
            end: self.end.clone(),
        }
    }

    /// The keys of this span that come after every key that begins with `prefix`.
    #[must_use]
    pub fn beyond(&self, prefix: &[u8]) -> Self {
        Self {
            key: after(prefix).max(self.key.clone()),
            end: self.end.clone(),
        }
    }

    fn holds(&self, key: &[u8]) -> bool {
        match self.end.as_slice() {
            [] => key == self.key,
            [0] => key >= self.key.as_slice(),
            end => key >= self.key.as_slice() && key < end,
        }
    }

    /// Key and end, as etcd wants them.
    pub(super) fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        (self.key.clone(), self.end.clone())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.end.is_empty() { "" } else { "…" };
        write!(f, "{}{many}", self.key.escape_ascii())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn bounded(key: Vec<u8>) -> Result<Vec<u8>, EtcdError> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(EtcdError::Config(format!(
            "a key of etcd is 1 to {MAX_KEY} bytes here, this one is {}",
            key.len()
        )));
    }
    Ok(key)
}

/// The first key that does not begin with `prefix`.
fn after(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return end;
        }
    }
    vec![0]
}

/// Whose knowledge is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// What a quorum agrees on at this moment. Needs one.
    Linearizable,
    /// What one member knows, however old.
    Serializable,
}

/// A question for keys.
#[derive(Clone, Debug)]
pub struct Range {
    /// Which.
    pub span: Span,
    /// Whose knowledge.
    pub read: Read,
    /// Without the values.
    pub keys_only: bool,
    /// At most so many, in the order of their bytes; 0 for all.
    pub limit: u32,
    /// As it was then; `None` for now.
    pub at: Option<Revision>,
}

impl Range {
    /// All of them with their values, as they are now, by a quorum's word.
    pub fn of(span: Span) -> Self {
        Self {
            span,
            read: Read::Linearizable,
            keys_only: false,
            limit: 0,
            at: None,
        }
    }

    pub(super) fn request(&self) -> wire::RangeRequest {
        let (key, range_end) = self.span.bounds();
        wire::RangeRequest {
            key,
            range_end,
            limit: self.limit.into(),
            revision: self.at.map_or(0, |at| at.0),
            serializable: self.read == Read::Serializable,
            keys_only: self.keys_only,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// etcd's latest revision at the answer.
    pub revision: Revision,
    /// Which etcd it was: another one has another history.
    pub cluster_id: u64,
    /// Whether `limit` has kept some back.
    pub more: bool,
    /// How many there are, those kept back included.
    pub count: u64,
    /// In the order of their bytes.
    pub kvs: Vec<KeyValue>,
}

/// One key with its value.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Its name.
    pub key: Vec<u8>,
    /// Its bytes; empty with `keys_only`.
    pub value: Vec<u8>,
    /// When it came to be.
    pub create_revision: Revision,
    /// When it last changed.
    pub mod_revision: Revision,
    /// How often it has changed since it came to be, from 1.
    pub version: i64,
    /// What it ends with; 0 for nothing.
    pub lease: LeaseId,
}

/// Never the value.
impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}@{} ({} bytes)",
            self.key.escape_ascii(),
            self.mod_revision.0,
            self.value.len()
        )
    }
}

pub(super) async fn range(pool: &Pool, range: &Range, until: Instant) -> Result<Found, EtcdError> {
    let ask = Ask {
        path: "/etcdserverpb.KV/Range",
        effect: match range.read {
            Read::Linearizable => Effect::Read,
            Read::Serializable => Effect::ReadLocal,
        },
        what: format!("read {}", range.span),
    };
    let answer: wire::RangeResponse = call(pool, &ask, &range.request(), until).await?;
    found(range, answer).map_err(|why| ask.failed(EtcdError::Malformed(why)))
}

/// Revision and cluster of an answer.
pub(super) fn header(header: Option<&wire::ResponseHeader>) -> Result<(Revision, u64), String> {
    match header {
        Some(header) if header.revision > 0 && header.cluster_id != 0 => {
            Ok((Revision(header.revision), header.cluster_id))
        }
        Some(_) => Err("the answer's header names no revision or no cluster".into()),
        None => Err("the answer has no header".into()),
    }
}

/// An answer that fits the question, or why it does not.
pub(super) fn found(range: &Range, answer: wire::RangeResponse) -> Result<Found, String> {
    let (revision, cluster_id) = header(answer.header.as_ref())?;
    let given = answer.kvs.len();
    let count = u64::try_from(answer.count).map_err(|_| "it counts fewer than no keys".to_owned())?;
    let limit = usize::try_from(range.limit).unwrap_or(usize::MAX);
    if limit > 0 && given > limit {
        return Err(format!(
            "it holds {given} keys where at most {limit} were asked for"
        ));
    }
    let all = u64::try_from(given).is_ok_and(|given| given == count);
    if answer.more == all {
        return Err(format!("it holds {given} keys and counts {count}"));
    }
    let mut kvs: Vec<KeyValue> = Vec::with_capacity(given);
    for kv in answer.kvs {
        let shown = kv.key.escape_ascii().to_string();
        if !range.span.holds(&kv.key) {
            return Err(format!("it holds {shown}, which was not asked for"));
        }
        if kvs.last().is_some_and(|before| before.key >= kv.key) {
            return Err(format!("{shown} is out of order"));
        }
        let last = range.at.unwrap_or(revision).0;
        if !(1..=kv.mod_revision).contains(&kv.create_revision) || kv.mod_revision > last || kv.version < 1 {
            return Err(format!("the revisions of {shown} cannot be"));
        }
        if range.keys_only && !kv.value.is_empty() {
            return Err(format!("it holds the value of {shown}, which was not asked for"));
        }
        kvs.push(KeyValue {
            key: kv.key,
            value: kv.value,
            create_revision: Revision(kv.create_revision),
            mod_revision: Revision(kv.mod_revision),
            version: kv.version,
            lease: LeaseId(kv.lease),
        });
    }
    Ok(Found {
        revision,
        cluster_id,
        more: answer.more,
        count,
        kvs,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::{Range, Revision, Span, after, found};
    use crate::proto::etcd as wire;

    fn range() -> Range {
        Range {
            limit: 2,
            ..Range::of(Span::prefix("/k/").unwrap())
        }
    }

    fn answer() -> wire::RangeResponse {
        let kv = |key: &str| wire::KeyValue {
            key: key.into(),
            value: b"x".to_vec(),
            create_revision: 3,
            mod_revision: 5,
            version: 2,
            lease: 0,
        };
        wire::RangeResponse {
            header: Some(wire::ResponseHeader {
                cluster_id: 7,
                revision: 9,
                ..Default::default()
            }),
            kvs: vec![kv("/k/a"), kv("/k/b")],
            more: true,
            count: 3,
        }
    }

    #[test]
    fn a_prefix_ends_before_the_next_key_that_does_not_begin_with_it() {
        for (prefix, end) in [
            (b"/k/".as_slice(), b"/k0".as_slice()),
            (b"a\xff\xff", b"b"),
            (b"\xff", b"\0"),
        ] {
            assert_eq!(after(prefix), end);
            let span = Span::prefix(prefix).unwrap();
            assert!(span.holds(prefix) && span.holds(&[prefix, b"x"].concat()));
            assert!(!span.holds(b"A") && (end == b"\0" || !span.holds(end)));
        }
    }

    #[test]
    fn an_answer_must_fit_the_question() {
        found(&range(), answer()).unwrap();

        type Bend = fn(&mut wire::RangeResponse);
        let bent: [(&str, Bend); 13] = [
            ("no header", |it| it.header = None),
            ("no revision", |it| it.header.as_mut().unwrap().revision = 0),
            ("no cluster", |it| it.header.as_mut().unwrap().cluster_id = 0),
            ("counts 2", |it| it.count = 2),
            ("counts 3", |it| it.more = false),
            ("fewer than no keys", |it| it.count = -1),
            ("at most 2", |it| it.kvs.push(it.kvs[1].clone())),
            ("not asked for", |it| it.kvs[1].key = b"/l".to_vec()),
            ("out of order", |it| it.kvs.swap(0, 1)),
            ("out of order", |it| it.kvs[1].key = it.kvs[0].key.clone()),
            ("cannot be", |it| it.kvs[0].mod_revision = 10),
            ("cannot be", |it| it.kvs[0].create_revision = 6),
            ("cannot be", |it| it.kvs[0].version = 0),
        ];
        for (why, bend) in bent {
            let mut bad = answer();
            bend(&mut bad);
            let refused = found(&range(), bad).unwrap_err();
            assert!(refused.contains(why), "{refused}, expected {why}");
        }
        let keys_only = Range {
            keys_only: true,
            ..range()
        };
        assert!(found(&keys_only, answer()).is_err());
        let past = Range {
            at: Some(Revision(4)),
            ..range()
        };
        assert!(found(&past, answer()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_of_an_answer_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(answer) = wire::RangeResponse::decode(bytes.as_slice()) {
                let _ = found(&range(), answer);
            }
        }

        #[test]
        fn what_is_taken_holds_what_was_asked_for(at in 0_usize..200, bits in 1_u8..=255) {
            let mut bytes = answer().encode_to_vec();
            let at = at % bytes.len();
            bytes[at] ^= bits;
            if let Ok(answer) = wire::RangeResponse::decode(bytes.as_slice())
                && let Ok(found) = found(&range(), answer)
            {
                prop_assert!(found.kvs.len() <= 2 && found.kvs.iter().all(|kv| kv.key.starts_with(b"/k/")));
                prop_assert!(found.kvs.iter().all(|kv| kv.mod_revision <= found.revision));
            }
        }
    }
}
