//! Sessions, one JSON object a line.

use std::io::{self, BufRead};

use calldata_core::{Country, NewSession};
use calldata_interchange::SessionDocument;

/// The longest line in bytes, so that a file that is none of ours does not fill the memory.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Reads line by line and hands over each session with its place; `hand_over` returns whether to go on.
pub(super) fn read_sessions(
    mut input: impl BufRead,
    country: Country,
    mut hand_over: impl FnMut(String, Result<NewSession, String>) -> bool,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let whole = match read_line(&mut input, &mut line)? {
            Line::End => break,
            Line::Read => true,
            Line::TooLong => false,
        };
        if whole && line.trim_ascii().is_empty() {
            continue;
        }
        let session = if whole { session_of(&line, country) } else { Err("the line is too long".into()) };
        if !hand_over(format!("line {number}"), session) {
            break;
        }
    }
    Ok(())
}

enum Line {
    Read,
    TooLong,
    End,
}

/// Reads up to the next line break; what is too long is passed over.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    let (mut any, mut too_long) = (false, false);
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        any = true;
        let end = buffer.iter().position(|b| *b == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
        too_long |= line.len() + part.len() > MAX_LINE_BYTES;
        if !too_long {
            line.extend_from_slice(part);
        }
        let consumed = end.map_or(buffer.len(), |end| end + 1);
        input.consume(consumed);
        if end.is_some() {
            break;
        }
    }
    Ok(match (any, too_long) {
        (false, _) => Line::End,
        (true, true) => Line::TooLong,
        (true, false) => Line::Read,
    })
}

fn session_of(line: &[u8], country: Country) -> Result<NewSession, String> {
    let text = std::str::from_utf8(line).map_err(|_| "not valid UTF-8".to_owned())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    SessionDocument::parse(text).and_then(|document| document.into_session(country)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_named_and_the_rest_is_read() {
        let text = b"{\"callId\":\"1\",\"caller\":\"a\"}\n\n \r\nnonsense\n{\"callId\":\"2\",\"caller\":\"b\"}\r\n\xff\n{\"callId\":\"3\",\"caller\":\"c\"}";
        let mut found = Vec::new();
        let read = read_sessions(&text[..], Country::GERMANY, |place, session| {
            found.push((place, session.map(|session| session.details.call_id.to_string())));
            true
        });
        read.unwrap();
        let expected = [
            ("line 1", Ok("1")),
            ("line 4", Err("not valid JSON")),
            ("line 5", Ok("2")),
            ("line 6", Err("not valid UTF-8")),
            ("line 7", Ok("3")),
        ];
        let expected = expected.map(|(place, session)| (place.to_owned(), session.map(str::to_owned).map_err(str::to_owned)));
        assert_eq!(found, expected);
    }
}
