//! What commands print.

use std::io::Write;

use serde::Serialize;

use crate::Failure;

/// Prints a line on standard output.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::because("standard output cannot be written", &error))
}

/// Prints one JSON object.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::because("the answer cannot be written as JSON", &error))?;
    line(&text)
}

/// Prints rows under a heading, columns aligned.
pub(crate) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    let heading = heading.map(str::to_owned);
    let widths: Vec<_> =
        (0..N).map(|n| rows.iter().chain([&heading]).filter_map(|row| row.get(n)).map(|cell| cell.chars().count()).max()).collect();
    for row in [&heading].into_iter().chain(rows) {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = width.unwrap_or(0))).collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}
