//! What tests stand on: real engines, a clock that is moved by hand, tenants and sessions in one line.
//!
//! Arrows: core and store; of all crates only tests use this one.

pub mod builders;
pub mod engine;
