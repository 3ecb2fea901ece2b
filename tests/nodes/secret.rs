//! One Secret of a load, and what may be read of it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use data_encoding::BASE64;
use serde_json::Value;

use crate::requests::Trouble;

/// Its password is its name and a number that rises with each write. One thread writes it.
pub struct Secret {
    pub name: String,
    /// The number that kube-apiserver last said was written.
    acknowledged: AtomicU64,
    /// The highest number that may be there: the answer to its write may be lost.
    attempted: AtomicU64,
}

impl Secret {
    pub fn new(name: String) -> Self {
        Self {
            name,
            acknowledged: AtomicU64::new(0),
            attempted: AtomicU64::new(0),
        }
    }

    /// The password of the next write, and its number.
    pub fn next(&self) -> (u64, String) {
        let number = self.attempted.fetch_add(1, SeqCst) + 1;
        (number, format!("{}/{number}", self.name))
    }

    pub fn acknowledge(&self, number: u64) {
        self.acknowledged.store(number, SeqCst);
    }

    /// The least that a read may find that begins now.
    pub fn floor(&self) -> u64 {
        self.acknowledged.load(SeqCst)
    }

    /// An object that was read holds what was written, at least as new as `floor`.
    pub fn check(&self, object: &Value, floor: u64) -> Result<(), Trouble> {
        let password = password(object).unwrap_or_default();
        let number = password
            .strip_prefix(&*self.name)
            .and_then(|rest| rest.strip_prefix('/')?.parse::<u64>().ok());
        match number {
            Some(number) if (floor..=self.attempted.load(SeqCst)).contains(&number) => Ok(()),
            _ => Err(Trouble::Wrong(format!(
                "{} reads as {password:?}, expected number {floor} or later",
                self.name
            ))),
        }
    }
}

fn password(object: &Value) -> Option<String> {
    let encoded = object["data"]["password"].as_str()?;
    String::from_utf8(BASE64.decode(encoded.as_bytes()).ok()?).ok()
}
