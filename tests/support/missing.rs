//! What a suite cannot run without.
//!
//! Included by `#[path = "../support/missing.rs"] mod missing;`, in suites whose own main can say "ignored".

use std::fmt;

use libtest_mimic::{Completion, Failed};

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

/// Fails, naming the first of these programs that is not to be found.
pub fn require(programs: &[&str]) -> Result<(), Missing> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for program in programs {
        if !std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
            return Err(Missing::Tool((*program).into()));
        }
    }
    Ok(())
}

/// Fails where we are not root.
pub fn require_root(what: &str) -> Result<(), Missing> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Missing::Tool(format!("root, {what}")))
}
