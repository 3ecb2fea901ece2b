//! Parses, runs, prints the error and its hint, and says by the exit code how it went.

use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: seeds pass through the buffers of libraries, which do not.
#[cfg(not(target_env = "musl"))]
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

/// The same; musl's own allocator takes as long as all the rest of a request.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: ZeroAlloc<dlmalloc::GlobalDlmalloc> = ZeroAlloc(dlmalloc::GlobalDlmalloc);

fn main() -> ExitCode {
    kekring::cli::main()
}
