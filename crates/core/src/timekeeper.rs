//! Keeps the clock and what is stored of it in step.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Standing};
use crate::port::{StoreError, TimeMarks};

/// How often the metrics are told how the clock stands.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many looks later the mark is written down again; a process that is killed takes so much of proven time along.
const LOOKS_PER_MARK: u32 = 60;
/// What is written down may be off by this.
const NEAR: Duration = Duration::from_secs(1);

/// Tells a clock what others know of the time, and others what it has proven.
pub struct Timekeeper {
    marks: Arc<dyn TimeMarks>,
    clock: Arc<dyn Clock>,
}

impl Timekeeper {
    /// Begins to keep `clock`, by what earlier processes and the database's server know of the time. Where that cannot be read, the clock
    /// begins by itself.
    pub async fn begin(marks: Arc<dyn TimeMarks>, clock: Arc<dyn Clock>) -> Self {
        match marks.witness().await {
            Ok(witness) => clock.begin(witness),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "it is not known up to when time was proven"),
        }
        Self { marks, clock }
    }

    /// Goes on until the task is dropped.
    pub async fn keep(&self) {
        loop {
            for _ in 0..LOOKS_PER_MARK {
                tokio::time::sleep(LOOK_INTERVAL).await;
                let Standing { ahead_ms, unproven_ms } = self.clock.standing();
                metrics::gauge!("calldata_clock_ahead_seconds").set(seconds(ahead_ms));
                metrics::gauge!("calldata_clock_unproven_seconds").set(seconds(unproven_ms));
            }
            self.write_down().await;
        }
    }

    /// Writes the mark down.
    pub async fn write_down(&self) {
        if let Err(error) = self.exchange().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "up to when time was proven could not be written down");
        }
    }

    async fn exchange(&self) -> Result<(), StoreError> {
        let witness = self.marks.witness().await?;
        self.clock.hear(witness);
        let Some(mark) = self.clock.mark() else { return Ok(()) };
        if witness.mark.is_some_and(|kept| kept.since(mark).max(mark.since(kept)) <= NEAR) {
            return Ok(());
        }
        self.marks.keep_mark(mark).await
    }
}

fn seconds(ms: i64) -> f64 {
    Duration::from_millis(ms.unsigned_abs()).as_secs_f64().copysign(if ms < 0 { -1.0 } else { 1.0 })
}
