//! Parses, runs, prints the error and its hint, and says by the exit code how it went.

use std::process::ExitCode;

/// musl's own takes as long as all the rest of a request.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    kekring::cli::main()
}
