//! An input of which one piece at a time may be so long, that a file that is none of ours does not fill the memory.

use std::cell::Cell;
use std::io::{self, Read};

/// The longest row or document in bytes.
pub(crate) const MAX_PIECE_BYTES: usize = if cfg!(test) { 1 << 20 } else { 64 << 20 };

/// What is left of the piece that is being read.
#[derive(Debug)]
pub(crate) struct Allowance(Cell<usize>);

impl Allowance {
    pub(crate) fn new() -> Self {
        Self(Cell::new(MAX_PIECE_BYTES))
    }

    /// The next piece begins.
    pub(crate) fn renew(&self) {
        self.0.set(MAX_PIECE_BYTES);
    }

    /// Whether the piece was too long.
    pub(crate) fn is_used_up(&self) -> bool {
        self.0.get() == 0
    }
}

/// An input that ends in an error where the allowance is used up.
#[derive(Debug)]
pub(crate) struct Bounded<'a, R> {
    input: R,
    allowance: &'a Allowance,
}

impl<'a, R> Bounded<'a, R> {
    pub(crate) fn new(input: R, allowance: &'a Allowance) -> Self {
        Self { input, allowance }
    }
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.allowance.0.get();
        let wanted = buffer.len().min(left);
        let Some(part) = buffer.get_mut(..wanted).filter(|part| !part.is_empty()) else {
            return Err(io::Error::other("too long"));
        };
        let read = self.input.read(part)?;
        self.allowance.0.set(left - read.min(left));
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_may_be_so_long_and_no_longer() {
        let allowance = Allowance::new();
        let mut bounded = Bounded::new(io::repeat(b'x'), &allowance);
        let mut some = vec![0; MAX_PIECE_BYTES - 1];
        bounded.read_exact(&mut some).unwrap();
        assert!(!allowance.is_used_up());
        assert_eq!(bounded.read(&mut [0, 0]).unwrap(), 1);
        assert!(allowance.is_used_up() && bounded.read(&mut [0]).is_err());
        allowance.renew();
        bounded.read_exact(&mut some).unwrap();
    }
}
