//! The sealed part of a generation: [`Ring`] ⇄ the message `Body`.

use std::sync::Arc;

use zeroize::Zeroize;

use super::{FormatError, exactly, optional, packed, superseded};
use crate::crypto::secret::Key32;
use crate::keyring::members::{Member, Membership};
use crate::keyring::retirement::{MAX_BY, Retirement};
use crate::keyring::ring::{Activate, Key, KeyState, Proposal, Ring, Tombstone, UnixTime};
use crate::keyring::{KeyId, RingId, RingKeyId};
use crate::proto::ring as wire;

/// The message holds key bytes: the caller wipes it by [`wipe`].
pub(super) fn to_wire(ring: &Ring) -> wire::Body {
    wire::Body {
        keys: ring.keys.iter().map(key_to_wire).collect(),
        tombstones: ring.tombstones.iter().map(tombstone_to_wire).collect(),
        proposal: ring.proposal.as_ref().map(proposal_to_wire),
        machine: ring.machine.map(Vec::from).unwrap_or_default(),
        development: ring.development,
        members: ring.members.iter().map(member_to_wire).collect(),
        replaced: ring.replaced.iter().flat_map(|it| it.0).collect(),
        removed: ring.removed.concat(),
        retirements: ring.retirements.iter().map(retirement_to_wire).collect(),
        superseding: ring.superseding.clone(),
    }
}

/// Wipes the key bytes of a message.
pub(super) fn wipe(body: &mut wire::Body) {
    for key in &mut body.keys {
        key.material.zeroize();
    }
}

/// Checks every field and every rule of the ring.
pub(super) fn from_wire(id: RingId, generation: u64, body: &wire::Body) -> Result<Ring, FormatError> {
    let replaced = packed("replaced ring keys", &body.replaced)?;
    let key = |key| key_from_wire(id, key);
    let ring = Ring {
        id,
        generation,
        keys: body.keys.iter().map(key).collect::<Result<_, _>>()?,
        tombstones: body.tombstones.iter().map(tombstone).collect::<Result<_, _>>()?,
        proposal: body.proposal.as_ref().map(proposal).transpose()?,
        machine: optional("machine", &body.machine)?,
        development: body.development,
        members: body.members.iter().map(member).collect::<Result<_, _>>()?,
        replaced: replaced.into_iter().map(RingKeyId).collect(),
        removed: packed("removed root slots", &body.removed)?,
        retirements: body
            .retirements
            .iter()
            .map(retirement)
            .collect::<Result<_, _>>()?,
        superseding: superseding(&body.superseding)?,
    };
    ring.check()
        .map_err(|rule| FormatError::corrupt(format!("the ring breaks a rule: {rule}")))?;
    Ok(ring)
}

fn key_to_wire(key: &Key) -> wire::Key {
    let after = |time: Option<UnixTime>| time.map(|it| it.0.wrapping_sub(key.created.0).cast_signed());
    wire::Key {
        sequence: key.id.sequence(),
        material: key.material.expose().to_vec(),
        state: match key.state {
            KeyState::PreActive => wire::KeyState::PreActive,
            KeyState::Active => wire::KeyState::Active,
            KeyState::Deactivated => wire::KeyState::Deactivated,
        }
        .into(),
        changed: key.changed,
        created: key.created.0,
        activated: after(key.activated),
        deactivated: after(key.deactivated),
        suspended: key.suspended,
        suspension: key.suspension,
        decrypt_only: key.decrypt_only,
    }
}

fn key_from_wire(ring: RingId, key: &wire::Key) -> Result<Key, FormatError> {
    let material = Key32::from_slice(&key.material)
        .ok_or_else(|| FormatError::corrupt("key material is not 32 bytes"))?;
    let state = match wire::KeyState::try_from(key.state) {
        Ok(wire::KeyState::PreActive) => KeyState::PreActive,
        Ok(wire::KeyState::Active) => KeyState::Active,
        Ok(wire::KeyState::Deactivated) => KeyState::Deactivated,
        Ok(wire::KeyState::Unspecified) => return Err(FormatError::corrupt("a key without a state")),
        Err(_) => return Err(unknown("key state", key.state)),
    };
    if key.changed == 0 || key.sequence == 0 {
        return Err(FormatError::corrupt(
            "a key without a sequence, or without the generation of its last change",
        ));
    }
    let after = |time: Option<i64>| time.map(|it| UnixTime(key.created.wrapping_add(it.cast_unsigned())));
    Ok(Key {
        id: KeyId::derive(ring, key.sequence, &material),
        material: Arc::new(material),
        state,
        suspended: key.suspended,
        suspension: key.suspension,
        changed: key.changed,
        created: UnixTime(key.created),
        activated: after(key.activated),
        deactivated: after(key.deactivated),
        decrypt_only: key.decrypt_only,
    })
}

/// The body is sealed under the ring key, so a value that nobody knows yet was written by somebody who does.
fn unknown(what: &str, value: i32) -> FormatError {
    FormatError::Newer(format!("{what} {value} is unknown to this version"))
}

fn tombstone_to_wire(tomb: &Tombstone) -> wire::Tombstone {
    wire::Tombstone {
        sequence: tomb.id.sequence(),
        fingerprint: tomb.id.fingerprint().to_vec(),
        destroyed: tomb.destroyed.0,
        evidence: tomb.evidence.to_vec(),
    }
}

