//! Being told that keys have changed.
//!
//! A watch is a hint and nothing else: it may be late, and in real etcds has been silent, repeated itself and gone back.
//! Whoever must know reads.

use std::sync::Arc;
use std::time::Duration;

use prost::bytes::Bytes;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::codegen::tokio_stream::{self, StreamExt};
use tonic::metadata::MetadataValue;
use tonic::{Request, Streaming};

use super::call::{Failed, jittered};
use super::error::{EtcdError, quoted, words};
use super::kv::{Revision, Span};
use super::pool::{Pool, REQUIRE_LEADER, Slot};
use super::wire::{decoded, encoded, streaming};
use crate::proto::etcd as wire;
use crate::proto::etcd::watch_request::RequestUnion;

const WATCH: &str = "/etcdserverpb.Watch/Watch";
/// For a member to take up a watch.
const START: Duration = Duration::from_secs(5);
/// After a watch was lost, and twice that before the next attempt, up to the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something changed, at this revision; also when etcd has gone back to an earlier one.
    Changed {
        /// Of the last change.
        revision: Revision,
    },
    /// Nothing is heard from now on, until the watch has come up again by itself; told once. Changes meanwhile are told
    /// then.
    Lost {
        /// For people.
        why: String,
    },
    /// What was to be told is compacted away; the watch goes on after it. Read the present.
    Compacted {
        /// The oldest revision that there still is.
        revision: Revision,
    },
}

/// Ends its watch when it is dropped: at most the call that runs at that moment is finished.
#[must_use = "a watch ends with its handle"]
pub struct WatchHandle(pub(super) AbortHandle);

impl Drop for WatchHandle {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is watched, and how far it has been told.
pub(super) struct Watch<F> {
    span: Span,
    /// The next revision that is not told yet; `None` for whatever comes.
    next: Option<i64>,
    tell: F,
    up: bool,
}

impl<F: FnMut(Event) + Send> Watch<F> {
    pub(super) fn new(span: Span, from: Option<Revision>, tell: F) -> Self {
        Self {
            span,
            next: from.map(|from| from.0),
            tell,
            up: false,
        }
    }

