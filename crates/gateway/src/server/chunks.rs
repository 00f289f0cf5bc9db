//! Finds where a chunked body ends, and takes nothing that another reader could see elsewhere.

use std::io;

use calldata_http::requests::MAX_HEAD_BYTES;

use super::head::is_plain;

/// What may stand behind the size of a chunk; nobody uses it.
const MAX_SIZE_LINE_BYTES: usize = 256;
/// More digits would not fit into 64 bits.
const MAX_DIGITS: usize = 15;

/// A chunked body that is being read.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    part: Part,
    /// How long the line is so far that is being read.
    line_bytes: usize,
    /// Its last byte was a CR.
    ends: bool,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Size { size: u64, extended: bool },
    Data(u64),
    AfterData,
    Trailer,
}

impl Default for Part {
    fn default() -> Self {
        Self::Size { size: 0, extended: false }
    }
}

impl Chunks {
    /// How many of these bytes belong to the body, and whether it ends there.
    ///
    /// # Errors
    /// When this is no chunked body.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> io::Result<(usize, bool)> {
        let mut taken = 0;
        while let Some(byte) = bytes.get(taken) {
            if let Part::Data(left) = self.part {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                taken += here;
                let left = left - u64::try_from(here).unwrap_or(left);
                self.part = if left == 0 { Part::AfterData } else { Part::Data(left) };
                continue;
            }
            taken += 1;
            if self.line(*byte)? && self.next_line()? {
                return Ok((taken, true));
            }
        }
        Ok((taken, false))
    }

    /// Takes a byte of a line; true when the line ends.
    fn line(&mut self, byte: u8) -> io::Result<bool> {
        if self.ends {
            self.ends = false;
            return if byte == b'\n' { Ok(true) } else { Err(malformed()) };
        }
        if byte == b'\r' {
            self.ends = true;
            return Ok(false);
        }
        let first = self.line_bytes == 0;
        self.line_bytes += 1;
        match &mut self.part {
            Part::Size { size, extended } => {
                let digit = char::from(byte).to_digit(16).filter(|_| !*extended && self.line_bytes <= MAX_DIGITS);
                match digit {
                    Some(digit) => *size = *size * 16 + u64::from(digit),
                    None if byte == b';' && !first => *extended = true,
                    None if *extended && is_plain(&[byte]) && self.line_bytes <= MAX_SIZE_LINE_BYTES => {}
                    None => return Err(malformed()),
                }
            }
            Part::Trailer => {
                self.trailer_bytes += 1;
                let continues = first && matches!(byte, b' ' | b'\t');
                if continues || !is_plain(&[byte]) || self.trailer_bytes > MAX_HEAD_BYTES {
                    return Err(malformed());
                }
            }
            Part::AfterData | Part::Data(_) => return Err(malformed()),
        }
        Ok(false)
    }

    /// What a line that has ended means; true when it is the last one.
    fn next_line(&mut self) -> io::Result<bool> {
        let length = std::mem::take(&mut self.line_bytes);
        self.part = match self.part {
            Part::Size { .. } if length == 0 => return Err(malformed()),
            Part::Size { size: 0, .. } => Part::Trailer,
            Part::Size { size, .. } => Part::Data(size),
            Part::Trailer if length == 0 => return Ok(true),
            Part::Trailer => Part::Trailer,
            Part::AfterData | Part::Data(_) => Part::default(),
        };
        Ok(false)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the chunks of a body cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the body ends; none where it does not.
    fn end(text: &str) -> Result<Option<usize>, ()> {
        let whole = Chunks::default().advance(text.as_bytes()).map(|(taken, ends)| ends.then_some(taken)).map_err(drop);
        let mut chunks = Chunks::default();
        let mut by_byte = Ok(None);
        for (at, byte) in text.as_bytes().iter().enumerate() {
            match chunks.advance(&[*byte]) {
                Ok((_, false)) => {}
                Ok((_, true)) => by_byte = Ok(Some(at + 1)),
                Err(_) => by_byte = Err(()),
            }
            if by_byte != Ok(None) {
                break;
            }
        }
        assert_eq!(by_byte, whole, "all at once and byte by byte: {text:?}");
        whole
    }

    #[test]
    fn the_end_of_a_body_is_found() {
        for text in ["0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "A;x=\"y\"\r\n0\r\n\r\n345\r\n\r\n00\r\na: b\r\nc: d\r\n\r\n"] {
            assert_eq!(end(text), Ok(Some(text.len())), "{text:?}");
            assert_eq!(end(&format!("{text}GET /")), Ok(Some(text.len())), "what follows is another request: {text:?}");
            assert_eq!(end(&text[..text.len() - 1]), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn what_another_reader_could_see_elsewhere_is_refused() {
        for text in [
            "\r\n",
            "zz\r\n",
            "3\nabc\r\n",
            "3\r\nabc0\r\n\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "-3\r\n",
            "+3\r\n",
            "0x3\r\n",
            " 3\r\n",
            "3 \r\n",
            "3;\n\r\n",
            "3;\0\r\n",
            "3\r\r\n",
            "fffffffffffffffff\r\n",
            ";\r\n",
            "0\r\n a\r\n\r\n",
            "0\r\na\n\r\n",
        ] {
            assert_eq!(end(text), Err(()), "{text:?}");
        }
        assert_eq!(end(&format!("3;{}\r\n", "x".repeat(MAX_SIZE_LINE_BYTES))), Err(()));
        assert_eq!(end(&format!("0\r\n{}", "a: b\r\n".repeat(MAX_HEAD_BYTES))), Err(()));
    }
}
