//! Dead letters of one source on their way to their sink: through an outbox, as results go, at least once.
//!
//! The tick that meets them does not wait: if the outbox is full because its sink is away, whoever reads the source fails,
//! rather than that a letter is lost or the tick loop stands still.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::change::ChangeBatch;
use crate::connector::dead_letter::{self, DeadLetter};
use crate::connector::{Part, PartId, PartitionId, Sink, Waker};
use crate::error::{Error, Result, SqlState};
use crate::memory::Account;
use crate::metrics::SinkMetrics;
use crate::types::schema_of;

use super::delivery::Delivery;

pub struct DeadLetters {
    source: String,
    delivery: Arc<Delivery>,
    /// Why nothing more will be delivered.
    failure: Arc<Mutex<Option<Error>>>,
    parts: u64,
}

impl DeadLetters {
    /// Starts the agent that delivers. `waker` is called when it gives up; `account` counts what waits.
    pub fn start(
        pipeline: &str,
        source: &str,
        sink: Arc<dyn Sink>,
        metrics: SinkMetrics,
        waker: Waker,
        account: Account,
    ) -> Self {
        let delivery = Delivery::new(metrics, format!("dead letters of {source}"), account);
        let failure: Arc<Mutex<Option<Error>>> = Arc::default();
        let (agent, end, pipeline) = (Arc::clone(&delivery), Arc::clone(&failure), pipeline.to_string());
        tokio::spawn(async move {
            if let Err(error) = Arc::clone(&agent).run(pipeline, sink, schema_of(&dead_letter::columns())).await {
                *end.lock() = Some(error);
                agent.outbox.give_up();
                waker();
            }
        });
        DeadLetters { source: source.to_string(), delivery, failure, parts: 0 }
    }

    /// Hands on what a chunk's decoding left.
    ///
    /// # Errors
    /// If the sink has given up, or is so slow that its outbox is full.
    pub fn push(&mut self, partition: &PartitionId, letters: &[DeadLetter]) -> Result<()> {
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        let rows = dead_letter::rows(&self.source, &partition.0, letters)?;
        self.parts += 1;
        let id = PartId { epoch: self.parts, part: 0 };
        let part = Part { id, batches: vec![ChangeBatch::append_only(rows)] };
        self.delivery.outbox.try_push(part).map_err(|_| {
            let trouble = self.delivery.state().trouble;
            let full = || {
                let message =
                    format!("dead letters of source \"{}\" come faster than they can be written", self.source);
                Error::new(SqlState::ConfigurationLimitExceeded, message)
            };
            trouble
                .unwrap_or_else(full)
                .with_hint("Nothing was lost: create the view or job anew when they can be written.")
        })
    }

    pub fn failure(&self) -> Option<Error> {
        self.failure.lock().clone()
    }

    /// Why they cannot be written now, while it is tried again.
    pub fn trouble(&self) -> Option<Error> {
        self.delivery.state().trouble
    }

    /// What waits to be delivered, unless nothing is or nobody will.
    pub fn pending(&self) -> Option<Arc<Delivery>> {
        let waiting = !self.delivery.outbox.is_empty() && self.failure.lock().is_none();
        waiting.then(|| Arc::clone(&self.delivery))
    }
}

impl Drop for DeadLetters {
    /// What is in the outbox is still delivered.
    fn drop(&mut self) {
        self.delivery.outbox.close();
    }
}
