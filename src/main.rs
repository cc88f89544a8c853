//! The binary: an allocator and a command line.

use std::process::ExitCode;

/// Replaces C's allocator as well (Cargo.toml), so that librdkafka's many small messages profit from it too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    tidemill::cli::main()
}
