//! Confirmation of what cannot be undone.
//!
//! On a terminal, every command that deletes for good asks for a typed answer, and `--yes` answers beforehand. Elsewhere nobody could
//! answer: `migrate down` and `tenant delete` refuse without `--yes`; `erase` and `tenant update` do as they are told, for scripts rely on it.

use std::io::{BufRead, IsTerminal, Write};

use crate::Failure;

/// Asks on the terminal, and returns the line that was typed; `None` where there is no terminal.
pub(super) fn ask(question: &str) -> Result<Option<String>, Failure> {
    let input = std::io::stdin();
    if !input.is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(None);
    }
    eprint!("{question}");
    std::io::stderr().flush().map_err(|error| Failure::because("the question cannot be shown", &error))?;
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|error| Failure::because("the answer cannot be read", &error))?;
    Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned()))
}
