//! Why a ring does not open or is not changed, each with what an operator can do.

use super::Frozen;
use super::room::FOR_ROTATIONS;
use crate::crypto::RandomnessError;
use crate::crypto::aead::SealError;
use crate::format::FormatError;
use crate::format::generation::MAX_LEN;
use crate::keyring::RingId;
use crate::keyring::lifecycle::Refusal;
use crate::root::RootError;
use crate::store::StoreError;

/// Why a ring does not open.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// The store is empty and nothing says that it should not be.
    #[error("cannot open the ring in {0}: there is none")]
    NoRing(String),
    /// The same where a throw-away ring is wanted.
    #[error("cannot open the ring in {0}: there is none")]
    NoDevelopmentRing(String),
    /// The store is empty and a mark says that a ring was here.
    #[error("cannot open the ring in {0}: it is gone, and its mark is still there")]
    RingGone(String),
    /// The store cannot be read.
    #[error("cannot open the ring in {place}: {why}")]
    Store {
        /// Which store.
        place: String,
        /// Why.
        why: StoreError,
    },
    /// No generation can be used; the class is that of the newest.
    #[error("cannot open the ring: {place}: {why}")]
    Format {
        /// Which copy.
        place: String,
        /// Why.
        why: FormatError,
    },
    /// No root opens a slot.
    #[error("cannot open the ring in {place} with any configured root: {}", listed(tried))]
    Roots {
        /// Which store.
        place: String,
        /// What each root said.
        tried: Vec<(String, RootError)>,
    },
    /// A throw-away ring where a real one is wanted, or the reverse.
    #[error("cannot open the ring in {place}: it {}", sort(*.development))]
    Development {
        /// Which store.
        place: String,
        /// What the ring is.
        development: bool,
    },
    /// Everything in the store is under a ring key that this node knows to be replaced.
    #[error("cannot open the ring in {0}: it is sealed under a ring key that was replaced")]
    Replaced(String),
    /// One store holds generations of two rings.
    #[error("cannot open the ring in {place}: it holds generations of ring {one} and of ring {other}")]
    TwoRings {
        /// Which store.
        place: String,
        /// The ring of the newest generation.
        one: RingId,
        /// Another one.
        other: RingId,
    },
}

