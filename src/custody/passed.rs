//! Generations whose word counts for nothing: they are sealed under a ring key that was replaced. Each is kept, and told of
//! where it holds a key that the ring lacks.

use super::open::Version;
use crate::keyring::KeyId;
use crate::keyring::join;
use crate::keyring::ring::Ring;
use crate::store::shell_word;

/// One such generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// Its name in the store.
    pub name: String,
    /// Where it lies, for people.
    pub place: String,
    /// The keys that only it has, ascending.
    pub keys: Vec<KeyId>,
    /// Its active key, where the ring lacks that one.
    pub active: Option<KeyId>,
}

impl Passed {
    /// `None` where the ring has every key of it.
    pub(super) fn of(version: &Version, ring: &Ring) -> Option<Self> {
        Self::at(&version.name, &version.place, &version.ring, ring)
    }

    /// The same of what `theirs` is the content of.
    pub(super) fn at(name: &str, place: &str, theirs: &Ring, ring: &Ring) -> Option<Self> {
        let keys: Vec<KeyId> = join::lacks(ring, theirs).map(|key| key.id.clone()).collect();
        let active = theirs.active().map(|key| &key.id);
        let active = active.filter(|id| keys.contains(id)).cloned();
        (!keys.is_empty()).then(|| Self {
            name: name.to_owned(),
            place: place.to_owned(),
            keys,
            active,
        })
    }

    /// Which keys it holds, in words.
    pub fn holds(&self) -> String {
        let (first, more) = match self.keys.as_slice() {
            [] => return String::new(),
            [one] => (format!("key {one}"), String::new()),
            [first, .., last] => (
                format!("keys {first} to {last}"),
                format!(" ({})", self.keys.len()),
            ),
        };
        let active = match &self.active {
            Some(id) => format!("; {id} was active there"),
            None => String::new(),
        };
        format!("only it has {first}{more}{active}")
    }

    /// What a person should know of it.
    pub fn warning(&self) -> String {
        format!(
            "{} is sealed under a ring key that was replaced, so nothing in it counts, and {}; `kekring restore {}` takes them in, to decrypt",
            self.name,
            self.holds(),
            shell_word(&self.place)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::secret::Key32;
    use crate::keyring::RingId;

    #[test]
    fn what_it_holds_is_told_by_its_first_and_its_last_key_and_the_one_that_was_active() {
        let key = |sequence| KeyId::derive(RingId([1; 16]), sequence, &Key32::take(&mut [2; 32]));
        let [first, second, third] = [1, 2, 3].map(key);
        let holds = |keys: &[&KeyId], active: Option<&KeyId>| {
            let passed = Passed {
                name: "gen-9-00000000.ring".into(),
                place: "/mnt/a disk/gen-9-00000000.ring".into(),
                keys: keys.iter().copied().cloned().collect(),
                active: active.cloned(),
            };
            let (holds, warning) = (passed.holds(), passed.warning());
            assert!(warning.contains(&holds), "{warning}");
            assert!(
                warning.contains("`kekring restore '/mnt/a disk/gen-9-00000000.ring'`"),
                "{warning}"
            );
            holds
        };

        assert_eq!(holds(&[], None), "");
        assert_eq!(holds(&[&first], None), format!("only it has key {first}"));
        assert_eq!(
            holds(&[&first, &second, &third], Some(&second)),
            format!("only it has keys {first} to {third} (3); {second} was active there")
        );
    }
}
