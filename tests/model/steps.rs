//! What an operator, a disk or an accident may do.

use proptest::prelude::*;
use proptest::sample::Index;

/// One of them.
#[derive(Clone, Debug)]
pub enum Step {
    Rotate,
    RotateFresh,
    Prepare,
    Suspend(Index),
    Resume(Index),
    AddRoot,
    RemoveRoot(Index),
    Backup,
    Restore(Index),
    /// The directory is copied, and the copy is served elsewhere from now on.
    Fork,
    /// What happens to the copy.
    Elsewhere(Box<Step>),
    /// The newest state of the copy is restored here.
    Join,
    /// The directory is copied to be put back later.
    Snapshot,
    /// It is put back.
    RollBack(Index),
    /// A bit of the newest generation changes, in the mirror too if so.
    Damage {
        mirror: bool,
        at: Index,
    },
    /// What was damaged is put back as it was.
    Mend,
    /// What is missing is given up; between two ring keys, one is chosen.
    Accept(Index),
    /// Somebody keeps the roots and the newest generation of today.
    Steal,
    /// What he makes of them appears where the ring lies, once its ring key was replaced.
    Plant {
        which: Index,
        rotations: usize,
        target: Target,
    },
    /// The keys of a generation that is passed over are taken in.
    TakeIn(Index),
    /// The directory is copied, and a root is removed on each side.
    Part {
        here: Index,
        there: Index,
    },
    /// After a removal on each side, the newest generation of one appears at the other.
    Mix {
        back: bool,
        unmarked: bool,
    },
    /// A mark becomes something else.
    Spoil {
        mirror: bool,
        how: Spoil,
    },
    /// A server starts, or reads again.
    Serve,
}

impl Step {
    /// Its kind, for counting.
    pub fn name(&self) -> String {
        let text = format!("{self:?}");
        let kind = text.split([' ', '(']).next().unwrap_or_default();
        match self {
            Self::Elsewhere(step) => format!("{kind}{}", step.name()),
            _ => kind.to_owned(),
        }
    }
}

/// Where a stranger writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Ring,
    Mirror,
    MirrorAndMark,
}

/// What becomes of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    Gone,
    Garbage,
    OtherRing,
}

/// Up to 40 of them.
pub fn sequences() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => change(),
        2 => Just(Step::AddRoot),
        2 => any::<Index>().prop_map(Step::RemoveRoot),
        1 => Just(Step::Backup),
        1 => any::<Index>().prop_map(Step::Restore),
        1 => Just(Step::Fork),
        3 => change().prop_map(|step| Step::Elsewhere(Box::new(step))),
        2 => any::<Index>().prop_map(|which| Step::Elsewhere(Box::new(Step::RemoveRoot(which)))),
        1 => any::<Index>().prop_map(|which| Step::Elsewhere(Box::new(Step::Accept(which)))),
        2 => Just(Step::Join),
        1 => Just(Step::Snapshot),
        1 => any::<Index>().prop_map(Step::RollBack),
        1 => (any::<bool>(), any::<Index>()).prop_map(|(mirror, at)| Step::Damage { mirror, at }),
        1 => Just(Step::Mend),
        3 => any::<Index>().prop_map(Step::Accept),
        1 => Just(Step::Steal),
        2 => plant(),
        3 => any::<Index>().prop_map(Step::TakeIn),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(here, there)| Step::Part { here, there }),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(back, unmarked)| Step::Mix { back, unmarked }),
        1 => spoil(),
        2 => Just(Step::Serve),
    ]
}

fn plant() -> impl Strategy<Value = Step> {
    let target = prop_oneof![
        Just(Target::Ring),
        Just(Target::Mirror),
        Just(Target::MirrorAndMark)
    ];
    (any::<Index>(), 0_usize..12, target).prop_map(|(which, rotations, target)| Step::Plant {
        which,
        rotations,
        target,
    })
}

fn spoil() -> impl Strategy<Value = Step> {
    let how = prop_oneof![Just(Spoil::Gone), Just(Spoil::Garbage), Just(Spoil::OtherRing)];
    (any::<bool>(), how).prop_map(|(mirror, how)| Step::Spoil { mirror, how })
}

fn change() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Rotate),
        1 => Just(Step::RotateFresh),
        1 => Just(Step::Prepare),
        2 => any::<Index>().prop_map(Step::Suspend),
        2 => any::<Index>().prop_map(Step::Resume),
    ]
}
