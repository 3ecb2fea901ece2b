//! Why a pass did not come to its end. Serving goes on.

use crate::custody::{CommitError, OpenError};
use crate::nodes;
use crate::store::StoreError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// etcd, or the directory of the copy.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in etcd does not open here.
    #[error("what is in etcd cannot be opened here: {0}")]
    Open(OpenError),
    /// This node's copy was not brought up to date.
    #[error("this node's copy of the ring is not up to date: {0}")]
    Copy(String),
    /// The next generation cannot be made.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The step does not fit what was read.
    #[error(transparent)]
    Step(#[from] nodes::CommitError),
    /// Not done in time; what was done stays, and the rest follows.
    #[error("what this node has to do on etcd is not done yet, and goes on")]
    Late,
}

impl MemberError {
    /// Whether somebody else changed the same thing first.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Conflict(_)) | Self::Commit(CommitError::Store(StoreError::Conflict(_)))
        )
    }

    /// Whether nobody answered: etcd is away, or as good as.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store(StoreError::Away(_)) | Self::Late)
    }

    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Store(StoreError::Away(_)) | Self::Late => {
                "serving goes on from this node's copy, and the server tries again by itself; a verb resumes what is in flight".into()
            }
            Self::Store(StoreError::Barred(_)) => "mend the certificate, the user or its role in etcd".into(),
            Self::Store(StoreError::Denied(_) | StoreError::Unavailable(_)) => {
                "mend the directory in ring.store.etcd.localCopy; serving goes on meanwhile".into()
            }
            Self::Store(_) => "look at the keys under ring.store.etcd.prefix; delete nothing that is not named here".into(),
            Self::Open(why) => why.hint(),
            Self::Copy(_) => {
                "mend the directory in ring.store.etcd.localCopy; serving goes on meanwhile".into()
            }
            Self::Commit(why) => why.hint(),
            Self::Step(_) => "see `kekring status`".into(),
        }
    }
}
