//! A ring that several nodes keep on etcd: whether etcd answers, and how the nodes stand.

use std::time::Duration;

use super::finding::Findings;
use crate::cli::node::{Row, rows};
use crate::cli::together::Together;
use crate::config::{Config, Store};
use crate::custody::Opened;
use crate::etcd::Validity;
use crate::telemetry::now;

const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// The certificate, before etcd says no to it.
pub(super) fn certificate(config: &Config, findings: &mut Findings) {
    let id = "ring/etcd-certificate";
    let Store::Etcd(etcd) = &config.ring.store else {
        return;
    };
    let Some(files) = etcd.client().ok().and_then(|client| client.tls) else {
        return;
    };
    let shown = files.identity.as_ref().map(|it| it.cert.display().to_string());
    let (Some(shown), now) = (shown, Duration::from_secs(now().0)) else {
        return;
    };
    const REMEDY: &str =
        "sign another: deploy/etcd/README.md, \"Renew a certificate\"; it is read again by itself";
    match files.validity(now, now + MONTH) {
        None => {}
        Some(Validity::Good) => findings.ok(id, shown, "it is good for over 30 days"),
        Some(Validity::Soon) => findings.warning(id, shown, "it ends within 30 days", REMEDY),
        Some(Validity::Expired) => {
            findings.failure(id, shown, "it has expired: etcd lets nobody in by it", REMEDY);
        }
        Some(Validity::Unknown(why)) => findings.skipped(
            id,
            shown,
            format!("cannot tell how long it is good for: {why}"),
            "`openssl x509 -enddate -noout -in` it",
        ),
    }
}

/// Reads etcd once, for at most the two seconds that a call may take.
pub(super) fn look(config: &Config, opened: Option<&Opened>, findings: &mut Findings) {
    let id = "ring/etcd";
    let looked = Together::of(config, opened.map(|it| &it.ring_key)).and_then(|together| {
        let Some(mut together) = together else {
            return Ok(None);
        };
        let own = together.member.name().to_string();
        let (standing, rows) = rows(&mut together)?;
        Ok(Some((own, standing, rows)))
    });
    let (own, standing, rows) = match looked {
        Ok(None) => return,
        Ok(Some(found)) => found,
        Err(why) => {
            return findings.failure(
                id,
                "ring.store.etcd",
                why.message(),
                "see that etcd answers, and that endpoints, certificate and user are right; serving goes on from the copy",
            );
        }
    };
    findings.ok(
        id,
        "ring.store.etcd",
        format!("it answers, and has generation {}", standing.generation),
    );
    if standing.parted {
        findings.failure(
            "ring/parted",
            "ring.store.etcd",
            "the nodes' histories of the ring have parted, as after a restored snapshot",
            "bring every node back: they join by themselves",
        );
    }
    match rows.iter().any(|row| row.name == own) {
        true => findings.ok("ring/registered", &own, "this node keeps the ring"),
        false => findings.failure(
            "ring/registered",
            &own,
            "this node does not keep the ring: its name is not among those that do",
            "start `kekring serve` here; after a change of the host name, set node.name to the name before",
        ),
    }
    for row in &rows {
        node(row, standing.generation, findings);
    }
}

fn node(row: &Row, generation: u64, findings: &mut Findings) {
    if row.forged {
        findings.warning(
            "ring/node-forged",
            &row.name,
            "a record in etcd says that the node lives, and no server keeps it: it has no lease",
            format!("somebody else writes to etcd; where the node is gone for good, `kekring node remove --dead {}`", row.name),
        );
    }
    let said = row.acknowledged.unwrap_or_default();
    match (row.alive, said < generation) {
            (false, _) => findings.warning(
                "ring/node-silent",
                &row.name,
                "the node is silent: rotations wait for it",
                format!("start kekring there; `kekring node remove {}` when it is gone for good", row.name),
            ),
            (true, true) => findings.warning(
                "ring/node-behind",
                &row.name,
                format!("it has acknowledged generation {said}, and the ring is at {generation}: rotations wait for it"),
                "`kekring status` there says why",
            ),
            (true, false) => findings.ok("ring/node", &row.name, format!("it lives, and has generation {said}")),
        }
}
