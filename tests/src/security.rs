//! What an attacker would try, and what must not get out.

mod isolation;
mod strangers;
