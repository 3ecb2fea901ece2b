//! A real Prometheus on loopback that scrapes every two seconds, by the sample of its configuration. Ends with its owner.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::port::free_port;
use crate::process::Process;
use crate::rules::{self, SAMPLE};
use crate::support::{PATIENCE, in_repository, merge, scratch, wait_until};
use crate::tools::tool;

/// A server that is scraped: its address, and the labels of its target.
pub type Target<'a> = (String, &'a [(&'a str, &'a str)]);

pub struct Prometheus {
    _process: Process,
    address: String,
    _dir: TempDir,
}

impl Prometheus {
    /// Scrapes these, and knows the alerts with no patience: each `for` is 0, so that one fires at once.
    pub fn of(targets: &[Target<'_>]) -> Self {
        let dir = scratch();
        let rules = dir.path().join("alerts.yaml");
        fs::write(&rules, impatient().to_string()).unwrap();
        let mut config: Value =
            serde_saphyr::from_str(&fs::read_to_string(in_repository(SAMPLE)).unwrap()).unwrap();
        let scraped = targets.iter().map(|(address, labels)| {
            let labels: BTreeMap<_, _> = labels.iter().copied().collect();
            json!({"targets": [address], "labels": labels})
        });
        config["scrape_configs"][0]["static_configs"] = scraped.collect();
        let often = json!({"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"});
        merge(&mut config["global"], often);
        config["rule_files"] = json!([rules]);
        let file = dir.path().join("prometheus.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = tool("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let mut process = Process::start("prometheus", &mut command, dir.path().join("log"));
        let ready = format!("http://{address}/-/ready");
        wait_until("Prometheus to be ready", PATIENCE, || {
            process.must_run();
            ureq::get(&ready).call().is_ok()
        });
        let prometheus = Self {
            _process: process,
            address,
            _dir: dir,
        };
        prometheus.wait_for("count(up)", &targets.len().to_string());
        prometheus
    }

    /// The samples that a query has now, each as its labels and its value.
    pub fn query(&self, expr: &str) -> Vec<(Value, String)> {
        let answer = self.get("query", &[("query", expr)]);
        let result = answer["data"]["result"]
            .as_array()
            .unwrap_or_else(|| panic!("{expr}: {answer}"));
        let sample = |it: &Value| {
            (
                it["metric"].clone(),
                it["value"][1].as_str().unwrap_or_default().to_owned(),
            )
        };
        result.iter().map(sample).collect()
    }

    /// Until a query has one sample with this value.
    pub fn wait_for(&self, expr: &str, value: &str) {
        let mut last = Vec::new();
        wait_until(&format!("{expr} to be {value}"), PATIENCE, || {
            last = self.query(expr);
            last.len() == 1 && last[0].1 == value
        });
    }

    /// Every alert that fires, with the labels that tell it from others of its name.
    pub fn firing(&self) -> BTreeSet<String> {
        let answer = self.get("alerts", &[]);
        let alerts = answer["data"]["alerts"].as_array().unwrap().iter();
        let firing = alerts.filter(|it| it["state"] == "firing");
        firing.map(|it| shown(&it["labels"])).collect()
    }

    /// Until this alert fires.
    #[track_caller]
    pub fn fires(&self, alert: &str) {
        self.settles(alert, |firing| firing.contains(alert));
    }

    /// Until it does not fire any more.
    #[track_caller]
    pub fn ends(&self, alert: &str) {
        self.settles(alert, |firing| !firing.contains(alert));
    }

    #[track_caller]
    fn settles(&self, alert: &str, enough: impl Fn(&BTreeSet<String>) -> bool) {
        let started = Instant::now();
        wait_until(alert, 2 * PATIENCE, || {
            let firing = self.firing();
            assert!(started.elapsed() < PATIENCE, "{alert}: these fire: {firing:#?}");
            enough(&firing)
        });
    }

    /// Waits for each query to have a sample, and says which have none.
    pub fn have_data(&self, queries: &[(String, String)]) {
        let mut silent: Vec<&(String, String)> = queries.iter().collect();
        let started = Instant::now();
        wait_until("every query to have data", 2 * PATIENCE, || {
            silent.retain(|(_, expr)| self.query(expr).is_empty());
            assert!(
                started.elapsed() < PATIENCE,
                "no data for {silent:#?}\nfiring: {:#?}",
                self.firing()
            );
            silent.is_empty()
        });
    }

    fn get(&self, what: &str, parameters: &[(&str, &str)]) -> Value {
        let mut request = ureq::get(format!("http://{}/api/v1/{what}", self.address))
            .config()
            .proxy(None)
            .http_status_as_error(false)
            .build();
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        let text = request.call().unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
    }
}

/// `KekringNodeBehind cp-3`: the alert, and what it is about: a node, or a ring by its cluster where that has a name.
fn shown(labels: &Value) -> String {
    let about = ["node", "instance", "cluster"];
    let named = about.iter().find_map(|it| labels[it].as_str());
    let name = labels["alertname"].as_str().unwrap();
    named.map_or(name.to_owned(), |about| format!("{name} {about}"))
}

/// The alerts as they are, but without patience.
fn impatient() -> Value {
    let mut file = rules::file();
    for group in file["groups"].as_array_mut().unwrap() {
        for rule in group["rules"].as_array_mut().unwrap() {
            rule["for"] = json!("0s");
        }
    }
    file
}
