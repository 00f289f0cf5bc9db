//! Overwriting what is left of deleted rows where the engine leaves it.
//!
//! The engine overwrites a row that is deleted. But where it has made a page anew before, to balance a tree, a copy of the row may lie
//! between the places of the cells and the cells, in a gap that belongs to nobody. Here these gaps are overwritten, by the engine's own
//! table of pages and so in its transactions.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::connection::open;
use crate::connection::SQLITE_BUSY_TIMEOUT;
use crate::engine::Pen;
use crate::memory::Memory;

/// Pages that are overwritten while others cannot write.
const TOGETHER: usize = 200;
/// Where the first page has its header: the file's own stands before it.
const FIRST_HEADER: usize = 100;
/// Of a larger file, the first bytes of other pages could be taken for the kind of a page of a tree.
const MAX_PAGES: i64 = 1 << 25;

const READ: &str = "SELECT data FROM sqlite_dbpage WHERE pgno = ?1";
const WRITE: &str = "UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1";

/// Overwrites the gaps in all pages of a file that hold anything; returns how many that were. Blocks the thread.
///
/// # Errors
/// When the engine fails; what was overwritten stays so.
pub(crate) fn scrub(file: &Path, pen: &Pen, memory: &Memory) -> rusqlite::Result<u64> {
    let connection = open(file, SQLITE_BUSY_TIMEOUT, &[("secure_delete", 1)])?;
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |found| found.get(0))?;
    if pages >= MAX_PAGES {
        tracing::warn!("the database is too large for overwriting what may be left of erased rows");
        return Ok(0);
    }
    let (mut scrubbed, mut found) = (0, Vec::new());
    for number in 1..=pages {
        // Looked for without keeping anybody from writing.
        if clean(&connection, number)?.is_some() {
            found.push(number);
        }
        if found.len() == TOGETHER || number == pages {
            scrubbed += overwrite(&connection, pen, memory, &std::mem::take(&mut found))?;
        }
    }
    Ok(scrubbed)
}

fn overwrite(connection: &Connection, pen: &Pen, memory: &Memory, pages: &[i64]) -> rusqlite::Result<u64> {
    if pages.is_empty() {
        return Ok(0);
    }
    let _pen = pen.blocking_lock();
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let before = memory.mark();
    let done = pages.iter().try_fold(0, |done, number| {
        // Once more: it may be another page by now.
        let Some(page) = clean(connection, *number)? else { return Ok(done) };
        connection.prepare_cached(WRITE)?.execute(params![number, page])?;
        Ok(done + 1)
    });
    match done {
        Ok(done) => {
            connection.execute_batch("COMMIT")?;
            // No row is another.
            memory.rewritten(before);
            Ok(done)
        }
        Err(error) => {
            // What was begun is of no use; the connection is dropped by whoever is told.
            let _ = connection.execute_batch("ROLLBACK");
            Err(error)
        }
    }
}

/// A page with its gap overwritten; `None` where there is nothing in it.
fn clean(connection: &Connection, number: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    let page: Option<Vec<u8>> = connection.prepare_cached(READ)?.query_row([number], |found| found.get(0)).optional()?;
    let Some(mut page) = page else { return Ok(None) };
    let Some(gap) = gap(&page, if number == 1 { FIRST_HEADER } else { 0 }) else { return Ok(None) };
    let Some(gap) = page.get_mut(gap) else { return Ok(None) };
    if gap.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    gap.fill(0);
    Ok(Some(page))
}

/// What belongs to nobody in a page of a tree; `None` where it is no such page, as far as anything in it speaks against that.
fn gap(page: &[u8], header: usize) -> Option<Range<usize>> {
    let number = |at: usize| Some(usize::from(u16::from_be_bytes(page.get(at..at + 2)?.try_into().ok()?)));
    let header_bytes = match page.get(header)? {
        2 | 5 => 12,
        10 | 13 => 8,
        _ => return None,
    };
    let (cells, content) = (number(header + 3)?, number(header + 5)?);
    let content = if content == 0 { 1 << 16 } else { content };
    let places = header + header_bytes;
    let begin = places + 2 * cells;
    let is_inside = |place: usize| (content..page.len()).contains(&place);
    let all_inside = (0..cells).all(|cell| number(places + 2 * cell).is_some_and(is_inside));
    (begin <= content && content <= page.len() && all_inside).then_some(begin..content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_lies_between_the_places_of_cells_and_the_cells() {
        let mut page = vec![7; 512];
        page[..8].copy_from_slice(&[13, 0, 0, 0, 2, 1, 0x90, 0]);
        page[8..12].copy_from_slice(&[1, 0x90, 1, 0xa0]);
        assert_eq!(gap(&page, 0), Some(12..0x190));
        page[8..10].copy_from_slice(&[1, 0]);
        assert_eq!(gap(&page, 0), None, "a cell outside of the cells");
        page[0] = 0;
        assert_eq!(gap(&page, 0), None, "a page of something else");
        assert_eq!(gap(&[13, 0], 0), None);
    }
}
