//! Parses, runs, prints the error and its hint, and says by the exit code how it went.

use std::process::ExitCode;

fn main() -> ExitCode {
    kekring::cli::main()
}
