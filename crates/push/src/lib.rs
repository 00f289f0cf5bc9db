//! Tells endpoints of events.
