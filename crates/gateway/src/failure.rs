//! Why a command failed: one line that says what, and what to do.

use std::error::Error;
use std::fmt;

/// One line for the operator: what failed and what to do about it.
#[derive(Debug)]
pub struct Failure(String);

impl Failure {
    /// A failure in these words.
    pub fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }

    /// A failure in these words, followed by what caused it.
    pub fn because(words: impl fmt::Display, cause: &dyn Error) -> Self {
        let mut line = format!("{words}: {cause}");
        let mut source = cause.source();
        while let Some(error) = source {
            let said = error.to_string();
            // Many libraries repeat their cause in their own words.
            if !line.contains(&said) {
                line.push_str(": ");
                line.push_str(&said);
            }
            source = error.source();
        }
        Self(line.replace('\n', " "))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}
