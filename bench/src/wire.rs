//! HTTP/1.1 as far as a load generator needs it: where an answer ends, its status and its body.

use memchr::memmem;

use crate::Result;

/// An answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: &'a [u8],
}

/// The answer at the beginning of `bytes` and its length; `None` while it is not all there.
///
/// # Errors
/// When that is no answer of a length told in advance; none of the servers sends others.
pub fn answer(bytes: &[u8]) -> Result<Option<(Answer<'_>, usize)>> {
    let Some(head_length) = memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = bytes.split_at(head_length);
    let body = rest.get(4..).unwrap_or_default();
    let status = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).and_then(|digits| digits.parse().ok());
    let status = status.ok_or("an answer without a status")?;
    let length = content_length(head).ok_or("an answer without a content-length")?;
    Ok(body.get(..length).map(|body| (Answer { status, body }, head_length + 4 + length)))
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\r\ncontent-length:";
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\r', head.get(from..)?) {
        let line = head.get(from + at..)?;
        if line.get(..NAME.len()).is_some_and(|start| start.eq_ignore_ascii_case(NAME)) {
            let value = line.get(NAME.len()..)?;
            let digits = value.iter().skip_while(|byte| **byte == b' ').take_while(|byte| byte.is_ascii_digit());
            return Some(digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')));
        }
        from += at + 1;
    }
    None
}

/// A request for this.
pub fn get(path_and_query: &str) -> Vec<u8> {
    format!("GET {path_and_query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// A request that posts this JSON.
pub fn post(path_and_query: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path_and_query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let bytes = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 5\r\nDate: now\r\n\r\nhelloHTTP/1.1";
        let (found, length) = answer(bytes).unwrap().unwrap();
        assert_eq!((found.status, found.body, length), (200, &b"hello"[..], bytes.len() - 8));
        for short in 0..length {
            assert!(answer(&bytes[..short]).unwrap().is_none(), "{short}");
        }
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
