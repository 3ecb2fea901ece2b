//! How a verb ends when it does not end well: one line of what was tried and why it failed, a hint, an exit code.

use std::io::Write;
use std::process::ExitCode;

use super::output::{Colour, paint};
use crate::config::ConfigError;
use crate::crypto::RandomnessError;
use crate::custody::{CommitError, OpenError};
use crate::member::MemberError;
use crate::root::RootError;
use crate::server::listener::ListenError;
use crate::store::StoreError;
use crate::telemetry::plain;

/// Not done.
pub(super) struct Failure {
    code: u8,
    message: String,
    hint: String,
}

impl Failure {
    /// Tried and failed.
    pub(super) fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with_code(1, message, hint)
    }

    /// The command line or the configuration is wrong.
    pub(super) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with_code(2, message, hint)
    }

    /// Not tried, for safety.
    pub(super) fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with_code(3, message, hint)
    }

    /// Begun, and still waiting for something.
    pub(super) fn unfinished(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::with_code(4, message, hint)
    }

    /// The same with another hint.
    pub(super) fn with_hint(self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        Self { hint, ..self }
    }

    /// The same as a part that failed after `done` was done, and so no refusal of the whole.
    pub(super) fn after(self, done: &str) -> Self {
        let message = format!("{done}: {}", self.message);
        Self {
            code: 1,
            message,
            hint: self.hint,
        }
    }

    fn with_code(code: u8, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    pub(super) fn refused_if(refusal: bool, message: String, hint: impl Into<String>) -> Self {
        Self::with_code(if refusal { 3 } else { 1 }, message, hint)
    }

    /// What was tried and why it failed, without the hint.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What to do.
    pub(super) fn hint(&self) -> &str {
        &self.hint
    }

    /// The exit code stands, whether anybody can be told or not.
    pub(super) fn print(&self) -> ExitCode {
        let mut err = std::io::stderr();
        let paint = |colour, word| paint(&std::io::stderr(), colour, word);
        let _ = writeln!(err, "{} {}", paint(Colour::Red, "error:"), plain(&self.message));
        if !self.hint.is_empty() {
            let _ = writeln!(err, "{} {}", paint(Colour::Cyan, "hint:"), plain(&self.hint));
        }
        ExitCode::from(self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(why: ConfigError) -> Self {
        Self::usage(why.to_string(), why.hint())
    }
}

impl From<OpenError> for Failure {
    fn from(why: OpenError) -> Self {
        Self::refused_if(why.is_refusal(), why.to_string(), why.hint())
    }
}

impl From<CommitError> for Failure {
    fn from(why: CommitError) -> Self {
        Self::refused_if(why.is_refusal(), why.to_string(), why.hint())
    }
}

impl From<ListenError> for Failure {
    fn from(why: ListenError) -> Self {
        Self::refused_if(why.is_refusal(), why.to_string(), why.hint())
    }
}

impl From<StoreError> for Failure {
    fn from(why: StoreError) -> Self {
        CommitError::Store(why).into()
    }
}

impl From<MemberError> for Failure {
    fn from(why: MemberError) -> Self {
        let hint = match why.is_away() {
            true => "see that etcd answers and has a leader; `kekring serve` serves from this node's copy meanwhile".into(),
            false => why.hint(),
        };
        Self::failed(format!("cannot take part in the ring on etcd: {why}"), hint)
    }
}

impl From<RootError> for Failure {
    fn from(why: RootError) -> Self {
        Self::refused_if(
            matches!(why, RootError::Denied(_)),
            format!("cannot make a root: {why}"),
            "check the directory, owner and mode of the file; nothing was changed",
        )
    }
}

impl From<RandomnessError> for Failure {
    fn from(why: RandomnessError) -> Self {
        Self::failed(why.to_string(), "the kernel must offer getrandom(2)")
    }
}
