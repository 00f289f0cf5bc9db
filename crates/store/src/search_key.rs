//! What is compared in place of a text that a column or an index may not be able to hold.

use sha2::{Digest, Sha256};

/// The longest text that is compared as it is, in bytes.
const MAX_PLAIN_BYTES: usize = 512;
/// What stands before a hash. A text that begins with it is hashed too, so that no text is taken for another's hash.
const HASH_MARK: char = '\u{1}';

/// The text itself, or a hash of it where it is too long for an index or holds NUL.
pub(crate) fn search_key(text: &str) -> String {
    if text.len() <= MAX_PLAIN_BYTES && !text.contains('\0') && !text.starts_with(HASH_MARK) {
        return text.to_owned();
    }
    Sha256::digest(text).iter().fold(String::from(HASH_MARK), |key, byte| key + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_indexed_is_hashed() {
        assert_eq!(search_key("abc"), "abc");
        let long = "x".repeat(MAX_PLAIN_BYTES + 1);
        assert_eq!(search_key(&long[1..]), long[1..]);
        for odd in [long.as_str(), "a\0b", "\u{1}abc"] {
            let key = search_key(odd);
            assert_eq!(key.len(), 65);
            assert_ne!(search_key(&key), key, "a hash is not taken for a text");
        }
    }
}