impl OpenError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::NoRing(_) => "mount its disk, or restore a backup; only a cluster that never had one gets one by `kekring init`".into(),
            Self::NoDevelopmentRing(_) => "`kekring serve --dev DIR` makes a throw-away ring in a new directory".into(),
            Self::RingGone(_) => {
                "put the ring's files back from the mirror or a backup; without them nothing it encrypted can be read".into()
            }
            Self::Store { why, .. } => store_hint(why).into(),
            Self::Format { why, .. } => match why {
                FormatError::Corrupt(_) | FormatError::Tampered(_) => {
                    "put a good copy back from the mirror or a backup; the file was left as it is".into()
                }
                FormatError::Newer(_) => "use the kekring version that wrote it, or a later one".into(),
                FormatError::Unreleased => {
                    "make a new ring by `kekring init`; what this one encrypted only the program that made it reads".into()
                }
                FormatError::WrongKey => "check ring.roots: they belong to another ring, or to a ring key of this one that was replaced".into(),
            },
            Self::Roots { tried, .. } if tried.is_empty() => {
                "no configured root is of the kind of any slot; add the root that `init` used to ring.roots".into()
            }
            Self::Roots { tried, .. } if tried.iter().any(|(_, why)| matches!(why, RootError::NotTried(_))) => {
                "no honest ring has so many slots: move the generations that do not belong here elsewhere, or put a good copy back from the mirror or a backup".into()
            }
            Self::Roots { tried, .. } if tried.iter().all(|(_, why)| *why == RootError::WrongRoot) => {
                "wrong root: restore the root that this ring was made with; with the recovery code, `kekring root add --replace-lost --open-with -` makes another".into()
            }
            Self::Roots { tried, .. } if tried.iter().any(|(_, why)| matches!(why, RootError::Corrupt(_))) => {
                "put a good copy of the ring back from the mirror or a backup, or use another of its roots; the file was left as it is".into()
            }
            Self::Roots { tried, .. } if tried.iter().any(|(_, why)| matches!(why, RootError::Config(_))) => {
                "put the root back as it was when the ring was made, byte for byte; with the recovery code, `kekring root add --replace-lost --open-with -` makes another".into()
            }
            Self::Roots { tried, .. } if tried.iter().any(|(_, why)| matches!(why, RootError::DeniedByTpm(_))) => {
                "the machine did not start as it had when the credential was sealed: where that is as it should be, open the ring with the recovery code and seal the credential anew: systemd-creds encrypt, then `kekring root add --open-with -`".into()
            }
            Self::Roots { tried, .. } if tried.iter().any(|(_, why)| matches!(why, RootError::Denied(_))) => {
                "mend owner or mode as it says; who could read the root meanwhile may know the ring key: `kekring root remove` replaces it".into()
            }
            Self::Roots { .. } => "bring one of the roots back; with the recovery code, `kekring root add --replace-lost --open-with -` makes another".into(),
            Self::Development { development: true, .. } => "use it with `--dev DIR`, for tests only; `kekring init` makes a real ring".into(),
            Self::Development { .. } => "`--dev` is for throw-away rings; use --config for this one".into(),
            Self::Replaced(_) => {
                "the nodes bring the ring back from their copies by themselves, `kekring status` shows how far they are; whoever put this there holds a removed root".into()
            }
            Self::TwoRings { .. } => "move the files of the ring that does not belong here elsewhere; delete nothing".into(),
        }
    }

    /// What is wrong with one copy, where the ring itself did open.
    pub fn cause(&self) -> String {
        match self {
            Self::Format { place, why } => format!("{place}: {why}"),
            Self::Store { place, why } => format!("{place}: {why}"),
            other => other.to_string(),
        }
    }

    /// Not damaged: a newer version wrote it for its own like.
    pub(super) fn is_newer(&self) -> bool {
        let Self::Format { why, .. } = self else {
            return false;
        };
        matches!(why, FormatError::Newer(_))
    }

    /// Refused for safety, as opposed to failed.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Development { .. } | Self::TwoRings { .. } | Self::Replaced(_) => true,
            Self::Store { why, .. } => matches!(why, StoreError::Denied(_)),
            Self::Roots { tried, .. } => tried.iter().any(|(_, why)| matches!(why, RootError::Denied(_))),
            _ => false,
        }
    }
}

