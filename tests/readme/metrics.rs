//! The table of metrics says what a real scrape says, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{columns, table};
use crate::support::Plugin;
use crate::support::scrape::Scrape;

const HEADER: &str = "| metric | type | labels | what it is | when to alert |";

fn plain(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

#[test]
fn the_table_of_metrics_is_what_a_scrape_shows() {
    let plugin = Plugin::with("{telemetry: {listen: '127.0.0.1:0'}}");

    let scraped = Scrape::of(&plugin.telemetry());

    let shown: BTreeMap<String, (String, BTreeSet<String>)> = scraped
        .0
        .iter()
        .map(|(name, family)| (name.clone(), (family.kind.clone(), family.labels())))
        .collect();
    // What several nodes have is scraped where there are several.
    let mut rows = columns(&table(HEADER));
    rows.retain(|row| !row[3].starts_with("on etcd: "));
    let documented: BTreeMap<String, (String, BTreeSet<String>)> = rows
        .iter()
        .map(|row| {
            let labels = row[2].split(", ").map(plain).filter(|it| !it.is_empty());
            (plain(&row[0]), (row[1].clone(), labels.collect()))
        })
        .collect();
    assert_eq!(documented.len(), rows.len(), "a row stands twice");
    assert_eq!(documented, shown);
}

#[test]
fn every_metric_says_what_it_is_and_in_which_unit() {
    let plugin = Plugin::with("{telemetry: {listen: '127.0.0.1:0'}}");

    let scraped = Scrape::of(&plugin.telemetry());

    for (name, family) in &scraped.0 {
        assert!(name.starts_with("kekring_"), "{name}");
        assert!(family.help.len() > 15, "{name}: {:?}", family.help);
        assert!(!family.samples.is_empty(), "{name} has no sample");
        assert_eq!(
            name.ends_with("_seconds"),
            family.help.contains("seconds"),
            "{name}: {:?}",
            family.help
        );
    }
    for row in columns(&table(HEADER)) {
        assert!(!row[3].is_empty(), "{row:?}");
    }
}
