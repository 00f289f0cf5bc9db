//! What tests stand on: real engines, a clock that is moved by hand, tenants and sessions in one line.
//!
//! Arrows: everything, for it starts the whole gateway; of all crates only tests use this one.

#![expect(clippy::panic, reason = "a test that cannot go on panics")]

pub mod builders;
pub mod careless;
pub mod client;
pub mod description;
pub mod engine;
pub mod events;
pub mod fault_proxy;
pub mod fuzz;
pub mod gateway;
pub mod injection;
pub mod integrity;
pub mod load;
pub mod memory_cgroup;
pub mod postgres_server;
pub mod power_rig;
pub mod program;
pub mod receiver;
pub mod shifted_clock;
pub mod small_disk;
pub mod xml;