/// Why a ring is not changed. The store is as it was, except after [`CommitError::Settle`].
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something is undecided.
    #[error("the ring is frozen: {0}")]
    Frozen(Frozen),
    /// The transition itself is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing was written.
    #[error("cannot change the ring: {0}")]
    Store(#[from] StoreError),
    /// Written and durable, but not in every place; it is not used until it is.
    #[error("generation {generation} is durable, and is not used yet: {why}")]
    Settle {
        /// The new generation.
        generation: u64,
        /// What failed.
        why: StoreError,
    },
    /// No slot could be made.
    #[error("cannot seal the ring key with {root}: {why}")]
    Root {
        /// Which root.
        root: String,
        /// Why.
        why: RootError,
    },
    /// The slots would not be as they must be; nothing was written.
    #[error("cannot change the root slots: {0}")]
    Slots(String),
    /// One more key than a generation has room for; nothing was written.
    #[error(
        "cannot change the ring: with {keys} keys it would take {length} bytes, and a ring has at most {MAX_LEN}"
    )]
    Full {
        /// How many keys it would hold.
        keys: usize,
        /// How long it would be.
        length: usize,
    },
    /// As long as a rotation may make it; nothing was written.
    #[error(
        "cannot rotate: with {keys} keys the ring would take {length} bytes, and rotations stop at {FOR_ROTATIONS} of {MAX_LEN}, so that there is room for an emergency"
    )]
    Reserved {
        /// How many keys it would hold.
        keys: usize,
        /// How long it would be.
        length: usize,
    },
    /// A join that is in memory alone: nothing is deleted for its sake.
    #[error(
        "cannot delete older generations: two histories of the ring were joined, and that is not stored yet"
    )]
    NotStored,
    /// A root slot is still there that another history removed; nothing was written.
    #[error("cannot rotate: another history of the ring removed the slot of {0}, and it is still there")]
    Unfinished(String),
    /// Two keys of the same bytes; nothing was written.
    #[error(
        "cannot change the ring: the kernel's generator gave the same random bytes twice, and two keys would be one"
    )]
    Repeated,
    /// There is nothing to bind the ring to.
    #[error("cannot bind the ring to this machine: it has no machine id")]
    NoMachineId,
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// No randomness, in the midst of sealing.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl CommitError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Frozen(why) => format!("{}; serving goes on meanwhile", why.remedy()),
            Self::Store(StoreError::Conflict(_)) => {
                "run the command again: it starts from the new state".into()
            }
            Self::Store(why) | Self::Settle { why, .. } => store_hint(why).into(),
            Self::Root { .. } => "mend the root and run the command again; nothing was written".into(),
            Self::Refused(why) => refusal_hint(why),
            Self::Slots(_) => {
                "`kekring root verify` shows what opens each; `--open-with -` asks for a recovery code".into()
            }
            Self::Full { .. } => "it serves on with the keys that it has; raise rotation.period, and rotate by hand only where a key must go".into(),
            Self::Reserved { .. } => "it serves on with the keys that it has; raise rotation.period; `kekring rotate --fresh` still replaces a key that must go".into(),
            Self::NotStored => "run the command again".into(),
            Self::Unfinished(_) => "`kekring root list` shows its id; `kekring root remove ID` finishes the removal".into(),
            Self::Repeated => "find out why getrandom(2) repeats itself, as in a machine whose generator was never seeded; no key may be made there".into(),
            Self::NoMachineId => "name the file that has it in node.machineIdFile".into(),
            Self::Randomness(_) | Self::Seal(_) => "the kernel must offer getrandom(2)".into(),
        }
    }

    /// Refused for safety, as opposed to failed.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Frozen(_) | Self::Refused(_) | Self::Slots(_) | Self::Full { .. } | Self::Repeated => true,
            Self::Reserved { .. } | Self::Unfinished(_) => true,
            Self::Store(why) => matches!(why, StoreError::Denied(_)),
            Self::Root { why, .. } => matches!(why, RootError::Denied(_)),
            _ => false,
        }
    }
}

fn refusal_hint(why: &Refusal) -> String {
    match why {
        Refusal::InFlight(_) => "`kekring rotate --activate` finishes it".into(),
        Refusal::NextSuspended(id) => format!("`kekring keys resume {id}` lets it become active"),
        Refusal::Unknown(_) | Refusal::IsSuspended(_) | Refusal::IsNotSuspended(_) => {
            "`kekring keys list` shows every key and its state".into()
        }
        Refusal::IsActive(_) => "`kekring rotate` makes another one active".into(),
        Refusal::SecondInstance(name) => {
            format!("`kekring node remove {name}` makes room, once the other machine is gone for good")
        }
        Refusal::TooManyNodes => "`kekring node remove NAME` removes one that is gone for good".into(),
        Refusal::IsRegistered(_) | Refusal::UnknownNode(_) => "`kekring node list` shows them".into(),
        Refusal::BelowMark(_) => "`kekring ring accept` goes on where it is lost for good".into(),
        Refusal::TwoRingKeys => {
            "roots were removed on two nodes while their histories were apart, and each history was joined over the other: make a backup of this node, remove it with `kekring node remove`, empty its copy's directory and start it again; `kekring restore` takes the keys of that backup in".into()
        }
        Refusal::RemovalUnfinished => {
            "`kekring status` names it; `kekring root remove ID` finishes the removal".into()
        }
        Refusal::Exhausted | Refusal::Incomplete => "see `kekring status`".into(),
    }
}

