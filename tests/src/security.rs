//! What an attacker would try, and what must not get out.

mod canary;
mod isolation;
mod strangers;
