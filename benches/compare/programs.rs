//! The two programs in Go.

use std::path::Path;

use crate::golang::Program;
use crate::missing::Missing;

static LOAD: Program = Program::new("compare-load", "benches/compare/load", "go.mod", "");
static REFERENCE: Program = Program::new("compare-reference", "benches/compare/reference", "go.mod", "");

/// Where they are.
#[derive(Clone, Copy)]
pub struct Programs {
    /// Runs one server and measures it.
    pub load: &'static Path,
    /// The plugin that kekring is compared with.
    pub reference: &'static Path,
}

/// Built by the first who asks.
pub fn built() -> Result<Programs, Missing> {
    Ok(Programs {
        load: LOAD.path()?,
        reference: REFERENCE.path()?,
    })
}
