//! Why a ring is not changed although it serves: each reason, and what lifts it.

use std::fmt;

use crate::keyring::join::JoinError;
use crate::keyring::{KeyId, NotServing};

/// One reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Made on another machine, or on one whose id cannot be read.
    #[error("{0}")]
    Machine(&'static str),
    /// Several nodes keep it on etcd, and this configuration has it in files.
    #[error("several nodes keep this ring on etcd, and the configuration has it in files alone")]
    Shared,
    /// A newer generation than the one that opened cannot be used.
    #[error("generation {generation} cannot be used: {why}")]
    Damaged {
        /// Its number.
        generation: u64,
        /// Why.
        why: String,
    },
    /// This node has used a newer generation than any that is there.
    #[error("this node has used generation {used}, and the newest that can be used is {newest}")]
    BehindMark {
        /// What the mark says.
        used: u64,
        /// What is there.
        newest: u64,
    },
    /// What is there would report an older key than this node has reported.
    #[error("{0}")]
    BelowMark(NotServing),
    /// A key that was in use is in no history.
    #[error("key {0} was in use and is in no copy of the ring")]
    Lost(KeyId),
    /// Two histories that contradict each other.
    #[error("two histories of the ring cannot be joined: {one} and {other}: {why}")]
    Unjoinable {
        /// The newest generation's name.
        one: String,
        /// The other's.
        other: String,
        /// Why.
        why: JoinError,
    },
    /// A newer version wrote a newer generation than the one that opened: nothing is lost, this one cannot read it.
    #[error("generation {generation} cannot be used: {why}")]
    NewerGeneration {
        /// Its number.
        generation: u64,
        /// Which version it needs.
        why: String,
    },
    /// A newer version wrote something that this one cannot write back.
    #[error("a newer kekring wrote this ring; this one serves it and never writes it")]
    NewerFormat,
    /// Another ring than the one that it should be.
    #[error("{0}")]
    OtherRing(NotServing),
    /// Two removals of roots in histories that had parted, and nothing tells which ring key is the ring's.
    #[error(
        "{} are sealed under different ring keys, of which neither replaced the other, and this node has no mark under one of them",
        .0.join(" and ")
    )]
    TwoRingKeys(Vec<String>),
    /// The mark in the store's own place is nobody's.
    #[error(
        "the mark in the ring's directory verifies under no ring key, and names no generation that is here: a newer one may have been used"
    )]
    StrangeMark,
    /// Each root slot was removed in another history.
    #[error("every root slot of the ring was removed in another history of it")]
    NoSlot,
}

impl Reason {
    /// True where an operator may decide that what is missing will not come back.
    fn can_be_accepted(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::BehindMark { .. }
                | Self::BelowMark(_)
                | Self::Lost(_)
                | Self::TwoRingKeys(_)
                | Self::StrangeMark
        )
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Shared => {
                "start `kekring serve` with ring.store.etcd; `kekring store move --to file` gives the ring back to one node"
            }
            Self::Machine(_) => "if the ring belongs here now, `kekring restore --adopt`",
            Self::Damaged { .. } | Self::BehindMark { .. } | Self::BelowMark(_) | Self::Lost(_) => {
                "put the newest generation back, or `kekring restore` a backup that has it; when it is lost for good, `kekring ring accept`"
            }
            Self::TwoRingKeys(_) => {
                "`kekring ring accept --head GENERATION` decides for one of them; the keys of the other then wait for `kekring restore`"
            }
            Self::StrangeMark => {
                "put the newest generation back, or `kekring restore` a backup that has it; where nothing is missing, `kekring ring accept`"
            }
            Self::NoSlot => {
                "make a slot for another root by `kekring root add`, then `kekring root remove` the old ones"
            }
            Self::Unjoinable { .. } => "move the files of one history elsewhere; delete nothing",
            Self::NewerFormat | Self::NewerGeneration { .. } => {
                "use the kekring version that wrote it, or a later one"
            }
            Self::OtherRing(_) => {
                "check ring.id and ring.mirror: ring or mark belong to another ring; delete nothing"
            }
        }
    }
}

/// At least one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen(Vec<Reason>);

impl Frozen {
    /// The reasons, in the order in which they were found.
    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        self.0.iter()
    }

    /// What lifts the first of them.
    pub fn remedy(&self) -> &'static str {
        self.0.first().map_or("", Reason::remedy)
    }

    /// Whether nothing but the machine stands in the way: `restore --adopt` lifts it.
    pub fn is_adoptable(&self) -> bool {
        self.reasons().all(|reason| matches!(reason, Reason::Machine(_)))
    }

    /// Whether `ring accept` lifts it. The machine is another matter, and stays.
    pub fn is_acceptable(&self) -> bool {
        let machine = |reason: &Reason| matches!(reason, Reason::Machine(_));
        !self.is_adoptable() && self.reasons().all(|it| machine(it) || it.can_be_accepted())
    }

    /// Whether nothing but the root slots stands in the way: `root add` and `root remove` lift it.
    pub(super) fn is_for_slots(&self) -> bool {
        self.reasons().all(|reason| matches!(reason, Reason::NoSlot))
    }

    /// The generations between which an operator decides, each under another ring key.
    pub fn heads(&self) -> impl Iterator<Item = &String> {
        self.reasons().flat_map(|reason| match reason {
            Reason::TwoRingKeys(heads) => heads.as_slice(),
            _ => &[],
        })
    }

    /// Adds a reason, or is the first.
    pub(super) fn add(frozen: &mut Option<Self>, reason: Reason) {
        let reasons = &mut frozen.get_or_insert_with(|| Self(Vec::new())).0;
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
}

impl fmt::Display for Frozen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons: Vec<String> = self.reasons().map(ToString::to_string).collect();
        f.write_str(&reasons.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen(reasons: &[&Reason]) -> Frozen {
        Frozen(reasons.iter().copied().cloned().collect())
    }

    #[test]
    fn a_decision_lifts_a_frozen_ring_where_it_lifts_every_reason() {
        let machine = Reason::Machine("made elsewhere");
        let lost = Reason::BehindMark { used: 2, newest: 1 };
        let (slots, newer) = (Reason::NoSlot, Reason::NewerFormat);
        let lifted_by = |reasons: &[&Reason]| {
            let it = frozen(reasons);
            (it.is_adoptable(), it.is_acceptable(), it.is_for_slots())
        };

        assert_eq!(lifted_by(&[&machine]), (true, false, false));
        assert_eq!(lifted_by(&[&lost]), (false, true, false));
        assert_eq!(lifted_by(&[&slots]), (false, false, true));
        // The machine is another matter, and stays.
        assert_eq!(lifted_by(&[&machine, &lost]), (false, true, false));
        for other in [&[&lost, &newer], &[&slots, &lost], &[&machine, &slots]] {
            assert_eq!(lifted_by(other), (false, false, false));
        }
    }

    #[test]
    fn the_first_reason_says_what_to_do() {
        let lost = Reason::BehindMark { used: 2, newest: 1 };

        assert_eq!(
            frozen(&[&Reason::NoSlot, &lost]).remedy(),
            Reason::NoSlot.remedy()
        );
        assert_eq!(frozen(&[&lost, &Reason::NoSlot]).remedy(), lost.remedy());
    }
}
