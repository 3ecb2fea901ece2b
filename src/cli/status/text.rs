//! `kekring status` for people: how it stands in the first line, then what is so, and last, next to the prompt, what to do.

use std::io;
use std::time::Duration;

use super::{NOT_RUNNING, Node, Report};
use crate::cli::output::{Colour, paint, table, warned};
use crate::config::shown_duration;
use crate::keyring::ring::UnixTime;
use crate::server::status_file::ServerStatus;
use crate::telemetry::{now, plain, read_time};

pub(super) fn text(report: &Report) -> String {
    let mut text = format!("node           {}", standing(report));
    if !report.ring.is_empty() {
        text += &ring(report);
    }
    if !report.protections.is_empty() {
        text += &format!("\nprotections    {}", plain(&report.protections.join(", ")));
    }
    // One node alone is in the first line.
    let several = report.nodes.len() > 1 || report.nodes.iter().any(|it| it.acknowledged.is_some());
    if several {
        text += "\n\n";
        let head = ["NODE", "SERVING", "GENERATION", "KEY", "ACKNOWLEDGED"];
        text += &table(&head, &nodes(report));
    }
    let connections = connections(report);
    if !connections.is_empty() {
        text += "\n\n";
        let head = ["CONNECTION", "LAST STATUS", "KEY", "NODE"];
        let columns = if several { head.len() } else { head.len() - 1 };
        text += &table(head.get(..columns).unwrap_or_default(), &connections);
    }
    if !report.warnings.is_empty() {
        text.push('\n');
    }
    let (urgent, others) = sorted(report);
    text + &warned(&[urgent, others].concat())
}

/// What is wrong now, and what should be known.
fn sorted(report: &Report) -> (Vec<String>, Vec<String>) {
    let own = report.nodes.first().filter(|it| it.serving);
    let problems = own.and_then(|it| it.server.as_ref()).map(|it| &it.problems);
    let wrong = |warning: &String| {
        warning.starts_with(NOT_RUNNING) || problems.is_some_and(|it| it.iter().any(|it| it == warning))
    };
    report.warnings.iter().cloned().partition(wrong)
}

/// `cp-1: serving; 2 warnings`. Where something is wrong it is not said to serve: Status may be an error.
fn standing(report: &Report) -> String {
    let (urgent, others) = sorted(report);
    let Some(own) = report.nodes.first() else {
        return String::new();
    };
    let (state, colour) = match own.serving {
        false => (last_seen(own), Colour::Red),
        true if !urgent.is_empty() => ("running".to_owned(), Colour::Red),
        true if !others.is_empty() => ("serving".to_owned(), Colour::Yellow),
        true => ("serving".to_owned(), Colour::Green),
    };
    let problems = if own.serving { urgent.len() } else { 0 };
    let warnings = report.warnings.len() - problems;
    let counted = [count(problems, "problem"), count(warnings, "warning")];
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    let told = match counted.as_slice() {
        [] if own.serving => "; nothing to do".to_owned(),
        [] => String::new(),
        told => format!("; {}", told.join(" and ")),
    };
    format!("{}: {}{told}", own.name, paint(&io::stdout(), colour, &state))
}

fn last_seen(node: &Node) -> String {
    match &node.server {
        None => "not running".into(),
        Some(server) => {
            let since = now().since(UnixTime(server.written_unix));
            format!("not running, last seen {} ago", age(since))
        }
    }
}

fn count(number: usize, what: &str) -> Option<String> {
    match number {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{number} {what}s")),
    }
}

fn age(seconds: u64) -> String {
    shown_duration(Duration::from_secs(seconds))
}

fn ring(report: &Report) -> String {
    let rotation = match report.next_rotation_seconds {
        None => "not by itself".to_owned(),
        Some(0) => "due now".to_owned(),
        Some(seconds) => format!("in {}", age(seconds)),
    };
    let opened_by = match opened_by(report) {
        [] | [_] => String::new(),
        several => format!("\nopened by      {}", plain(&several.join("; "))),
    };
    format!(
        "\nring           {}, generation {}\nactive key     {}, for {}\nnext key       {}, made {} ago\nnext rotation  {rotation}\nkeys           {} decrypt; rotation does not rewrite old data\nroot slots     {}{opened_by}",
        report.ring,
        report.generation,
        report.active,
        age(report.active_age_seconds),
        report.next,
        age(report.next_age_seconds),
        report.keys,
        plain(&report.slots.join(", ")),
    )
}

/// What this node's server said of the roots at its start: more than one where the first did not open the ring.
fn opened_by(report: &Report) -> &[String] {
    let own = report.nodes.first().filter(|it| it.serving);
    own.and_then(|it| it.server.as_ref())
        .map_or(&[], |it| it.opened_by.as_slice())
}

fn nodes(report: &Report) -> Vec<Vec<String>> {
    let newest = report.nodes.iter().filter_map(|it| it.acknowledged).max();
    let row = |node: &Node| {
        let server = node.server.as_ref();
        let acknowledged = match node.acknowledged {
            None => "nothing".to_owned(),
            told if told < newest => format!("{}, behind", told.unwrap_or_default()),
            told => told.unwrap_or_default().to_string(),
        };
        vec![
            node.name.clone(),
            if node.serving { "yes" } else { "no" }.to_owned(),
            server.map_or("-".to_owned(), |it| it.generation.to_string()),
            server.map_or("-".to_owned(), |it| key(&it.active, report)),
            acknowledged,
        ]
    };
    report.nodes.iter().map(row).collect()
}

