//! The `jeton` program.

use std::process::ExitCode;

/// Made 8 to 14 % more tokens per second than the system's allocator in the prototype.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    jeton::cli::main()
}
