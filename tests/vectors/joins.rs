//! `join.json`: two histories of one ring, in both orders.

use std::collections::BTreeMap;
use std::sync::Arc;

use kekring::crypto::secret::Key32;
use kekring::keyring::RingId;
use kekring::keyring::join::{covers, join};
use kekring::keyring::members::{Member, Membership};
use kekring::keyring::ring::{Activate, Key, KeyState, Proposal, Ring, Tombstone, UnixTime};
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
    if !ring.tombstones.is_empty() {
        shown["tombstones"] = ring.tombstones.iter().map(|tomb| tomb.id.as_str()).collect();
    }
    shown
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
        keys: value["keys"].as_array().unwrap().iter().map(key).collect(),
        tombstones: value["tombstones"]
            .as_array()
            .unwrap()
            .iter()
            .map(tombstone)
            .collect(),
        proposal: proposal(&value["proposal"]),
        machine: machine(&value["machine"]),
        development: value["development"].as_bool().unwrap(),
        members: members(&value["members"]),
    }
}

/// Absent in the vectors from before there were nodes.
fn members(value: &Value) -> Vec<Member> {
    value.as_array().into_iter().flatten().map(member).collect()
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
    }
}
