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
    Accept,
    /// A server starts, or reads again.
    Serve,
}

/// Up to 40 of them.
pub fn sequences() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => change(),
        1 => Just(Step::AddRoot),
        1 => any::<Index>().prop_map(Step::RemoveRoot),
        1 => Just(Step::Backup),
        1 => any::<Index>().prop_map(Step::Restore),
        1 => Just(Step::Fork),
        3 => change().prop_map(|step| Step::Elsewhere(Box::new(step))),
        2 => Just(Step::Join),
        1 => Just(Step::Snapshot),
        1 => any::<Index>().prop_map(Step::RollBack),
        1 => (any::<bool>(), any::<Index>()).prop_map(|(mirror, at)| Step::Damage { mirror, at }),
        1 => Just(Step::Mend),
        3 => Just(Step::Accept),
        2 => Just(Step::Serve),
    ]
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
