//! Judges the head of an HTTP/1 request before the library sees it.
//!
//! The library is forgiving: it takes lines that end in a bare LF, and of two statements about where a request ends it drops one
//! without a trace. A proxy in front may drop the other one, and then the two disagree on what the next request is. Here a head has
//! one meaning, or it is refused.

use axum::http::{StatusCode, Uri};
use calldata_http::requests::{MAX_HEAD_BYTES, MAX_HEADERS, MAX_URI_BYTES};

/// What surrounds a URI in the first line, at most: a method of any sensible length, two spaces and the version.
const MAX_AROUND_URI_BYTES: usize = 64;

/// Where a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes after its head.
    Sized(u64),
    /// With its last chunk.
    Chunked,
}

/// What can be said of the bytes that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is wrong so far.
    Unfinished,
    /// The head is whole and so long, in bytes.
    Whole(usize, Framing),
    /// This is the answer.
    Refused(StatusCode),
}

/// A head that is being judged while it arrives.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the line begins that has not arrived as a whole.
    line_at: usize,
    /// How much of that line was looked at.
    seen: usize,
    version: Option<Version>,
    headers: usize,
    length: Option<u64>,
    chunked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

impl Head {
    /// Judges what has arrived since the head began; to be called with more each time.
    pub(super) fn judge(&mut self, bytes: &[u8]) -> Verdict {
        loop {
            let rest = bytes.get(self.line_at..).unwrap_or_default();
            let fresh = rest.get(self.seen..).unwrap_or_default();
            let Some(end) = fresh.iter().position(|byte| *byte == b'\n') else { return self.unfinished(bytes.len(), rest, fresh) };
            let line = rest.get(..self.seen + end).unwrap_or_default();
            self.line_at += line.len() + 1;
            self.seen = 0;
            let Some(line) = line.strip_suffix(b"\r").filter(|line| is_plain(line)) else {
                return Verdict::Refused(StatusCode::BAD_REQUEST);
            };
            if self.line_at > MAX_HEAD_BYTES {
                return Verdict::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            }
            let judged = match self.version {
                // Some clients send an empty line behind a body.
                None if line.is_empty() => Ok(()),
                None => self.first_line(line),
                Some(_) if line.is_empty() => return self.whole(),
                Some(version) => self.header(line, version),
            };
            if let Err(status) = judged {
                return Verdict::Refused(status);
            }
        }
    }

    /// What is wrong is told at once: the end of a broken head may never come.
    fn unfinished(&mut self, length: usize, line: &[u8], fresh: &[u8]) -> Verdict {
        let whole = fresh.strip_suffix(b"\r").unwrap_or(fresh);
        if !is_plain(whole) {
            return Verdict::Refused(StatusCode::BAD_REQUEST);
        }
        if self.version.is_none() && line.len() > MAX_URI_BYTES + MAX_AROUND_URI_BYTES {
            return Verdict::Refused(StatusCode::URI_TOO_LONG);
        }
        if length > MAX_HEAD_BYTES {
            return Verdict::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        // A CR at the end is looked at again, together with what follows.
        self.seen += whole.len();
        Verdict::Unfinished
    }

    fn first_line(&mut self, line: &[u8]) -> Result<(), StatusCode> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(uri), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(StatusCode::BAD_REQUEST);
        };
        self.version = match version {
            b"HTTP/1.1" => Some(Version::Http11),
            b"HTTP/1.0" => Some(Version::Http10),
            _ => return Err(StatusCode::BAD_REQUEST),
        };
        if uri.len() > MAX_URI_BYTES {
            return Err(StatusCode::URI_TOO_LONG);
        }
        let fine = is_token(method) && (is_usual(uri) || Uri::try_from(uri).is_ok());
        if fine { Ok(()) } else { Err(StatusCode::BAD_REQUEST) }
    }

    fn header(&mut self, line: &[u8], version: Version) -> Result<(), StatusCode> {
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        // A line that begins with a space once continued the line before; with it the colon is missing, or the name is no name.
        let colon = line.iter().position(|byte| *byte == b':').ok_or(StatusCode::BAD_REQUEST)?;
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if !is_token(name) {
            return Err(StatusCode::BAD_REQUEST);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = decimal(value).filter(|_| self.length.is_none()).ok_or(StatusCode::BAD_REQUEST)?;
            self.length = Some(length);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let known = value.eq_ignore_ascii_case(b"chunked") && !self.chunked && version == Version::Http11;
            self.chunked = known.then_some(true).ok_or(StatusCode::BAD_REQUEST)?;
        }
        Ok(())
    }

    fn whole(&self) -> Verdict {
        match (self.length, self.chunked) {
            (Some(_), true) => Verdict::Refused(StatusCode::BAD_REQUEST),
            (None, true) => Verdict::Whole(self.line_at, Framing::Chunked),
            (length, false) => Verdict::Whole(self.line_at, Framing::Sized(length.unwrap_or(0))),
        }
    }
}

/// Whether there is nothing in a line that could end it for somebody else, or hide in it.
pub(super) fn is_plain(line: &[u8]) -> bool {
    // To the end in any case: that can be done for many bytes at a time.
    line.iter().fold(true, |plain, byte| plain & (!byte.is_ascii_control() || *byte == b'\t'))
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().fold(true, |token, byte| token & has(*byte, TOKEN))
}

