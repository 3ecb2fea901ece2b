//! What can go wrong with etcd, told apart by what the caller can do next.

/// Longest part of a message of the other side that is repeated, in characters; etcd's own have up to 100.
const MAX_QUOTED: usize = 200;

/// Why there is no answer. The text names the endpoint, the call and the key, and what to do; never a value or a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdError {
    /// What was asked for, or configured, cannot be. Nothing was sent.
    #[error("{0}")]
    Config(String),
    /// No member could be asked, and nothing was changed: not reached, not speaking etcd's protocol, or silent. Try again.
    #[error("{0}")]
    Unavailable(String),
    /// A member answers, and etcd as a whole does not: no leader, no quorum, or too slow. Nothing was changed. Try again.
    #[error("{0}")]
    NoQuorum(String),
    /// A change was sent and no answer says what became of it: it may have happened, may happen yet, or never will. Read
    /// before writing again.
    #[error("{0}")]
    Unknown(String),
    /// Certificate, user or permission; nothing was changed.
    #[error("{0}")]
    Denied(String),
    /// The request was too large to send, or the answer too large to take. Nothing was changed.
    #[error("{0}")]
    TooLarge(String),
    /// The revision that was asked for is compacted, or has not been reached. Read the present.
    #[error("{0}")]
    Compacted(String),
    /// The lease has expired, was revoked, or never was. Nothing was changed.
    #[error("{0}")]
    NoLease(String),
    /// etcd understood, and does not do it: no space, too many requests, what is not allowed. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// An answer to a read that does not fit what was asked: not etcd, or one that is damaged.
    #[error("{0}")]
    Malformed(String),
}

impl EtcdError {
    /// The same with more around its text.
    pub(super) fn within(self, around: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Config(text) => Self::Config(around(text)),
            Self::Unavailable(text) => Self::Unavailable(around(text)),
            Self::NoQuorum(text) => Self::NoQuorum(around(text)),
            Self::Unknown(text) => Self::Unknown(around(text)),
            Self::Denied(text) => Self::Denied(around(text)),
            Self::TooLarge(text) => Self::TooLarge(around(text)),
            Self::Compacted(text) => Self::Compacted(around(text)),
            Self::NoLease(text) => Self::NoLease(around(text)),
            Self::Refused(text) => Self::Refused(around(text)),
            Self::Malformed(text) => Self::Malformed(around(text)),
        }
    }

    /// Which of several members' words tells most: what a person must mend before what may pass by itself.
    fn weight(&self) -> u8 {
        match self {
            Self::Unavailable(_) => 0,
            Self::Malformed(_) => 1,
            Self::NoQuorum(_) => 2,
            _ => 3,
        }
    }

    /// One error of what each endpoint said last; `None` where nothing was said.
    pub(super) fn all(words: Vec<(String, Self)>) -> Option<Self> {
        let texts: Vec<String> = words
            .iter()
            .map(|(endpoint, why)| format!("{endpoint}: {why}"))
            .collect();
        let most = words
            .into_iter()
            .map(|(_, why)| why)
            // Of several equal ones the first.
            .rev()
            .max_by_key(Self::weight)?;
        Some(most.within(|_| texts.join("; ")))
    }
}

/// What the other side said, fit for one line of a log: it may be anybody.
pub(super) fn quoted(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_QUOTED)
        .collect()
}

/// Why there is no answer: what happened on the way, or else what the status says.
pub(super) fn words(status: &tonic::Status) -> String {
    match std::error::Error::source(status) {
        Some(why) => chain(why),
        None => quoted(status.message()),
    }
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = quoted(&error.to_string());
    let mut cause = error.source();
    while let Some(why) = cause {
        let more = quoted(&why.to_string());
        // Many libraries repeat their cause.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = why.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::EtcdError;

    #[test]
    fn the_word_that_a_person_must_act_on_names_the_whole() {
        let words = vec![
            ("a".to_owned(), EtcdError::Unavailable("gone".into())),
            ("b".to_owned(), EtcdError::Denied("expired".into())),
            ("c".to_owned(), EtcdError::NoQuorum("no leader".into())),
        ];

        let whole = EtcdError::all(words);

        assert_eq!(
            whole,
            Some(EtcdError::Denied("a: gone; b: expired; c: no leader".into()))
        );
    }
}