fn tombstone(tomb: &wire::Tombstone) -> Result<Tombstone, FormatError> {
    let fingerprint = exactly("fingerprint of a destroyed key", &tomb.fingerprint)?;
    Ok(Tombstone {
        id: KeyId::from_parts(tomb.sequence, fingerprint)
            .ok_or_else(|| FormatError::corrupt("a destroyed key without a sequence"))?,
        destroyed: UnixTime(tomb.destroyed),
        evidence: exactly("evidence of a destroyed key", &tomb.evidence)?,
    })
}

fn retirement_to_wire(it: &Retirement) -> wire::Retirement {
    wire::Retirement {
        id: it.id.to_vec(),
        keys: it.keys.iter().map(|id| id.as_str().to_owned()).collect(),
        not_before: it.not_before.0,
        evidence: it.evidence.to_vec(),
        by: it.by.clone(),
        skipped: it.skipped.clone(),
        since: it.since,
        withdrawn: it.withdrawn,
    }
}

fn retirement(it: &wire::Retirement) -> Result<Retirement, FormatError> {
    let keys = it.keys.iter().map(|text| text.parse());
    let keys: Vec<KeyId> = keys
        .collect::<Result<_, _>>()
        .map_err(|_| FormatError::corrupt("a retirement names a malformed key id"))?;
    let plain = it.by.len() <= MAX_BY && !it.by.chars().any(char::is_control);
    if it.since == 0 || keys.is_empty() || !plain {
        return Err(FormatError::corrupt(
            "a retirement without a generation or a key, or by a name that is too long or has control characters",
        ));
    }
    if !keys.is_sorted_by(|a, b| a < b) || !it.skipped.is_sorted_by(|a, b| a < b) {
        return Err(FormatError::corrupt(
            "the keys or conditions of a retirement are not ascending",
        ));
    }
    Ok(Retirement {
        id: exactly("retirement id", &it.id)?,
        keys,
        not_before: UnixTime(it.not_before),
        evidence: exactly("retirement evidence", &it.evidence)?,
        by: it.by.clone(),
        skipped: it.skipped.clone(),
        since: it.since,
        withdrawn: it.withdrawn,
    })
}

/// They are for holders of other ring keys, so only their form can be checked.
fn superseding(records: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, FormatError> {
    let sound = |it: &Vec<u8>| it.len() <= superseded::MAX_LEN && superseded::claimed(it).is_some();
    match records.iter().all(sound) {
        true => Ok(records.to_vec()),
        false => Err(FormatError::corrupt(
            "a record of a replaced ring key is malformed",
        )),
    }
}

fn proposal_to_wire(proposal: &Proposal) -> wire::Proposal {
    wire::Proposal {
        id: proposal.id.to_vec(),
        activate: match proposal.activate {
            Activate::Auto => wire::Activate::Auto,
            Activate::Manual => wire::Activate::Manual,
        }
        .into(),
        key_id: proposal.key_id.as_str().to_owned(),
    }
}

fn proposal(proposal: &wire::Proposal) -> Result<Proposal, FormatError> {
    Ok(Proposal {
        id: exactly("proposal id", &proposal.id)?,
        activate: match wire::Activate::try_from(proposal.activate) {
            Ok(wire::Activate::Auto) => Activate::Auto,
            Ok(wire::Activate::Manual) => Activate::Manual,
            Ok(wire::Activate::Unspecified) => {
                return Err(FormatError::corrupt("a proposal without its activation"));
            }
            Err(_) => return Err(unknown("proposal activation", proposal.activate)),
        },
        key_id: proposal
            .key_id
            .parse()
            .map_err(|_| FormatError::corrupt("proposal key id is malformed"))?,
    })
}

fn member_to_wire(member: &Member) -> wire::Member {
    wire::Member {
        name: member.name.as_str().to_owned(),
        instance: member.instance.to_vec(),
        since: member.since,
        membership: match member.membership {
            Membership::Registered => wire::Membership::Registered,
            Membership::Removed => wire::Membership::Removed,
        }
        .into(),
    }
}

fn member(member: &wire::Member) -> Result<Member, FormatError> {
    if member.since == 0 {
        return Err(FormatError::corrupt(
            "a node without the generation of its record",
        ));
    }
    Ok(Member {
        name: member
            .name
            .parse()
            .map_err(|why| FormatError::corrupt(format!("the name of a node: {why}")))?,
        instance: exactly("node instance", &member.instance)?,
        since: member.since,
        membership: match wire::Membership::try_from(member.membership) {
            Ok(wire::Membership::Registered) => Membership::Registered,
            Ok(wire::Membership::Removed) => Membership::Removed,
            Ok(wire::Membership::Unspecified) => {
                return Err(FormatError::corrupt("a node without its membership"));
            }
            Err(_) => return Err(unknown("node membership", member.membership)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wiped_message_holds_no_key_byte() {
        let key = wire::Key {
            material: vec![7; 32],
            ..wire::Key::default()
        };
        let mut body = wire::Body {
            keys: vec![key; 2],
            ..wire::Body::default()
        };

        wipe(&mut body);

        assert!(
            body.keys
                .iter()
                .all(|key| key.material.iter().all(|byte| *byte == 0))
        );
    }
}
