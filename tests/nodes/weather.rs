//! What was away, and when. A request that fails while something that it needs is away does not count; one that touches no
//! such time must succeed.

use std::fmt;
use std::sync::Mutex;
use std::time::Instant;

/// Something that can be away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A member, or the whole of it.
    Etcd,
    Plugin(usize),
    ApiServer(usize),
}

#[derive(Debug)]
struct Spell {
    what: What,
    until: Option<Instant>,
}

/// Every time that something was away.
#[derive(Debug, Default)]
pub struct Weather(Mutex<Vec<Spell>>);

impl Weather {
    /// From now on; before it is taken away.
    pub fn begins(&self, what: What) {
        let spell = Spell { what, until: None };
        self.0.lock().unwrap().push(spell);
    }

    /// Until now; when it is back.
    pub fn ends(&self, what: What) {
        let mut spells = self.0.lock().unwrap();
        let open = spells.iter_mut().find(|it| it.what == what && it.until.is_none());
        open.expect("a time that has begun").until = Some(Instant::now());
    }

    /// For as long as `scenario` runs.
    pub fn during<T>(&self, what: What, scenario: impl FnOnce() -> T) -> T {
        self.begins(what);
        let outcome = scenario();
        self.ends(what);
        outcome
    }

    /// Whether a request to this API server since then could have failed for it.
    pub fn excuses(&self, server: usize, since: Instant) -> bool {
        let needed = [What::Etcd, What::Plugin(server), What::ApiServer(server)];
        let spells = self.0.lock().unwrap();
        spells
            .iter()
            .any(|it| needed.contains(&it.what) && it.until.is_none_or(|until| until >= since))
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spells = self.0.lock().unwrap();
        let count = |wanted: fn(&What) -> bool| spells.iter().filter(|it| wanted(&it.what)).count();
        write!(
            f,
            "away: API servers {} times, plugins {}, etcd {}",
            count(|it| matches!(it, What::ApiServer(_))),
            count(|it| matches!(it, What::Plugin(_))),
            count(|it| *it == What::Etcd)
        )
    }
}
