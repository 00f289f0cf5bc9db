//! What the tables hold.

pub(crate) mod access_key;
pub(crate) mod directory;
pub(crate) mod session;
pub(crate) mod tenant;
pub(crate) mod webhook;
pub(crate) mod webhook_delivery;
