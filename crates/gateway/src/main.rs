//! See the library.

use std::process::ExitCode;

use calldata_gateway::cli::Cli;
use tikv_jemallocator::Jemalloc;

/// A request is some dozens of small pieces of memory that live for microseconds.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match calldata_gateway::command::run(Cli::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("calldata-gateway: {failure}");
            ExitCode::FAILURE
        }
    }
}
