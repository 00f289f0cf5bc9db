//! See the library.

use std::process::ExitCode;

use calldata_gateway::cli::Cli;

fn main() -> ExitCode {
    match calldata_gateway::command::run(Cli::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("calldata-gateway: {failure}");
            ExitCode::FAILURE
        }
    }
}
