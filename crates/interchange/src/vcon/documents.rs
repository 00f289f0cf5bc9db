//! vCons from a file: one a line, or each over several lines, one after the other.

use std::io::{self, BufRead, Read};

use calldata_core::{Country, JsonText, NewSession};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::read;
use crate::bounded::MAX_PIECE_BYTES;

/// What some programs begin a text with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads vCon after vCon and hands over each session with its place; `hand_over` returns whether to go on. A local number without a
/// country is one of `country`.
///
/// # Errors
/// When the input cannot be read. What is wrong with a vCon is handed over instead: one that is not JSON takes along what stands on its own
/// lines, and nothing after them; what follows one that is too long is not read.
pub fn read_documents(
    mut input: impl BufRead,
    country: Country,
    mut hand_over: impl FnMut(String, Result<NewSession, String>) -> bool,
) -> io::Result<()> {
    if input.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        input.consume(BYTE_ORDER_MARK.len());
    }
    let mut number = 0_u64;
    let mut say = |document: Result<&str, String>| {
        number += 1;
        let session = document.and_then(|document| read(document, country).map_err(|error| error.to_string()));
        hand_over(format!("document {number}"), session)
    };
    let mut pending = Pending::default();
    let mut line = Vec::new();
    for line_number in 1_usize.. {
        line.clear();
        let most = MAX_PIECE_BYTES - pending.text.len();
        (&mut input).take(u64::try_from(most).unwrap_or(u64::MAX)).read_until(b'\n', &mut line)?;
        if line.len() == most {
            say(Err("is too long, and what follows it is not read".to_owned()));
            return Ok(());
        }
        // A document that lacks its end must not take the next one along.
        if line.is_empty() || pending.is_cut_off_by(&line) {
            if !pending.text.is_empty() && !pending.hand_over(&mut say) {
                return Ok(());
            }
            if line.is_empty() {
                return Ok(());
            }
        }
        if pending.text.is_empty() {
            pending.begins = line_number;
        }
        pending.add(&line);
        if pending.is_whole() && !pending.hand_over(&mut say) {
            return Ok(());
        }
    }
    Ok(())
}

/// Lines that belong together, as far as brackets and quotes tell.
#[derive(Debug, Default)]
struct Pending {
    text: Vec<u8>,
    /// In which line of the file they begin.
    begins: usize,
    open: usize,
    in_string: bool,
}

impl Pending {
    fn add(&mut self, line: &[u8]) {
        let mut escaped = false;
        for byte in line {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if self.in_string => escaped = true,
                b'"' => self.in_string = !self.in_string,
                b'{' | b'[' if !self.in_string => self.open += 1,
                b'}' | b']' if !self.in_string => self.open = self.open.saturating_sub(1),
                _ => {}
            }
        }
        self.text.extend_from_slice(line);
    }

    /// Whether there is nothing to wait for; no string goes on in the next line.
    fn is_whole(&self) -> bool {
        self.open == 0 || self.in_string
    }

    /// Whether a line is a vCon by itself while the end of another one is missing.
    fn is_cut_off_by(&self, line: &[u8]) -> bool {
        if self.text.is_empty() || !line.starts_with(b"{") {
            return false;
        }
        let members = std::str::from_utf8(line).ok().and_then(|line| JsonText::parse(line).ok()?.pairs());
        members.is_some_and(|members| members.iter().any(|(name, _)| name == "parties"))
    }

    /// Hands over what there is, document by document, and begins anew.
    fn hand_over(&mut self, say: &mut impl FnMut(Result<&str, String>) -> bool) -> bool {
        let Self { text, begins, .. } = std::mem::take(self);
        for document in Deserializer::from_slice(&text).into_iter::<&RawValue>() {
            let broken = document.is_err();
            let not_json = |error: serde_json::Error| format!("is not valid JSON in line {}", begins + error.line().saturating_sub(1));
            if !say(document.map(RawValue::get).map_err(not_json)) {
                return false;
            }
            if broken {
                break;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8]) -> Vec<(String, Result<String, String>)> {
        let mut found = Vec::new();
        read_documents(text, Country::GERMANY, |place, session| {
            found.push((place, session.map(|session| session.details.call_id.into_string())));
            true
        })
        .unwrap();
        found
    }

    #[test]
    fn documents_follow_each_other_on_lines_or_over_them() {
        let text = concat!(
            "\u{feff}{\"uuid\":\"a\",\"parties\":[{\"name\":\"x\"}]}\n",
            "{\n  \"uuid\": \"b\",\n  \"parties\": [{\"tel\": \"+49\"}]\n}\n\n",
            "{\"parties\":[]} 7 {\"uuid\":\"c\",\"parties\":[{\"name\":\"x\"}]}\n",
            "{\"uuid\":\n nonsense}\n{\"uuid\":\"d\",\"parties\":[{\"name\":\"x\"}]}",
        );
        let expected = [
            ("document 1", Ok("a")),
            ("document 2", Ok("b")),
            ("document 3", Err("missing field `uuid`")),
            ("document 4", Err("not an object")),
            ("document 5", Ok("c")),
            ("document 6", Err("is not valid JSON in line 9")),
            ("document 7", Ok("d")),
        ];
        let expected = expected.map(|(place, session)| (place.to_owned(), session.map(str::to_owned).map_err(str::to_owned)));
        assert_eq!(found(text.as_bytes()), expected);
        assert_eq!(found(b" \n"), []);
    }

    #[test]
    fn a_document_that_is_cut_off_takes_no_other_along() {
        let vcon = |id: &str| format!("{{\"uuid\":\"{id}\",\"parties\":[{{\"name\":\"x\"}}]}}");
        let whole = vcon("whole");
        for cut in 1..whole.len() {
            for end in ["\n", "\r\n"] {
                let text = [&vcon("a"), &whole[..cut], &vcon("b"), &vcon("c"), ""].join(end);
                let found = found(text.as_bytes());
                assert_eq!((found.len(), &found[0].1, &found[3].1), (4, &Ok("a".into()), &Ok("c".into())), "{text}");
                assert_eq!((found[1].1.is_err(), &found[2].1), (true, &Ok("b".into())), "{text}");
            }
        }
        let several = "{\n\"uuid\":\"a\",\n\"parties\":[\n{\"name\":\"x\"}\n]\n}\n{\n\"uuid\":\"b\"";
        assert_eq!(found(several.as_bytes())[0].1, Ok("a".into()), "a line that begins with a bracket is no vCon for that");
        assert_eq!(found(several.as_bytes())[1].1, Err("is not valid JSON in line 8".into()));
    }

    #[test]
    fn a_document_without_an_end_is_too_long() {
        let text = io::BufReader::new(io::Read::chain(&b"{\"uuid\":\""[..], io::repeat(b'y')));
        let mut found = Vec::new();
        read_documents(text, Country::GERMANY, |place, session| {
            found.push((place, session.map(|_| ())));
            true
        })
        .unwrap();
        assert_eq!(found, [("document 1".to_owned(), Err("is too long, and what follows it is not read".to_owned()))]);
    }
}
