//! Tells endpoints of events: webhooks as the Standard Webhooks specification has them.
//!
//! Rooms: [`deliverer`] looks for what there is to do, and gives each endpoint a turn; [`turn`] takes events out of the outbox and sends
//! what is due, in order by session; [`backoff`] says when it is tried again, [`patience`] how long an endpoint that fails is left alone, and
//! [`slots`] shares out among tenants how many are sent to at a time.
//! [`payload`] is what is sent, [`signature`] proves who sent it. [`sender`] sends it, over a [`connection`] to an address that
//! [`address`] allows, and [`answer`] is what came back. Arrows: core and interchange.
//!
//! To send something else than a session's events: a kind in the core, and a line in [`payload`].

pub mod address;
mod answer;
mod backoff;
mod connection;
pub mod deliverer;
mod head_budget;
mod patience;
mod payload;
#[cfg(test)]
mod receiver;
pub mod sender;
pub mod signature;
mod slots;
mod turn;

pub use address::{EndpointPolicy, HostPattern};
pub use deliverer::{Deliverer, Lookup, Ports};
pub use sender::Sender;