/// Whether this is a path and a query of usual letters, which every reader takes for a URI.
fn is_usual(uri: &[u8]) -> bool {
    uri.first() == Some(&b'/') && uri.iter().fold(true, |usual, byte| usual & has(*byte, USUAL))
}

const TOKEN: u128 = alphanumeric_and(b"!#$%&'*+-.^_`|~");
const USUAL: u128 = alphanumeric_and(b"/?%&=+-._~:,;@");

/// A set of ASCII characters, a bit each.
const fn alphanumeric_and(mut others: &[u8]) -> u128 {
    let (mut characters, mut byte) = (0, 0_u8);
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            characters |= 1 << byte;
        }
        byte += 1;
    }
    while let [other, rest @ ..] = others {
        characters |= 1 << *other;
        others = rest;
    }
    characters
}

fn has(byte: u8, characters: u128) -> bool {
    byte.is_ascii() && (characters >> (byte & 127) & 1 == 1)
}

/// Digits and nothing else, and few enough to be counted.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 18 && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Verdict {
        let whole = Head::default().judge(text.as_bytes());
        let mut head = Head::default();
        let by_byte = (1..=text.len()).map(|end| head.judge(&text.as_bytes()[..end])).find(|verdict| *verdict != Verdict::Unfinished);
        assert_eq!(by_byte.unwrap_or(Verdict::Unfinished), whole, "all at once and byte by byte: {text:.60?}");
        whole
    }

    fn refused(text: &str) -> Option<u16> {
        match judged(text) {
            Verdict::Refused(status) => Some(status.as_u16()),
            Verdict::Unfinished | Verdict::Whole(..) => None,
        }
    }

    #[test]
    fn what_has_one_meaning_is_passed_on() {
        for (text, framing) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Sized(0)),
            ("\r\nGET /?a=%20&b=ü HTTP/1.0\r\n\r\n", Framing::Sized(0)),
            ("POST / HTTP/1.1\r\ncontent-LENGTH:  12 \r\nx:\r\ny: \t \r\nz: ü\ta\r\n\r\n", Framing::Sized(12)),
            ("POST http://a/ HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n", Framing::Chunked),
            ("OPTIONS * HTTP/1.1\r\n\r\n", Framing::Sized(0)),
        ] {
            assert_eq!(judged(text), Verdict::Whole(text.len(), framing), "{text:?}");
            assert_eq!(judged(&text[..text.len() - 2]), Verdict::Unfinished, "{text:?}");
        }
    }

    #[test]
    fn what_two_readers_could_take_for_different_requests_is_refused() {
        for headers in [
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length: -1\r\n",
            "content-length: 0x5\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: xchunked\r\n",
            "transfer-encoding : chunked\r\n",
            " transfer-encoding: chunked\r\n",
            "x: a\r\n b\r\n",
            "x: a\r\n\tb: c\r\n",
            "x: a\nb: c\r\n",
            "x: a\rb: c\r\n",
            "x: a\r\r\n",
            "x: a\0b\r\n",
            "x\0: a\r\n",
            "x: a\u{7f}\r\n",
            "x\r\n",
            ": a\r\n",
            "x y: a\r\n",
        ] {
            assert_eq!(refused(&format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n")), Some(400), "{headers:?}");
        }
        assert_eq!(refused("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), Some(400), "HTTP/1.0 has no chunks");
    }

    #[test]
    fn a_usual_uri_is_one_for_the_library_too() {
        for byte in 0..=u8::MAX {
            for uri in [[b'/', byte, b'a'], [b'/', b'?', byte]] {
                assert!(!is_usual(&uri) || Uri::try_from(&uri[..]).is_ok(), "{uri:?}");
            }
            let known = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[byte]), known, "{byte}");
        }
        assert!(is_usual(b"/api/CallData?caller=%2B49&callid=a-b_c.d~e:1") && !is_usual(b"*") && !is_usual(b""));
    }

    #[test]
    fn what_is_no_request_is_refused_at_once() {
        for text in [
            "GET /\r\n",
            "GET / HTTP/1.1\n",
            "GET  / HTTP/1.1\r\n",
            "GET / / HTTP/1.1\r\n",
            " GET / HTTP/1.1\r\n",
            "GET / HTTP/2.0\r\n",
            "GET / http/1.1\r\n",
            "G(T / HTTP/1.1\r\n",
            "GET /a{\u{1}",
            "GET a b\r\n",
            "\u{16}\u{3}\u{1}",
            "\0",
            "nonsense\r\n",
        ] {
            assert_eq!(refused(text), Some(400), "{text:?}");
        }
    }

    #[test]
    fn what_is_larger_than_any_head_of_ours_is_refused_before_its_end() {
        assert_eq!(refused(&format!("GET /{}", "x".repeat(MAX_URI_BYTES + 64))), Some(414));
        assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_URI_BYTES))), Some(414));
        assert_eq!(refused(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_URI_BYTES - 1))), None);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(MAX_HEAD_BYTES))), Some(431));
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100))), None);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(101))), Some(431));
        assert_eq!(refused(&"\r\n".repeat(MAX_HEAD_BYTES)), Some(431));
    }
}
