//! The sealed part of a generation: [`Ring`] ⇄ the message `Body`.

use std::sync::Arc;

use zeroize::Zeroize;

use super::{FormatError, exactly};
use crate::crypto::secret::Key32;
use crate::keyring::members::{Member, Membership};
use crate::keyring::ring::{Activate, Key, KeyState, Proposal, Ring, Tombstone, UnixTime};
use crate::keyring::{KeyId, RingId};
use crate::proto::ring as wire;

/// The message holds key bytes: the caller wipes it by [`wipe`].
pub(super) fn to_wire(ring: &Ring) -> wire::Body {
    wire::Body {
        keys: ring.keys.iter().map(key_to_wire).collect(),
        tombstones: ring
            .tombstones
            .iter()
            .map(|tomb| wire::Tombstone {
                sequence: tomb.id.sequence(),
                id: tomb.id.as_str().to_owned(),
                destroyed: tomb.destroyed.0,
            })
            .collect(),
        proposal: ring.proposal.as_ref().map(|proposal| wire::Proposal {
            id: proposal.id.to_vec(),
            activate: match proposal.activate {
                Activate::Auto => wire::Activate::Auto,
                Activate::Manual => wire::Activate::Manual,
            }
            .into(),
            key_id: proposal.key_id.as_str().to_owned(),
        }),
        machine: ring.machine.map(Vec::from).unwrap_or_default(),
        development: ring.development,
        members: ring.members.iter().map(member_to_wire).collect(),
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
    let ring = Ring {
        id,
        generation,
        keys: body.keys.iter().map(key_from_wire).collect::<Result<_, _>>()?,
        tombstones: body.tombstones.iter().map(tombstone).collect::<Result<_, _>>()?,
        proposal: body.proposal.as_ref().map(proposal).transpose()?,
        machine: match body.machine.as_slice() {
            [] => None,
            bytes => Some(exactly("machine", bytes)?),
        },
        development: body.development,
        members: body.members.iter().map(member).collect::<Result<_, _>>()?,
    };
    ring.check()
        .map_err(|rule| FormatError::corrupt(format!("the ring breaks a rule: {rule}")))?;
    Ok(ring)
}

fn key_to_wire(key: &Key) -> wire::Key {
    wire::Key {
        sequence: key.id.sequence(),
        id: key.id.as_str().to_owned(),
        material: key.material.expose().to_vec(),
        state: match key.state {
            KeyState::PreActive => wire::KeyState::PreActive,
            KeyState::Active => wire::KeyState::Active,
            KeyState::Deactivated => wire::KeyState::Deactivated,
        }
        .into(),
        suspended: key.suspended,
        changed: key.changed,
        created: key.created.0,
        activated: key.activated.map(|time| time.0),
        deactivated: key.deactivated.map(|time| time.0),
        suspension: key.suspension,
    }
}

fn key_from_wire(key: &wire::Key) -> Result<Key, FormatError> {
    let material = Key32::from_slice(&key.material)
        .ok_or_else(|| FormatError::corrupt("key material is not 32 bytes"))?;
    let state = match wire::KeyState::try_from(key.state) {
        Ok(wire::KeyState::PreActive) => KeyState::PreActive,
        Ok(wire::KeyState::Active) => KeyState::Active,
        Ok(wire::KeyState::Deactivated) => KeyState::Deactivated,
        Ok(wire::KeyState::Unspecified) | Err(_) => {
            return Err(FormatError::corrupt(format!(
                "key state {} is unknown",
                key.state
            )));
        }
    };
    if key.changed == 0 {
        return Err(FormatError::corrupt(
            "a key without the generation of its last change",
        ));
    }
    Ok(Key {
        id: key_id(&key.id, key.sequence)?,
        material: Arc::new(material),
        state,
        suspended: key.suspended,
        suspension: key.suspension,
        changed: key.changed,
        created: UnixTime(key.created),
        activated: key.activated.map(UnixTime),
        deactivated: key.deactivated.map(UnixTime),
    })
}

fn tombstone(tomb: &wire::Tombstone) -> Result<Tombstone, FormatError> {
    Ok(Tombstone {
        id: key_id(&tomb.id, tomb.sequence)?,
        destroyed: UnixTime(tomb.destroyed),
    })
}

fn proposal(proposal: &wire::Proposal) -> Result<Proposal, FormatError> {
    Ok(Proposal {
        id: exactly("proposal id", &proposal.id)?,
        activate: match wire::Activate::try_from(proposal.activate) {
            Ok(wire::Activate::Auto) => Activate::Auto,
            Ok(wire::Activate::Manual) => Activate::Manual,
            Ok(wire::Activate::Unspecified) | Err(_) => {
                return Err(FormatError::corrupt(format!(
                    "proposal activation {} is unknown",
                    proposal.activate
                )));
            }
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
            Ok(wire::Membership::Unspecified) | Err(_) => {
                return Err(FormatError::corrupt(format!(
                    "node membership {} is unknown",
                    member.membership
                )));
            }
        },
    })
}

fn key_id(text: &str, sequence: u64) -> Result<KeyId, FormatError> {
    let id: KeyId = text
        .parse()
        .map_err(|_| FormatError::corrupt("key id is malformed"))?;
    if id.sequence() != sequence {
        return Err(FormatError::corrupt(format!("key {id} has sequence {sequence}")));
    }
    Ok(id)
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
