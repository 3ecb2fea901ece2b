//! A client of kube-apiserver as an administrator, and the HTTP below it.

use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Response;
use ureq::tls::TlsConfig;

/// The namespace of every object here.
pub const NAMESPACE: &str = "suite";
/// Longest answer that is read: /metrics is about a megabyte.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// kube-apiserver.
#[derive(Clone)]
pub struct Api {
    agent: Agent,
    url: String,
    authorization: String,
}

impl Api {
    pub fn new(url: &str, token: &str) -> Self {
        Self {
            agent: agent(),
            url: url.to_owned(),
            authorization: format!("Bearer {token}"),
        }
    }

    /// `/readyz` or `/livez`, with every check named.
    pub fn health(&self, path: &str) -> Result<Answer, String> {
        self.get(&format!("{path}?verbose"))
    }

    pub fn create_namespace(&self) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        self.post("/api/v1/namespaces", &namespace).unwrap();
    }

    pub fn create_secret(&self, name: &str, password: &str) -> Result<(), String> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"password": password},
        });
        self.post(&collection("secrets"), &secret)
    }

    pub fn create_config_map(&self, name: &str, text: &str) -> Result<(), String> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text},
        });
        self.post(&collection("configmaps"), &map)
    }

    /// The `password` of a Secret.
    pub fn password(&self, name: &str) -> Result<String, String> {
        let secret = self.object("secrets", name)?;
        let encoded = secret["data"]["password"]
            .as_str()
            .ok_or("the Secret has no password")?;
        let decoded = BASE64.decode(encoded.as_bytes()).map_err(|why| why.to_string())?;
        String::from_utf8(decoded).map_err(|why| why.to_string())
    }

    /// An object as kube-apiserver shows it.
    pub fn object(&self, resource: &str, name: &str) -> Result<Value, String> {
        self.read(&format!("{}/{name}", collection(resource)))
    }

    /// Writes an object back as it was read: a no-op, except where its key is no longer the active one.
    pub fn replace(&self, resource: &str, name: &str, object: &Value) -> Result<(), String> {
        let url = format!("{}{}/{name}", self.url, collection(resource));
        let request = self.agent.put(&url).header("Authorization", &self.authorization);
        let sent = request.content_type("application/json").send(object.to_string());
        succeeded(answer(sent)?).map(|_| ())
    }

    /// The sum of a metric's series that have all these labels; nothing where there is none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Vec<String> = labels
            .iter()
            .map(|(key, value)| format!("{key}=\"{value}\""))
            .collect();
        self.series(name)
            .into_iter()
            .filter(|(found, _)| wanted.iter().all(|label| found.contains(label)))
            .map(|(_, value)| value)
            .reduce(|sum, value| sum + value)
    }

    /// Every series of a metric: its labels as they are printed, and its value.
    pub fn series(&self, name: &str) -> Vec<(String, f64)> {
        let text = succeeded(self.get("/metrics").unwrap()).unwrap().body;
        text.lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix('{')?.rsplit_once("} "))
            .map(|(labels, value)| (labels.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// Makes an object of any kind in the collection at `path`.
    pub fn create(&self, path: &str, object: &Value) -> Result<(), String> {
        self.post(path, object)
    }

    /// What lies at `path`: an object or a list.
    pub fn read(&self, path: &str) -> Result<Value, String> {
        let answer = succeeded(self.get(path)?)?;
        serde_json::from_str(&answer.body).map_err(|why| why.to_string())
    }

    /// How many objects a list has.
    pub fn count(&self, path: &str) -> Result<usize, String> {
        let list = self.read(path)?;
        Ok(list["items"].as_array().ok_or("this is no list")?.len())
    }

    pub fn get(&self, path: &str) -> Result<Answer, String> {
        let request = self.agent.get(format!("{}{path}", self.url));
        answer(request.header("Authorization", &self.authorization).call())
    }

    fn post(&self, path: &str, object: &Value) -> Result<(), String> {
        let request = self.agent.post(format!("{}{path}", self.url));
        let request = request.header("Authorization", &self.authorization);
        let sent = request.content_type("application/json").send(object.to_string());
        succeeded(answer(sent)?).map(|_| ())
    }
}

/// The path of the suite's objects of a core resource.
pub fn collection(resource: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{resource}")
}

/// Loopback only: no proxy, and a certificate that kube-apiserver made for itself.
pub fn agent() -> Agent {
    Agent::config_builder()
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .proxy(None)
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into()
}

pub fn answer(sent: Result<Response<ureq::Body>, ureq::Error>) -> Result<Answer, String> {
    let mut response = sent.map_err(|why| why.to_string())?;
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(LONGEST_ANSWER);
    let body = body.read_to_string().map_err(|why| why.to_string())?;
    Ok(Answer { status, body })
}

pub fn succeeded(answer: Answer) -> Result<Answer, String> {
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    Err(format!("status {}: {}", answer.status, answer.body.trim()))
}