    /// Never ends by itself.
    pub(super) async fn run(mut self, pool: Arc<Pool>) {
        let mut pause = PAUSES.0;
        let mut lost = false;
        // The first is the one that worked last; after it has failed, the others have their turn.
        let mut turn = 0_usize;
        loop {
            let order = pool.order();
            // There is at least one.
            let Some(slot) = order.iter().cycle().nth(turn % order.len().max(1)) else {
                return;
            };
            let begun = Instant::now();
            self.up = false;
            let end = match start(&self.span, self.next, &pool, slot).await {
                Err(why) => End::Lost(why),
                Ok(mut answers) => self.follow(&mut answers).await,
            };
            lost = lost && !self.up;
            if let End::Lost(why) = end {
                // The token may be the reason.
                pool.forget_token();
                turn = turn.wrapping_add(1);
                if !lost {
                    let endpoint = &slot.endpoint;
                    (self.tell)(Event::Lost {
                        why: format!("cannot watch {} in etcd (Watch): {endpoint}: {why}", self.span),
                    });
                    lost = true;
                }
            }
            // One that ends as soon as it is up is no better than one that does not come up.
            if begun.elapsed() > PAUSES.1 {
                pause = PAUSES.0;
            }
            sleep(jittered(pause)).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Tells what comes, until nothing does.
    async fn follow(&mut self, answers: &mut Streaming<Bytes>) -> End {
        loop {
            match answers.message().await {
                Err(status) => return End::Lost(EtcdError::Unavailable(words(&status))),
                Ok(None) => return End::Lost(EtcdError::Unavailable("it ended the watch".into())),
                Ok(Some(answer)) => match decoded(answer) {
                    Err(why) => return End::Lost(why),
                    Ok(answer) => {
                        if let Some(end) = self.heard(&answer) {
                            return end;
                        }
                    }
                },
            }
        }
    }

    fn heard(&mut self, answer: &wire::WatchResponse) -> Option<End> {
        if answer.compact_revision > 0 {
            self.next = Some(answer.compact_revision);
            (self.tell)(Event::Compacted {
                revision: Revision(answer.compact_revision),
            });
            return Some(End::Again);
        }
        if answer.canceled {
            let reason = quoted(&answer.cancel_reason);
            return Some(End::Lost(EtcdError::Refused(format!(
                "it ended the watch: {reason}"
            ))));
        }
        let now = answer.header.as_ref().map_or(0, |header| header.revision);
        if answer.created {
            self.up = true;
            match self.next {
                // Another history, or a member that is behind: both are worth a look.
                Some(next) if now > 0 && now < next.saturating_sub(1) => {
                    self.next = Some(now.saturating_add(1));
                    (self.tell)(Event::Changed {
                        revision: Revision(now),
                    });
                    return Some(End::Again);
                }
                None if now > 0 => self.next = Some(now.saturating_add(1)),
                _ => {}
            }
        }
        let revisions = answer
            .events
            .iter()
            .filter_map(|event| Some(event.kv.as_ref()?.mod_revision));
        if let Some(last) = revisions.max() {
            // The rest of a revision may follow in another fragment.
            self.next = Some(last.saturating_add(i64::from(!answer.fragment)));
            (self.tell)(Event::Changed {
                revision: Revision(last),
            });
        } else if !answer.created && now > 0 {
            // Nothing happened up to here.
            self.next = self.next.max(Some(now.saturating_add(1)));
        }
        None
    }
}

/// On a connection of its own: what is slow with the calls is nothing to the watch, and the reverse.
async fn start(
    span: &Span,
    next: Option<i64>,
    pool: &Pool,
    slot: &Slot,
) -> Result<Streaming<Bytes>, EtcdError> {
    let until = Instant::now() + START;
    let line = pool.own(slot, until).await?;
    let (key, range_end) = span.bounds();
    let create = wire::WatchCreateRequest {
        key,
        range_end,
        start_revision: next.unwrap_or_default(),
        // So that a quiet watch does not fall behind what is compacted.
        progress_notify: true,
        // No answer above etcd's own limit of a request.
        fragment: true,
    };
    let create = wire::WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    };
    // Open until the watch is dropped: the end of the questions is the end of the answers.
    let mut request = Request::new(tokio_stream::once(encoded(&create)).chain(tokio_stream::pending()));
    let (name, value) = REQUIRE_LEADER;
    request
        .metadata_mut()
        .insert(name, MetadataValue::from_static(value));
    if let Some(login) = &pool.login {
        let token = login.token(&line, until).await.map_err(|failed| match failed {
            Failed::Here(why) | Failed::Final(why) => why,
        })?;
        token.put(&mut request);
    }
    match timeout_at(until, streaming(&line, WATCH, request)).await {
        Err(_) => Err(EtcdError::NoQuorum("it did not take up the watch in time".into())),
        Ok(Err(status)) => Err(EtcdError::Unavailable(words(&status))),
        Ok(Ok(answers)) => Ok(answers),
    }
}

enum End {
    /// The watch must be taken up again, at another revision.
    Again,
    Lost(EtcdError),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::{Event, Revision, Span, Watch};
    use crate::proto::etcd as wire;

    fn answer(revision: i64, changed: &[i64]) -> wire::WatchResponse {
        let event = |at: &i64| wire::Event {
            r#type: 0,
            kv: Some(wire::KeyValue {
                mod_revision: *at,
                ..Default::default()
            }),
        };
        wire::WatchResponse {
            header: Some(wire::ResponseHeader {
                revision,
                ..Default::default()
            }),
            events: changed.iter().map(event).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn it_goes_on_behind_what_was_told() {
        let mut told = Vec::new();
        let mut watch = Watch::new(Span::key("/a").unwrap(), None, |event| told.push(event));

        let mut created = answer(10, &[]);
        created.created = true;
        let mut first_half = answer(13, &[11, 12]);
        first_half.fragment = true;
        let mut nexts = Vec::new();
        for answer in [
            created,
            first_half,
            answer(13, &[12]),
            answer(20, &[]),
            answer(15, &[]),
        ] {
            assert!(watch.heard(&answer).is_none());
            nexts.push(watch.next.unwrap());
        }

        // The revision of a fragment may have more, and nobody goes back.
        assert_eq!(nexts, [11, 12, 13, 21, 21]);
        let changed = |at| Event::Changed {
            revision: Revision(at),
        };
        assert_eq!(told, [changed(12), changed(12)]);
    }

    proptest! {
        #[test]
        fn no_bytes_of_an_answer_make_it_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            next in proptest::option::of(any::<i64>()),
        ) {
            if let Ok(answer) = wire::WatchResponse::decode(bytes.as_slice()) {
                let mut watch = Watch::new(Span::key("/a").unwrap(), next.map(Revision), |_| ());
                let _ = watch.heard(&answer);
            }
        }
    }
}
