//! A client of etcd, through its JSON gateway.

use data_encoding::BASE64;
use serde_json::{Value, json};
use ureq::Agent;

use crate::client::{NAMESPACE, agent, answer, succeeded};

/// etcd.
pub struct Etcd {
    agent: Agent,
    url: String,
}

impl Etcd {
    pub fn new(url: &str) -> Self {
        Self {
            agent: agent(),
            url: url.to_owned(),
        }
    }

    pub fn is_healthy(&self) -> bool {
        answer(self.agent.get(format!("{}/health", self.url)).call()).is_ok_and(|answer| answer.status == 200)
    }

    /// Every key that begins with `prefix`, and its raw bytes.
    pub fn values(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let mut end = prefix.as_bytes().to_vec();
        *end.last_mut().expect("a prefix") += 1;
        self.range(&json!({"key": BASE64.encode(prefix.as_bytes()), "range_end": BASE64.encode(&end)}))
    }

    /// The raw bytes under a key.
    pub fn value(&self, key: &str) -> Vec<u8> {
        let mut found = self.range(&json!({"key": BASE64.encode(key.as_bytes())}));
        found.pop().unwrap_or_else(|| panic!("etcd has no {key}")).1
    }

    /// Puts raw bytes under a key.
    #[allow(dead_code)] // one suite needs it
    pub fn put(&self, key: &str, value: &[u8]) {
        let request = json!({"key": BASE64.encode(key.as_bytes()), "value": BASE64.encode(value)});
        let put = self.agent.post(format!("{}/v3/kv/put", self.url));
        succeeded(answer(put.send(request.to_string())).unwrap()).unwrap();
    }

    /// Where it is.
    #[allow(dead_code)] // one suite needs it
    pub fn url(&self) -> &str {
        &self.url
    }

    fn range(&self, request: &Value) -> Vec<(String, Vec<u8>)> {
        let range = self.agent.post(format!("{}/v3/kv/range", self.url));
        let answer = succeeded(answer(range.send(request.to_string())).unwrap()).unwrap();
        let found: Value = serde_json::from_str(&answer.body).unwrap();
        let bytes = |value: &Value| BASE64.decode(value.as_str().unwrap_or("").as_bytes()).unwrap();
        let entries = found["kvs"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| {
                (
                    String::from_utf8(bytes(&entry["key"])).unwrap(),
                    bytes(&entry["value"]),
                )
            })
            .collect()
    }
}

/// Where kube-apiserver keeps an object in etcd.
pub fn etcd_key(resource: &str, name: &str) -> String {
    format!("/registry/{resource}/{NAMESPACE}/{name}")
}
