//! What is kept of the time between processes.

use async_trait::async_trait;

use super::StoreError;
use crate::Timestamp;
use crate::clock::Witness;

/// Where it is kept up to when time was proven, for processes that begin with nothing but a clock that may be wrong.
#[async_trait]
pub trait TimeMarks: Send + Sync + 'static {
    /// What is known of the time by now.
    async fn witness(&self) -> Result<Witness, StoreError>;

    /// Keeps up to when time was proven; no later than the server's clock shows, where there is one.
    async fn keep_mark(&self, at: Timestamp) -> Result<(), StoreError>;
}
