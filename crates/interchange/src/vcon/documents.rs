//! vCons from a file: one a line, or each over several lines, one after the other.

use std::io::{self, BufRead};

use calldata_core::{Country, NewSession};
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::read;
use crate::bounded::{Allowance, Bounded};

/// What some programs begin a text with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads vCon after vCon and hands over each session with its place; `hand_over` returns whether to go on. A local number without a
/// country is one of `country`.
///
/// # Errors
/// When the input cannot be read. What is wrong with a vCon is handed over instead; what follows something that is not JSON is not read.
pub fn read_documents(
    mut input: impl BufRead,
    country: Country,
    mut hand_over: impl FnMut(String, Result<NewSession, String>) -> bool,
) -> io::Result<()> {
    if input.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
        input.consume(BYTE_ORDER_MARK.len());
    }
    let allowance = Allowance::new();
    let mut documents = Deserializer::from_reader(Bounded::new(input, &allowance)).into_iter::<Box<RawValue>>();
    for number in 1_u64.. {
        allowance.renew();
        let place = format!("document {number}");
        match documents.next() {
            None => break,
            Some(Ok(document)) => {
                if !hand_over(place, read(document.get(), country).map_err(|error| error.to_string())) {
                    break;
                }
            }
            Some(Err(_)) if allowance.is_used_up() => {
                hand_over(place, Err("is too long".into()));
                break;
            }
            Some(Err(error)) if error.is_io() => return Err(error.into()),
            Some(Err(error)) => {
                hand_over(place, Err(format!("is not valid JSON in line {}", error.line())));
                break;
            }
        }
    }
    Ok(())
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
        ];
        let expected = expected.map(|(place, session)| (place.to_owned(), session.map(str::to_owned).map_err(str::to_owned)));
        assert_eq!(found(text.as_bytes()), expected);
        assert_eq!(found(b" \n"), []);
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
        assert_eq!(found, [("document 1".to_owned(), Err("is too long".to_owned()))]);
    }
}