/// The beginning of a key's name, which is above in full, and whether it is another than the active one.
fn key(id: &str, report: &Report) -> String {
    let short = id.split('-').next().unwrap_or_default();
    match short {
        "" => "-".to_owned(),
        short if id == report.active || report.active.is_empty() => short.to_owned(),
        short => format!("{short}, not active"),
    }
}

fn connections(report: &Report) -> Vec<Vec<String>> {
    let servers = report
        .nodes
        .iter()
        .filter(|node| node.serving)
        .filter_map(|node| Some((&node.name, node.server.as_ref()?)));
    let rows = servers.flat_map(|(name, server)| {
        server.connections.iter().map(move |it| {
            vec![
                it.peer.clone(),
                asked(&it.last_status, server),
                key(&it.key_id, report),
                name.clone(),
            ]
        })
    });
    rows.collect()
}

/// By the server's own account: that of another node may be minutes old, and its connections are not.
fn asked(last: &str, server: &ServerStatus) -> String {
    match read_time(last) {
        None => "never".into(),
        Some(time) => format!("{} ago", age(UnixTime(server.written_unix).since(time))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A node whose server wrote its account so many seconds ago.
    fn node(name: &str, serving: bool, ago: u64, more: &Value) -> Node {
        let mut account = json!({
            "version": "", "pid": 1, "node": name, "written": "", "writtenUnix": now().0 - ago, "ring": "", "generation": 4,
            "active": "k2-b", "next": "k3-c", "keys": 3, "nextRotation": "", "frozen": "", "problems": [], "warnings": [],
            "protections": [], "connections": [],
        });
        for (name, value) in more.as_object().unwrap() {
            account[name] = value.clone();
        }
        Node {
            name: name.into(),
            serving,
            acknowledged: None,
            server: serde_json::from_value(account).unwrap(),
        }
    }

    fn report(nodes: Vec<Node>, warnings: &[&str]) -> Report {
        Report {
            active: "k2-b".into(),
            nodes,
            warnings: warnings.iter().map(|it| (*it).to_owned()).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn the_first_line_says_how_the_node_stands() {
        let wrong = json!({"problems": ["it is wrong; hint: mend it"]});
        let first = |node, warnings: &[&str]| {
            text(&report(vec![node], warnings))
                .lines()
                .next()
                .unwrap()
                .to_owned()
        };

        for (node, warnings, says) in [
            (
                node("cp-1", true, 1, &json!({})),
                &[][..],
                "cp-1: serving; nothing to do",
            ),
            (
                node("cp-1", true, 1, &json!({})),
                &["a", "b"],
                "cp-1: serving; 2 warnings",
            ),
            (
                node("cp-1", true, 1, &wrong),
                &["a", "it is wrong; hint: mend it"],
                "cp-1: running; 1 problem and 1 warning",
            ),
            (
                node("cp-1", false, 7200, &json!({})),
                &["no server is running at /x"],
                "cp-1: not running, last seen 2h ago; 1 warning",
            ),
        ] {
            assert_eq!(first(node, warnings), format!("node           {says}"));
        }
    }

    #[test]
    fn what_is_wrong_comes_before_what_should_be_known_and_its_remedy_behind_it() {
        let wrong = json!({"problems": ["it is wrong; hint: mend it"]});

        let text = text(&report(
            vec![node("cp-1", true, 1, &wrong)],
            &["be aware", "it is wrong; hint: mend it"],
        ));

        assert!(
            text.ends_with("\n\nwarning: it is wrong\nhint: mend it\nwarning: be aware"),
            "{text}"
        );
    }

    #[test]
    fn a_node_that_lags_is_told_from_the_others() {
        let asked = json!({"connections": [{"peer": "uid=0,pid=7", "keyId": "k1-a", "lastStatus": ""}]});
        let mut nodes = vec![
            node("cp-1", true, 1, &asked),
            node("cp-2", true, 1, &json!({"active": "k1-a"})),
            node("cp-3", false, 1, &json!({})),
        ];
        nodes[0].acknowledged = Some(5);
        nodes[1].acknowledged = Some(4);

        let text = text(&report(nodes, &[]));

        let rows: Vec<Vec<&str>> = text
            .lines()
            .map(|it| {
                it.split("   ")
                    .map(str::trim)
                    .filter(|it| !it.is_empty())
                    .collect()
            })
            .collect();
        for row in [
            &["cp-1", "yes", "4", "k2", "5"][..],
            &["cp-2", "yes", "4", "k1, not active", "4, behind"],
            &["cp-3", "no", "4", "k2", "nothing"],
            &["uid=0,pid=7", "never", "k1, not active", "cp-1"],
        ] {
            assert!(rows.contains(&row.to_vec()), "{row:?} is not in {text}");
        }
    }
}
