//! The requests of a load, and what their answers must be.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::client::{Api, collection};
use crate::secret::Secret;

/// Of a list.
const PAGE: usize = 50;

/// Why a request counts as failed.
pub enum Trouble {
    /// No answer, or none that is good: whatever it needs may be away.
    Failed(String),
    /// The answer is wrong, and nothing excuses that.
    Wrong(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

pub fn create(api: &Api, secret: &Secret) -> Result<(), Trouble> {
    let (number, password) = secret.next();
    api.create_secret(&secret.name, &password)?;
    secret.acknowledge(number);
    Ok(())
}

/// What was read is written back with another password, and only if nobody else wrote in between.
pub fn update(api: &Api, secret: &Secret) -> Result<(), Trouble> {
    let floor = secret.floor();
    let mut object = api.object("secrets", &secret.name)?;
    secret.check(&object, floor)?;
    let (number, password) = secret.next();
    object["stringData"] = json!({"password": password});
    api.replace("secrets", &secret.name, &object)?;
    secret.acknowledge(number);
    Ok(())
}

pub fn get(api: &Api, secret: &Secret) -> Result<(), Trouble> {
    let floor = secret.floor();
    secret.check(&api.object("secrets", &secret.name)?, floor)
}

/// All of these are in it, and each is right.
pub fn list(api: &Api, secrets: &[Arc<Secret>]) -> Result<(), Trouble> {
    let floors: Vec<u64> = secrets.iter().map(|it| it.floor()).collect();
    let mut found = BTreeMap::new();
    let mut next = String::new();
    loop {
        let page = api.read(&format!("{}?limit={PAGE}{next}", collection("secrets")))?;
        for object in page["items"].as_array().into_iter().flatten() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            found.insert(name.to_owned(), object.clone());
        }
        match page["metadata"]["continue"].as_str().filter(|it| !it.is_empty()) {
            Some(more) => next = format!("&continue={more}"),
            None => break,
        }
    }
    for (secret, floor) in secrets.iter().zip(floors) {
        secret.check(found.get(&secret.name).unwrap_or(&Value::Null), floor)?;
    }
    Ok(())
}
