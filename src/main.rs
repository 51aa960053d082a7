//! The `jeton` program.

use std::process::ExitCode;

/// Faster than the system's allocator for many small, short-lived requests (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    jeton::cli::main()
}
