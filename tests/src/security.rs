//! What an attacker would try, and what must not get out.

mod canary;
mod fuzz;
mod headers;
mod isolation;
mod masking;
mod repeated;
mod revocation;
mod slow_bodies;
mod strangers;