fn store_hint(why: &StoreError) -> &'static str {
    match why {
        StoreError::Unavailable(_) => {
            "check that the directory exists, is mounted, can be written and has space"
        }
        StoreError::Denied(_) => {
            "run it as the owner of the ring; where owner or mode is wrong, mend it as it says"
        }
        StoreError::Away(_) => {
            "see that etcd answers and has a leader; `kekring serve` serves from this node's copy meanwhile"
        }
        StoreError::Barred(_) => {
            "mend the certificate, the user or its role: README.md says what the role needs"
        }
        StoreError::Corrupt(_) => "put a good copy back from the mirror or a backup; nothing was changed",
        StoreError::Conflict(_) => "run the command again",
    }
}

fn listed(tried: &[(String, RootError)]) -> String {
    if tried.is_empty() {
        return "none fits".to_owned();
    }
    let lines: Vec<String> = tried.iter().map(|(root, why)| format!("{root}: {why}")).collect();
    lines.join("; ")
}

fn sort(development: bool) -> &'static str {
    if development {
        "is a development ring"
    } else {
        "is not a development ring"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(tried: &[RootError]) -> OpenError {
        OpenError::Roots {
            place: "/ring".into(),
            tried: tried
                .iter()
                .map(|why| ("file /root.key".to_owned(), why.clone()))
                .collect(),
        }
    }

    fn store(why: StoreError) -> OpenError {
        let place = "/ring".into();
        OpenError::Store { place, why }
    }

    #[test]
    fn each_way_in_which_roots_fail_has_a_remedy_of_its_own() {
        let text = || "why".to_owned();
        let [denied, corrupt, config, away] = [
            RootError::Denied(text()),
            RootError::Corrupt(text()),
            RootError::Config(text()),
            RootError::Unavailable(text()),
        ];
        let wrong = RootError::WrongRoot;

        for (tried, says) in [
            (vec![], "no configured root is of the kind"),
            (vec![wrong.clone(), wrong.clone()], "wrong root: restore"),
            (
                vec![wrong.clone(), RootError::NotTried(16)],
                "no honest ring has so many slots",
            ),
            (vec![wrong.clone(), corrupt], "put a good copy of the ring back"),
            (vec![wrong.clone(), config], "as it was when the ring was made"),
            (vec![wrong.clone(), denied], "mend owner or mode"),
            (vec![wrong, away], "bring one of the roots back"),
        ] {
            let hint = roots(&tried).hint();
            assert!(hint.contains(says), "{tried:?}: {hint}");
        }
    }

    #[test]
    fn only_what_is_refused_for_safety_counts_as_a_refusal() {
        let text = || "why".to_owned();
        let denied = StoreError::Denied(text());
        let away = StoreError::Unavailable(text());
        let root = |why| CommitError::Root { root: text(), why };

        assert!(store(denied.clone()).is_refusal() && !store(away.clone()).is_refusal());
        let one_denied = [RootError::WrongRoot, RootError::Denied(text())];
        assert!(roots(&one_denied).is_refusal() && !roots(&[RootError::WrongRoot]).is_refusal());
        assert!(!OpenError::NoRing(text()).is_refusal());
        assert!(CommitError::Store(denied).is_refusal() && !CommitError::Store(away).is_refusal());
        assert!(root(RootError::Denied(text())).is_refusal() && !root(RootError::WrongRoot).is_refusal());
        assert!(CommitError::Repeated.is_refusal() && !CommitError::NoMachineId.is_refusal());
    }

    #[test]
    fn what_a_newer_version_wrote_is_known_as_such() {
        let format = |why| OpenError::Format {
            place: String::new(),
            why,
        };

        assert!(format(FormatError::Newer("9".into())).is_newer());
        assert!(!format(FormatError::WrongKey).is_newer());
        assert!(!OpenError::NoRing(String::new()).is_newer());
    }
}
