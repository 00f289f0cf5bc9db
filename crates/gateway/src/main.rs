//! See the library.

use std::process::ExitCode;

use calldata_gateway::cli::Cli;
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match calldata_gateway::command::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("calldata-gateway: {failure}");
            ExitCode::FAILURE
        }
    }
}
