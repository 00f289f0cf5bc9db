//! What the tables hold.

pub(crate) mod access_key;
pub(crate) mod audit;
pub(crate) mod directory;
pub(crate) mod erasure;
pub(crate) mod request_name;
pub(crate) mod session;
pub(crate) mod tenant;
pub(crate) mod tombstone;
pub(crate) mod webhook;
pub(crate) mod webhook_delivery;
