//! Why there is no cluster.

use libtest_mimic::{Completion, Failed};

use crate::golang;

#[derive(Clone, Debug)]
pub enum Missing {
    /// A machine without this cannot run the suite.
    Tool(String),
    /// It could have worked, and did not.
    Broken(String),
}

impl Missing {
    /// What a trial says that cannot run without it. With `TESTS_REQUIRED=all` none may be ignored.
    pub fn outcome(&self) -> Result<Completion, Failed> {
        let required = std::env::var_os("TESTS_REQUIRED").is_some_and(|value| value == "all");
        match self {
            Self::Tool(tool) if !required => Ok(Completion::ignored_with(format!("needs {tool}"))),
            Self::Tool(tool) => {
                Err(format!("needs {tool}, and TESTS_REQUIRED=all allows no trial to be ignored").into())
            }
            Self::Broken(why) => Err(why.into()),
        }
    }
}

impl From<golang::Missing> for Missing {
    fn from(missing: golang::Missing) -> Self {
        match missing {
            golang::Missing::Go => Self::Tool("go".into()),
            golang::Missing::Build(why) => Self::Broken(why),
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
