//! A user of etcd: the password from its file, for a token that stands for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Instant, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request};

use super::call::{Failed, said_no};
use super::connect::Line;
use super::error::{EtcdError, quoted, words};
use super::file;
use super::wire::{decoded, encoded, unary};
use crate::proto::etcd::{AuthenticateRequest, AuthenticateResponse};

/// Of etcd's API (its `rpctypes.TokenFieldNameGRPC`).
const TOKEN: &str = "token";
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";

/// Whom to say that we are, where etcd knows its clients by password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name in etcd.
    pub name: String,
    /// One line, in a file of mode 0600 that belongs to this user or root. Read again for each new token.
    pub password_file: PathBuf,
}

pub(super) struct Login {
    user: User,
    token: Mutex<Option<Token>>,
}

/// What goes with each request: a token, or nothing where etcd wants none.
#[derive(Clone)]
pub(super) struct Token(Option<Arc<MetadataValue<Ascii>>>);

impl Token {
    pub(super) fn put<T>(&self, request: &mut Request<T>) {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert(TOKEN, token.as_ref().clone());
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

impl Login {
    pub(super) fn new(user: User) -> Self {
        Self {
            user,
            token: Mutex::default(),
        }
    }

    /// The token that there is, or a new one.
    pub(super) async fn token(&self, line: &Line, until: Instant) -> Result<Token, Failed> {
        let there_is = self.held().clone();
        match there_is {
            Some(token) => Ok(token),
            None => self.authenticate(line, until).await,
        }
    }

    /// Etcd does not take this one; the next call gets another.
    pub(super) fn forget(&self, refused: &Token) {
        let mut held = self.held();
        if held.as_ref().is_some_and(|token| token.is(refused)) {
            *held = None;
        }
    }

    pub(super) fn forget_any(&self) {
        *self.held() = None;
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn authenticate(&self, line: &Line, until: Instant) -> Result<Token, Failed> {
        let password = file::password(&self.user.password_file).map_err(Failed::Final)?;
        let request = Request::new(encoded(&AuthenticateRequest {
            name: self.user.name.clone(),
            password: password.to_string(),
        }));
        let (traced, trace) = line.traced();
        let asked = unary(line, traced, AUTHENTICATE, request);
        let token = match timeout_at(until, asked).await {
            Err(_) => {
                return Err(Failed::Here(EtcdError::NoQuorum(
                    "it did not say in time whether it takes the password".into(),
                )));
            }
            Ok(Ok(answer)) => {
                let answer: AuthenticateResponse = decoded(answer).map_err(Failed::Here)?;
                let mut token: MetadataValue<Ascii> = answer.token.parse().map_err(|_| {
                    Failed::Here(EtcdError::Malformed(
                        "its token cannot be sent in a header".into(),
                    ))
                })?;
                token.set_sensitive(true);
                Token(Some(Arc::new(token)))
            }
            // etcd's own word for "authentication is not enabled": then it wants no token either.
            Ok(Err(status)) if trace.said() && status.code() == Code::FailedPrecondition => Token(None),
            Ok(Err(status)) if trace.said() && said_no(status.code()) => {
                return Err(Failed::Final(EtcdError::Denied(format!(
                    "it does not take user {:?} with the password in {}: {}; check both, and `etcdctl user list`",
                    self.user.name,
                    self.user.password_file.display(),
                    quoted(status.message()),
                ))));
            }
            Ok(Err(status)) => {
                return Err(Failed::Here(EtcdError::Unavailable(format!(
                    "cannot get a token: {}",
                    words(&status)
                ))));
            }
        };
        *self.held() = Some(token.clone());
        Ok(token)
    }
}
