//! What a trial cannot run without.

use std::fmt;

use libtest_mimic::{Completion, Failed};

/// Why a trial did not run to its end.
#[derive(Clone, Debug)]
pub enum Missing {
    /// A machine without this cannot run it.
    Tool(String),
    /// It could have worked, and did not.
    Broken(String),
}

impl Missing {
    /// What a trial says that cannot run without it. With `TESTS_REQUIRED=all` none may be ignored.
    pub fn outcome(&self) -> Result<Completion, Failed> {
        let required = std::env::var_os("TESTS_REQUIRED").is_some_and(|value| value == "all");
        match self {
            Self::Tool(_) if !required => Ok(Completion::ignored_with(self.to_string())),
            Self::Tool(_) => {
                Err(format!("{self}, and TESTS_REQUIRED=all allows no trial to be ignored").into())
            }
            Self::Broken(why) => Err(why.into()),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(tool) => write!(f, "needs {tool}"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Where nothing is there, what is missing is said.
pub trait Lacking {
    /// What was asked for.
    type Found;

    /// What is there, or that the trial needs `what`.
    fn or_needs(self, what: &str) -> Result<Self::Found, Missing>;
}

impl<T> Lacking for Option<T> {
    type Found = T;

    fn or_needs(self, what: &str) -> Result<T, Missing> {
        self.ok_or_else(|| Missing::Tool(what.to_owned()))
    }
}

impl Lacking for bool {
    type Found = ();

    fn or_needs(self, what: &str) -> Result<(), Missing> {
        self.then_some(()).or_needs(what)
    }
}
