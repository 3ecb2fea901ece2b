//! `join.json`: two histories of one ring, in both orders.

use std::collections::BTreeMap;
use std::sync::Arc;

use kekring::crypto::secret::Key32;
use kekring::keyring::join::{covers, join};
use kekring::keyring::members::{Member, Membership};
use kekring::keyring::retirement::Retirement;
use kekring::keyring::ring::{Activate, Key, KeyState, Proposal, Ring, Tombstone, UnixTime};
use kekring::keyring::{RingId, RingKeyId};
use serde_json::{Value, json};

use crate::cases::{cases, hex, key_id, key_ids};

const NOW: UnixTime = UnixTime(1_790_001_000);

#[test]
fn two_histories_join_or_are_refused_as_their_vector_says() {
    for case in cases("join.json") {
        let (one, other) = (ring(&case.0["one"]), ring(&case.0["other"]));
        let reported = key_ids(&case.0["reported"]);
        if case.error().is_none() {
            assert_eq!((one.check(), other.check()), (Ok(()), Ok(())), "{}", case.name());
        }
        for (first, second) in [(&one, &other), (&other, &one)] {
            let outcome = join(first, second, &reported, case.key("fresh"), NOW);
            if case.error().is_some_and(|why| why.contains("are two rings")) && first.id != one.id {
                // The text names the two in the order in which they were given.
                assert!(outcome.is_err());
                continue;
            }

            let Some(joined) = case.judge(outcome) else {
                continue;
            };
            assert_eq!(shown(&joined), case.0["expect"], "{}", case.name());
            assert_eq!(joined.check(), Ok(()), "{}", case.name());
            assert!(
                covers(&joined, &one) && covers(&joined, &other),
                "{}",
                case.name()
            );
        }
    }
}

fn shown(ring: &Ring) -> Value {
    let states = ring.keys.iter().map(|key| (key.id.as_str(), key.state_name()));
    let mut shown = json!({
        "generation": ring.generation,
        "active": ring.active().unwrap().id.as_str(),
        "pre_active": ring.pre_active().unwrap().id.as_str(),
        "keys": states.collect::<BTreeMap<_, _>>(),
    });
    if let Some(proposal) = &ring.proposal {
        shown["proposal"] = json!(proposal.key_id.as_str());
    }
    if let Some(machine) = ring.machine {
        shown["machine"] = json!(data_encoding::HEXLOWER.encode(&machine));
    }
    if !ring.members.is_empty() {
        shown["members"] = ring.members.iter().map(shown_member).collect();
    }
    let only = ring.keys.iter().filter(|key| key.decrypt_only);
    for (what, all) in [
        ("decrypt_only", only.map(|key| json!(key.id.as_str())).collect()),
        (
            "tombstones",
            ring.tombstones.iter().map(shown_tombstone).collect(),
        ),
        ("replaced", shown_replaced(ring)),
        ("removed", ring.removed.iter().map(|it| shown_bytes(it)).collect()),
        (
            "retirements",
            ring.retirements.iter().map(shown_retirement).collect(),
        ),
        (
            "superseding",
            ring.superseding.iter().map(|it| shown_bytes(it)).collect(),
        ),
    ] {
        let all: Vec<Value> = all;
        if !all.is_empty() {
            shown[what] = all.into();
        }
    }
    shown
}

/// Bytes in the vectors' spelling.
pub fn shown_bytes(bytes: &[u8]) -> Value {
    json!(data_encoding::HEXLOWER.encode(bytes))
}

/// The fingerprints of replaced ring keys in the vectors' words.
pub fn shown_replaced(ring: &Ring) -> Vec<Value> {
    ring.replaced.iter().map(|it| shown_bytes(&it.0)).collect()
}

/// A destroyed key in the vectors' words.
pub fn shown_tombstone(tomb: &Tombstone) -> Value {
    json!({
        "id": tomb.id.as_str(),
        "destroyed": tomb.destroyed.0,
        "evidence": shown_bytes(&tomb.evidence),
    })
}

