//! The recovery code at the command line: shown once and typed back, written to a file, or asked for.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::line;
use crate::root::{PassphraseRoot, RecoveryCode, RootKey};

/// A root beside those of the configuration.
#[derive(Args)]
pub(super) struct OpenWith {
    /// Also try the recovery code or passphrase in FILE (0600); `-` asks for the recovery code
    #[arg(long, value_name = "FILE")]
    open_with: Option<PathBuf>,
}

impl OpenWith {
    /// The root, where one was named.
    pub(super) fn root(&self) -> Result<Option<Arc<dyn RootKey>>, Failure> {
        Ok(match &self.open_with {
            None => None,
            Some(path) if path.as_os_str() == "-" => Some(Arc::new(PassphraseRoot::from_code(ask()?))),
            Some(path) => Some(Arc::new(PassphraseRoot::from_file(path.clone()))),
        })
    }
}

/// Where a new recovery code goes.
pub(super) enum Recovery {
    /// To a new file, 0600.
    File(PathBuf),
    /// To the terminal, and typed back.
    Terminal,
}

impl Recovery {
    /// The file that was named, else the terminal, where there is one.
    pub(super) fn to(file: Option<&Path>, otherwise: &str) -> Result<Self, Failure> {
        match file {
            Some(path) => Ok(Self::File(path.to_owned())),
            None if at_terminal() => Ok(Self::Terminal),
            None => Err(Failure::usage(
                "cannot show a recovery code: this is no terminal",
                otherwise,
            )),
        }
    }

    /// Makes a code and hands it over.
    pub(super) fn make(&self) -> Result<Arc<dyn RootKey>, Failure> {
        let code = RecoveryCode::generate()?;
        match self {
            Self::File(path) => code.write_new(path)?,
            Self::Terminal => show_and_confirm(&code)?,
        }
        Ok(Arc::new(PassphraseRoot::from_code(code)))
    }

    /// The file that holds it.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Terminal => None,
        }
    }
}

fn at_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Shows the code once, and goes on when it was typed back.
#[allow(clippy::print_stderr)]
fn show_and_confirm(code: &RecoveryCode) -> Result<(), Failure> {
    let text = code.text();
    eprintln!(
        "The recovery code of this ring, shown once:\n\n    {}\n",
        text.as_str()
    );
    eprintln!("Write it down, away from this machine. It opens the ring when every other root is lost.");
    for _ in 0..3 {
        let Some(typed) = prompt("Type it back: ") else {
            break;
        };
        if RecoveryCode::parse(&typed).is_some_and(|typed| typed.text() == text) {
            return Ok(());
        }
        eprintln!("That is not the code.");
    }
    line("");
    Err(Failure::failed(
        "cannot go on: the recovery code was not typed back",
        "run the command again; it makes another code",
    ))
}

/// Asks for a code that exists.
#[allow(clippy::print_stderr)]
fn ask() -> Result<RecoveryCode, Failure> {
    for _ in 0..3 {
        let Some(typed) = prompt("Recovery code: ") else {
            break;
        };
        if let Some(code) = RecoveryCode::parse(&typed) {
            return Ok(code);
        }
        eprintln!("That is no recovery code: one has 56 letters and digits, and a mistyped one is noticed.");
        if !at_terminal() {
            break;
        }
    }
    Err(Failure::usage(
        "cannot read the recovery code",
        "type it as it was shown; case, dashes and spaces do not matter",
    ))
}

/// One line; `None` at the end of the input. Asks only where somebody sees it.
#[allow(clippy::print_stderr)]
fn prompt(question: &str) -> Option<Zeroizing<String>> {
    if at_terminal() {
        eprint!("{question}");
        let _ = std::io::stderr().flush();
    }
    let mut typed = Zeroizing::new(String::with_capacity(256));
    (std::io::stdin().read_line(&mut typed).unwrap_or(0) > 0).then_some(typed)
}
