//! What a client without a key, and a tenant with an ordinary one, can do to the process and to others. Each test prints its figures in one
//! line.
//!
//! The short form runs with all tests; `CALLDATA_LONG=1` (`just attack`) is the form whose figures are in docs/reliability.md. To add an
//! attack: a function that does it, a line in [`memory`] that bounds what it costs others.

mod http2;
mod memory;

use std::env;

/// How many of something: in the short form, and in the long one.
fn many(short: usize, long: usize) -> usize {
    if env::var_os("CALLDATA_LONG").is_some() { long } else { short }
}
