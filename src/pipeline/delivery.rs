//! The delivery agent of one sink: takes parts from the outbox in order and delivers each, again and again if the sink is
//! away for a while. At-least-once: a part whose delivery broke off is handed in again whole.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use crate::connector::{DeliveryError, Part, Sink, SinkWriter};
use crate::error::{Error, Result, SqlState};
use crate::memory::Account;
use crate::metrics::SinkMetrics;

use super::outbox::Outbox;

/// Pause after a first failed try; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A sink of a job being written.
#[derive(Debug)]
pub struct Delivery {
    pub sink: String,
    pub outbox: Outbox,
    pub metrics: SinkMetrics,
    state: Mutex<DeliveryState>,
}

#[derive(Debug, Default, Clone)]
pub struct DeliveryState {
    pub rows: u64,
    /// Why the sink cannot be written now, while it is tried again.
    pub trouble: Option<Error>,
}

impl Delivery {
    /// `account` counts what waits for the sink.
    pub fn new(metrics: SinkMetrics, sink: String, account: Account) -> Arc<Self> {
        Arc::new(Delivery { sink, outbox: Outbox::new(account), metrics, state: Mutex::default() })
    }

    pub fn state(&self) -> DeliveryState {
        self.state.lock().clone()
    }

    /// What SHOW JOBS says while the tick loop waits for this sink.
    pub fn full(&self) -> Error {
        let message =
            format!("sink \"{}\" is slower than the job: its outbox is full, the job waits for it", self.sink);
        self.state().trouble.unwrap_or_else(|| Error::new(SqlState::ConfigurationLimitExceeded, message))
    }

    /// Delivers until the outbox is closed and empty, then finishes the sink.
    ///
    /// # Errors
    /// What no further try would mend.
    pub async fn run(self: Arc<Self>, job: String, sink: Arc<dyn Sink>, schema: SchemaRef) -> Result<()> {
        let mut writer = blocking(move || sink.open(&job, schema)).await??;
        while let Some(part) = self.outbox.next().await {
            let (bytes, rows) = (part.bytes(), part.rows());
            writer = self.attempt(writer, Arc::new(Step::Deliver(part))).await?;
            self.state.lock().rows += rows as u64;
            self.outbox.delivered(bytes, rows);
        }
        self.attempt(writer, Arc::new(Step::Finish)).await.map(drop)
    }

    /// One step, tried until it succeeds or cannot.
    async fn attempt(&self, mut writer: Box<dyn SinkWriter>, step: Arc<Step>) -> Result<Box<dyn SinkWriter>> {
        let mut pause = FIRST_PAUSE;
        loop {
            let (used, outcome) = blocking({
                let step = Arc::clone(&step);
                move || {
                    let outcome = step.take(&mut *writer);
                    (writer, outcome)
                }
            })
            .await?;
            writer = used;
            match outcome {
                Ok(()) => {
                    self.state.lock().trouble = None;
                    return Ok(writer);
                }
                Err(DeliveryError::Fatal(error)) => return Err(error.context(format!("sink \"{}\"", self.sink))),
                Err(DeliveryError::Retry(error)) => {
                    let mut state = self.state.lock();
                    if state.trouble.is_none() {
                        tracing::warn!(sink = %self.sink, %error, "delivery failed, it will be tried again");
                    }
                    state.trouble = Some(error.context(format!("sink \"{}\"", self.sink)));
                }
            }
            pause_for(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a sink that is away is tried again after a while")]
async fn pause_for(pause: Duration) {
    tokio::time::sleep(pause).await;
}

enum Step {
    Deliver(Part),
    Finish,
}

impl Step {
    fn take(&self, writer: &mut dyn SinkWriter) -> Result<(), DeliveryError> {
        match self {
            Step::Deliver(part) => writer.deliver(part),
            Step::Finish => writer.finish(),
        }
    }
}

/// Runs what may block on a thread that may. A panic there is an error here.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("a connector panicked: {e}")))
}
