//! `man` and `completions`, both made from the command line itself.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Failure;
use crate::cli::Cli;

/// Writes a page for each command.
pub(super) fn write(folder: &Path) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|error| Failure::because(format!("the manual cannot be written to {}", folder.display()), &error))
}

/// Prints what a shell reads.
pub(super) fn complete(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    std::io::stdout().write_all(&script).map_err(|error| Failure::because("standard output cannot be written", &error))
}