/// A retirement in the vectors' words.
pub fn shown_retirement(it: &Retirement) -> Value {
    json!({
        "id": shown_bytes(&it.id),
        "keys": it.keys.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "not_before": it.not_before.0,
        "evidence": shown_bytes(&it.evidence),
        "by": it.by,
        "skipped": it.skipped,
        "since": it.since,
        "withdrawn": it.withdrawn,
    })
}

/// A node in the vectors' words.
pub fn shown_member(member: &Member) -> Value {
    json!({
        "name": member.name.as_str(),
        "instance": data_encoding::HEXLOWER.encode(&member.instance),
        "since": member.since,
        "membership": match member.membership {
            Membership::Registered => "registered",
            Membership::Removed => "removed",
        },
    })
}

fn ring(value: &Value) -> Ring {
    Ring {
        id: RingId(hex(&value["id"]).try_into().unwrap()),
        generation: value["generation"].as_u64().unwrap(),
        keys: list(&value["keys"], key),
        tombstones: list(&value["tombstones"], tombstone),
        proposal: proposal(&value["proposal"]),
        machine: machine(&value["machine"]),
        development: value["development"].as_bool().unwrap(),
        members: list(&value["members"], member),
        replaced: list(&value["replaced"], |it| RingKeyId(array(it))),
        removed: list(&value["removed"], array),
        retirements: list(&value["retirements"], retirement),
        superseding: list(&value["superseding"], hex),
    }
}

fn list<T>(value: &Value, one: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap().iter().map(one).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn retirement(value: &Value) -> Retirement {
    Retirement {
        id: array(&value["id"]),
        since: value["since"].as_u64().unwrap(),
        withdrawn: value["withdrawn"].as_bool().unwrap(),
        keys: key_ids(&value["keys"]),
        not_before: UnixTime(value["not_before"].as_u64().unwrap()),
        evidence: array(&value["evidence"]),
        by: value["by"].as_str().unwrap().to_owned(),
        skipped: list(&value["skipped"], |it| it.as_u64().unwrap().try_into().unwrap()),
    }
}

fn member(value: &Value) -> Member {
    Member {
        name: value["name"].as_str().unwrap().parse().unwrap(),
        instance: hex(&value["instance"]).try_into().unwrap(),
        since: value["since"].as_u64().unwrap(),
        membership: match value["membership"].as_str().unwrap() {
            "registered" => Membership::Registered,
            "removed" => Membership::Removed,
            other => panic!("{other}"),
        },
    }
}

fn machine(value: &Value) -> Option<[u8; 32]> {
    value.is_string().then(|| hex(value).try_into().unwrap())
}

fn tombstone(value: &Value) -> Tombstone {
    Tombstone {
        id: key_id(&value["id"]),
        destroyed: UnixTime(value["destroyed"].as_u64().unwrap()),
        evidence: array(&value["evidence"]),
    }
}

fn proposal(value: &Value) -> Option<Proposal> {
    value.is_object().then(|| Proposal {
        id: hex(&value["id"]).try_into().unwrap(),
        activate: Activate::Auto,
        key_id: key_id(&value["key_id"]),
    })
}

fn key(value: &Value) -> Key {
    Key {
        id: key_id(&value["id"]),
        material: Arc::new(Key32::from_slice(&hex(&value["material"])).unwrap()),
        state: match value["state"].as_str().unwrap() {
            "pre-active" => KeyState::PreActive,
            "active" => KeyState::Active,
            "deactivated" => KeyState::Deactivated,
            other => panic!("{other}"),
        },
        suspended: value["suspended"].as_bool().unwrap(),
        suspension: value["suspension"].as_u64().unwrap(),
        changed: value["changed"].as_u64().unwrap(),
        created: UnixTime(value["created"].as_u64().unwrap()),
        activated: value["activated"].as_u64().map(UnixTime),
        deactivated: value["deactivated"].as_u64().map(UnixTime),
        decrypt_only: value["decrypt_only"].as_bool().unwrap(),
    }
}
